"""How long a video is asked to be: seconds as frames, and what became of them."""

from typing import TYPE_CHECKING

from mutoscope.errors import RequestError

if TYPE_CHECKING:
    from mutoscope.systems import System


def check_seconds(seconds: float | None, num_frames: int | None, still: bool = False) -> None:
    """Refuses what is no length, or says the length twice.

    Args:
        seconds: As asked; None asks for none.
        num_frames: As asked.
        still: Whether one picture is asked for.

    Raises:
        RequestError: As said.
    """
    if seconds is None:
        return
    if not 0 < seconds < float("inf"):
        raise RequestError(f"--seconds {seconds} is no length of a video. Use e.g. 12.")
    if still or num_frames is not None:
        other = "--still" if still else "--num-frames"
        raise RequestError(
            f"--seconds and {other} both say how many frames there are. Leave one of the two out."
        )


def frames_in(seconds: float, rate: float, most: int) -> int:
    """Frames of a video of that length.

    Args:
        seconds: As asked.
        rate: Frames per second, Hz.
        most: Frames that the model can go on to.

    Raises:
        RequestError: They are fewer than 2 or more than `most`.
    """
    if not 2 <= round(min(seconds * rate, 2.0 * most)) <= most:
        raise RequestError(
            f"--seconds {seconds:g} cannot be made: at {rate:g} frames a second this model goes on "
            f"from clip to clip for {2 / rate:.3g} to {most / rate:.4g} s. Use a length between."
        )
    return round(seconds * rate)


def how_long(system: "System", num_frames: int, stages: tuple[str, ...], rate: float) -> str:
    """What a video of a length that was asked for consists of, in a line.

    Args:
        system: The model.
        num_frames: Of the video.
        stages: Those that make it.
        rate: Frames per second, Hz.
    """
    parts = system.clips_of(num_frames, stages)
    size, too_many = parts[0].stop, system.spanned(parts[-1].stop, stages) - num_frames
    clips = "1 clip" if len(parts) == 1 else f"{len(parts)} clips"
    going_on = ", each going on from the last frame of the one before" if len(parts) > 1 else ""
    left_out = (
        f"; of the frames that these span the last {too_many} are left out" if too_many else ""
    )
    return (
        f"{num_frames / rate:g} s are {num_frames} frames at {rate:g} a second: {clips} of {size} "
        f"key frames{going_on}{left_out}"
    )
