"""Video files: write frames as they come, read them back, look at what a file holds."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import av
import numpy as np

from mutoscope.errors import DataError, RequestError
from mutoscope.types import Size
from mutoscope.video.atomic import check_place, whole
from mutoscope.video.frames import Footage, Frame, Frames, fit
from mutoscope.video.pictures import (
    GIF_MOST_FPS,
    PILLOW_ENDINGS,
    read_folder,
    read_pillow,
    write_folder,
    write_pillow,
)

# H.264's scale of quantisation, 0 (lossless) to 51: at 12 no eye finds the difference, and flat
# rendered scenes still take only a few hundred kB.
_CRF = "12"
_LARGEST_DENOMINATOR = 1001
_LEAST_FPS, _MOST_FPS = 0.01, 1000.0


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes:
        num_frames: How many frames it holds.
        height: Pixels.
        width: Pixels.
        fps: Frames per second, Hz.
        metadata: What `write_video` was told to store; empty for other people's files.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    metadata: Mapping[str, object]

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return self.num_frames / self.fps


def check_target(path: Path, fps: float, size: Size | None = None) -> None:
    """Finds out whether `write_video` can write to `path`, before the work that it is for.

    Args:
        path: Where the video shall lie; its folder is made if it does not exist.
        fps: Frames per second, Hz.
        size: Of the frames, if that is known.

    Raises:
        RequestError: The ending is not known, the place cannot be written, or no such file has that
            frame rate or size.
    """
    if path.suffix.lower() not in (".mp4", ".gif", ".webp", ".png", ""):
        raise RequestError(
            f"{path.name} cannot be written: possible endings are .mp4, .gif, .webp, .png for a "
            "still, and none for a folder of pictures. Use .mp4 for a video that plays anywhere."
        )
    if not _LEAST_FPS <= fps <= _MOST_FPS:
        raise RequestError(
            f"fps={fps:g} cannot be shown: possible is {_LEAST_FPS:g} to {_MOST_FPS:g}. Use e.g. 8."
        )
    if path.suffix.lower() == ".gif" and fps > GIF_MOST_FPS:
        raise RequestError(
            f"fps={fps:g} cannot be shown by a .gif: browsers slow down what has more than "
            f"{GIF_MOST_FPS} frames a second. Use --fps {GIF_MOST_FPS} or less, .webp, or .mp4."
        )
    if size is not None and path.suffix.lower() == ".mp4":
        _check_even(size)
    check_place(path)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    metadata: Mapping[str, object] | Callable[[], Mapping[str, object]],
) -> None:
    """Writes a video that plays in a browser, an animation, or a folder of numbered pictures.

    The ending of `path` says which: .mp4 (H.264, yuv420p), .gif, .webp, .png (one frame only), or
    none for a folder of PNG files. MP4 and folders are written frame by frame, so a long video
    needs no more memory than a short one. The file appears whole or not at all.

    Args:
        path: Where it shall lie; missing folders are made.
        frames: Pictures, uint8 H W 3, one after the other, all of one size; they may be made while
            they are taken, and errors of making them come out as they are.
        fps: Frames per second, Hz, above 0.
        metadata: JSON-like facts to store inside the file, or what gives them once the last frame
            has been taken.

    Raises:
        RequestError: Unknown ending, no frames, an fps that is not above 0, odd height or width
            for MP4, or a place that cannot be written.
    """
    check_target(path, fps)

    def text() -> str:
        with _not_of_writing():
            facts = metadata() if callable(metadata) else metadata
            return json.dumps(dict(facts), sort_keys=True)

    write = write_folder if path.suffix == "" else write_pillow
    try:
        with whole(path) as draft:
            made = _made(frames)
            (_write_mp4 if path.suffix.lower() == ".mp4" else write)(draft, made, fps, text)
    except _MakingError as error:
        raise error.cause from error.cause.__cause__


class _MakingError(Exception):
    """Carries an OSError that has nothing to do with writing past what handles those of writing."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextmanager
def _not_of_writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _MakingError(error) from error


