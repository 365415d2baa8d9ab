"""Long videos and pictures that move: clips that begin with a frame that is known (LaVie §5.6)."""

from torch import nn

from mutoscope.diffusion.windows import Window
from mutoscope.encoding.codec import LatentCodec
from mutoscope.errors import RequestError
from mutoscope.stages.beginning import can_begin
from mutoscope.types import Latents, Size
from mutoscope.video.frames import Frames, fit, to_floats

# Each clip inherits the errors of those before it.
MOST_CLIPS = 32


def clips(num_keys: int, clip: int) -> list[Window]:
    """The clips that a long video of so many key frames is drawn in, one after the other.

    Each but the first begins with the last frame of the one before. All have the same length, for
    which the network was trained, so together they may have more frames than `num_keys`.

    Args:
        num_keys: Key frames wanted, 1 or more.
        clip: Key frames of a clip; of 1 if only one is wanted.
    """
    step = max(1, clip - 1)
    count = max(1, -(-(num_keys - 1) // step))
    return [Window(number * step, number * step + clip, min(number, 1)) for number in range(count)]


def check_length(num_frames: int, most: int) -> int:
    """The frame count, if a long video may have it.

    Args:
        num_frames: What is asked for.
        most: Frames that they make of `MOST_CLIPS`.

    Raises:
        RequestError: It may not.
    """
    if not 2 <= num_frames <= most:
        raise RequestError(
            f"a long video of {num_frames} frames cannot be made: going on from clip to clip this "
            f"model makes 2 to {most} frames ({MOST_CLIPS} clips). Use at most that, or make "
            "several videos."
        )
    return num_frames


def check_clips(network: nn.Module, num_frames: int, num_clips: int, image: Frames | None) -> None:
    """Refuses clips that begin with a frame which the network cannot be told.

    Args:
        network: The denoiser of key frames.
        num_frames: Of the finished video.
        num_clips: In which it is drawn.
        image: What it begins with; None for anything.

    Raises:
        RequestError: As said, or nothing follows the picture.
    """
    if image is not None and num_frames == 1:
        raise RequestError(
            "a picture cannot begin a video of 1 frame: that would be the picture. Use 2 frames or "
            "more."
        )
    if (num_clips > 1 or image is not None) and not can_begin(network):
        what = "a video that begins with a picture"
        if image is None:
            what = f"{num_frames} frames, in {num_clips} clips that go on from each other,"
        raise RequestError(
            f"{what} cannot be made: the base network of this model is not told a first frame. "
            "Use a model whose network is (mutoscope train mini:first_frame trains one)."
        )


def encoded(picture: Frames, size: Size, codec: LatentCodec) -> Latents:
    """A picture as the first frame of a clip: scaled latents 1 c 1 h w.

    Args:
        picture: uint8 1 H W 3 of any size; its middle is cut to the shape of `size` and scaled.
        size: Of the key frames, pixels.
        codec: The autoencoder.

    Raises:
        RequestError: It is no picture.
    """
    if picture.shape[0] != 1:
        raise RequestError(
            f"{picture.shape[0]} frames are no picture to begin with: it is one frame, 1 H W 3. "
            "Give the one that is meant."
        )
    return codec.encode(to_floats(fit(picture, size))[None])