def _made(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames; where making one fails, it is told apart from writing."""
    pictures = iter(frames)
    while True:
        with _not_of_writing():
            picture = next(pictures, None)
        if picture is None:
            return
        yield picture


def _check_even(size: Size) -> None:
    if size.height % 2 or size.width % 2:
        raise RequestError(
            f"{size} frames cannot be written as .mp4: H.264 needs even numbers. Use an even size, "
            "or write .webp."
        )


def _write_mp4(
    path: Path, pictures: Iterator[np.ndarray], fps: float, text: Callable[[], str]
) -> None:
    first = next(pictures, None)
    if first is None:
        raise RequestError("a video of 0 frames cannot be written. Give at least 1 frame.")
    _check_even(Size(*first.shape[:2]))
    # PyAV takes the text when it writes the first frame, and it may be known after the last only.
    # So frames are encoded into a file without it, from which they are copied as they are.
    # That one has no name, so it is gone with the process, however that ends.
    with TemporaryFile(dir=path.parent) as encoded:
        _encode(encoded, first, pictures, fps)
        encoded.seek(0)
        with (
            av.open(encoded, format="mp4") as source,
            av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as target,
        ):
            target.metadata["comment"] = text()  # the free text that MP4 keeps
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)


def _encode(file: BinaryIO, first: np.ndarray, others: Iterator[np.ndarray], fps: float) -> None:
    """Writes an .mp4 that holds pictures and nothing else."""
    with av.open(file, "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)
        stream = container.add_stream("libx264", rate=rate, options={"crf": _CRF})
        stream.height, stream.width, stream.pix_fmt = *first.shape[:2], "yuv420p"
        stream.codec_context.thread_count = 1  # more encode otherwise
        for picture in chain([first], others):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_frames(path: Path) -> tuple[Frames, float]:
    """All frames of a video, and its frame rate.

    Args:
        path: A video file, or a folder of pictures that `write_video` made.

    Returns:
        The frames as uint8 F H W 3, and frames per second.

    Raises:
        DataError: There is no such file, it is damaged, or it holds no pictures.
    """
    with _readable(path):
        if path.is_dir():
            return read_folder(path)[:2]
        if path.suffix.lower() in PILLOW_ENDINGS:
            return read_pillow(path)[:2]
        with av.open(str(path)) as container:
            stream = _video_stream(container, path)
            return np.stack(list(_decoded(container, stream, path))), _rate(stream)


def each_frame(path: Path) -> Iterator[Frame]:
    """The same frames one after the other; those of an .mp4 are never there all at once.

    Args:
        path: As of `read_frames`.

    Raises:
        DataError: As `read_frames`, when the damage is reached.
    """
    if path.is_dir() or path.suffix.lower() in PILLOW_ENDINGS:
        yield from read_frames(path)[0]
        return
    with _readable(path), av.open(str(path)) as container:
        yield from _decoded(container, _video_stream(container, path), path)


def read_steady(path: Path, size: Size | None = None) -> tuple[Footage, float]:
    """Anyone's video as a player would show it, at one constant rate.

    Of a variable rate becomes its average; a frame that is shown for long comes several times.
    Pictures that a phone filmed on its side are turned upright. Frames of a video file are decoded
    when they are taken; those of an animation or a folder are there at once.

    Args:
        path: A video file, or a folder of pictures that `write_video` made.
        size: What the middle of each frame is scaled to; None for frames as they are.

    Returns:
        The frames, and how many come in a second.

    Raises:
        DataError: There is no such file, it is damaged, or it holds no pictures; of a file that is
            damaged in the middle, when that is reached.
    """
    if not path.is_dir() and path.suffix.lower() not in PILLOW_ENDINGS:
        video = SteadyVideo(path, size)
        return video, video.fps
    frames, fps = read_frames(path)
    return frames if size is None else fit(frames, size), fps


class SteadyVideo:
    """The frames of a video file at one constant rate, decoded anew by each that looks through.

    Args:
        path: A video file.
        size: As of `read_steady`.

    Attributes:
        shape: Frames, height, width and 3.
        fps: Their rate, Hz.

    Raises:
        DataError: As `read_steady`.
    """

    def __init__(self, path: Path, size: Size | None) -> None:
        self.path, self.size = path, size
        with _readable(path), av.open(str(path)) as container:
            stream = _video_stream(container, path)
            self.fps = _rate(stream)
            packets = [
                each for each in container.demux(stream) if each.size and not each.is_discard
            ]
            self._meant = _meant(stream)
            if len(packets) < self._meant:
                raise _cut_short(path, len(packets), self._meant)
            times = [float(p.pts * p.time_base) for p in packets if p.pts is not None]
            # Old formats say no times; their rate is constant.
            even = [number / self.fps for number in range(len(packets))]
            begins = sorted(times) if len(times) == len(packets) else even
            # The frame shown at each moment is the last that had begun, but for rounding.
            count = max(1, round((begins[-1] - begins[0]) * self.fps) + 1)
            self._moments = begins[0] + (np.arange(count) + 0.1) / self.fps
        with _readable(path), av.open(str(path)) as container:
            first = next(container.decode(_video_stream(container, path)), None)
            if first is None:
                raise _cut_short(path, 0, len(packets))
            height, width = _upright(first).shape[:2] if size is None else (size.height, size.width)
        self.shape = (count, height, width, 3)

    def __iter__(self) -> Iterator[Frame]:
        done, count, number = 0, len(self._moments), -1
        shown: Frame | None = None
        with _readable(self.path), av.open(str(self.path)) as container:
            for number, frame in enumerate(container.decode(_video_stream(container, self.path))):
                begins = frame.time if frame.time is not None else number / self.fps
                while shown is not None and done < count and begins > self._moments[done]:
                    yield shown
                    done += 1
                shown = _upright(frame)
                if self.size is not None:
                    shown = fit(shown[None], self.size)[0]
            if shown is None or number + 1 < self._meant:
                raise _cut_short(self.path, number + 1, self._meant)
            yield from (shown for _ in range(count - done))


def read_clip(path: Path, *, start: float, num_frames: int, fps: float, size: Size) -> Frames:
    """Frames of a part of a video, at any rate and size.

    At each wanted moment the frame is taken that a player would show, turned upright as a player
    would; the middle is cut out at the aspect ratio of `size` and scaled.

    Args:
        path: A video file.
        start: When the clip begins, in seconds from the beginning.
        num_frames: How many frames, at least 1.
        fps: Frames per second wanted, Hz; may differ from the file's.
        size: Height and width wanted.

    Raises:
        DataError: There is no such file, it is damaged, or it ends before the clip does.
    """
    with _readable(path), av.open(str(path)) as container:
        stream = _video_stream(container, path)
        origin = float((stream.start_time or 0) * stream.time_base)
        # A frame that begins within a tenth of its length of the moment counts as begun.
        slack = 0.1 / _rate(stream)
        moments = [origin + start + index / fps + slack for index in range(num_frames)]
        container.seek(int(moments[0] / stream.time_base), stream=stream)
        chosen: list[np.ndarray] = []
        shown: av.VideoFrame | None = None
        for frame in container.decode(stream):
            while shown and len(chosen) < num_frames and frame.time > moments[len(chosen)]:
                chosen.append(fit(_upright(shown)[None], size)[0])
            if len(chosen) == num_frames:
                break
            shown = frame
        else:
            end = shown.time + 1 / _rate(stream) if shown else origin
            while shown and len(chosen) < num_frames and end > moments[len(chosen)]:
                chosen.append(fit(_upright(shown)[None], size)[0])
        if len(chosen) < num_frames:
            raise DataError(
                f"{path} ends before {num_frames} frames at {fps:g} fps from {start:g} s: it gave "
                f"{len(chosen)}. Start earlier or take fewer."
            )
        return np.stack(chosen)


def probe(path: Path) -> VideoInfo:
    """What a video file holds: size, frame count, frame rate, and how it was made.

    Args:
        path: A video file, or a folder of pictures that `write_video` made.

    Raises:
        DataError: There is no such file, or it is not a video.
    """
    with _readable(path):
        if path.is_dir() or path.suffix.lower() in PILLOW_ENDINGS:
            frames, fps, text = read_folder(path) if path.is_dir() else read_pillow(path)
            num_frames, height, width, _ = frames.shape
            return VideoInfo(num_frames, height, width, fps, _metadata(text))
        with av.open(str(path)) as container:
            stream = _video_stream(container, path)
            # Some containers do not count their frames; each packet of video holds one.
            counted = stream.frames and _meant(stream)
            count = counted or sum(p.size > 0 for p in container.demux(stream))
            text = container.metadata.get("comment", "")
            return VideoInfo(count, stream.height, stream.width, _rate(stream), _metadata(text))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns every way in which reading can fail into one DataError."""
    if not path.exists():
        raise DataError(f"{path} does not exist. Give the path of a video file.")
    try:
        yield
    except DataError:
        raise
    except (av.FFmpegError, OSError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{path} cannot be read as a video: {reason}. Give an mp4, webm, mov, gif or webp "
            "file, or a folder of pictures that mutoscope wrote."
        ) from error


def _video_stream(container: "av.container.InputContainer", path: Path) -> "av.VideoStream":
    for stream in container.streams.video:
        # The cover of a piece of music is a stream too.
        if av.stream.Disposition.attached_pic not in stream.disposition:
            return stream
    raise DataError(f"{path} holds no moving pictures, only sound. Give a video file.")


def _meant(stream: "av.VideoStream") -> int:
    """How many frames a file says that it shows, at least 1.

    What was trimmed without encoding it anew still holds all frames, and counts them; its duration
    is that of the part that is shown.
    """
    held: int = stream.frames
    seconds = float((stream.duration or 0) * (stream.time_base or 0))
    shown = round(seconds * _rate(stream)) if seconds else held
    return max(min(held, shown), 1)


def _upright(frame: "av.VideoFrame") -> Frame:
    """A frame turned as its file says that it was filmed."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))


def _decoded(
    container: "av.container.InputContainer", stream: "av.VideoStream", path: Path
) -> Iterator[Frame]:
    count = 0
    for frame in container.decode(stream):
        count += 1
        yield frame.to_ndarray(format="rgb24")
    if count < _meant(stream):
        raise _cut_short(path, count, _meant(stream))


def _cut_short(path: Path, there: int, meant: int) -> DataError:
    return DataError(
        f"{path} is damaged: it ends after {there} of {meant} frames. Fetch or make it again."
    )


def _rate(stream: "av.VideoStream") -> float:
    return float(stream.average_rate or stream.guessed_rate)


def _metadata(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except ValueError:  # somebody else's comment
        return {}
    return found if isinstance(found, dict) else {}
