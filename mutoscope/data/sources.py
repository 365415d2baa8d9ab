"""Where captioned clips come from: the procedural world, or a folder of videos or of pictures."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mutoscope.errors import DataError
from mutoscope.types import Size
from mutoscope.video.frames import fit
from mutoscope.video.pictures import read_picture
from mutoscope.world.factors import LEVELS
from mutoscope.world.grammar import caption
from mutoscope.world.labels import MAX_THINGS, covers
from mutoscope.world.render import render
from mutoscope.world.scene import Scene, Split, draw_scene

Frames = NDArray[np.uint8]
CAPTIONS_PER_CLIP = 6
# Of height and width of a picture in its variants; with less, things near the edge would be cut.
_LEAST_SHOWN = 0.88


@runtime_checkable
class ClipSource(Protocol):
    """Captioned clips by number; any clip can be had at any time, in any process."""

    def __len__(self) -> int: ...

    def key(self) -> str:
        """Identity of the clips; a cache made under one key is never used for another."""
        ...

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        """Frames (uint8, F H W 3) and the captions that fit them."""
        ...

    def things(self, index: int, grid: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Which places of a grid over each frame show a thing (F h w); None if nobody knows."""
        ...


@dataclass(frozen=True, kw_only=True)
class WorldSource:
    """Clips, or stills, of the procedural world; clip `i` shows the scene of seed `first_seed + i`.

    Attributes:
        count: Number of clips.
        kind: `video` (motion, no image-only concept) or `image` (stills).
        num_frames: Frames a clip; 1 for stills.
        fps: Frames per second of the scene's time.
        height, width: Frame size in pixels.
        split: Which scenes.
        first_seed: Where the range of seeds starts.
    """

    count: int
    kind: Literal["video", "image"]
    num_frames: int
    fps: float = 8.0
    height: int = 80
    width: int = 128
    split: Split = "train"
    first_seed: int = 0

    def __len__(self) -> int:
        return self.count

    def key(self) -> str:
        """Hash of the settings and of a few rendered clips, so that a changed world is noticed."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for index in range(0, min(self.count, 4)):
            frames, captions = self.clip(index)
            digest.update(frames.tobytes())
            digest.update(json.dumps(captions).encode())
        return digest.hexdigest()[:16]

    def scene(self, index: int) -> Scene:
        return draw_scene(self.first_seed + index, split=self.split, kind=self.kind)

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        scene = self.scene(index)
        frames = render(
            scene, num_frames=self.num_frames, fps=self.fps, height=self.height, width=self.width
        )
        captions = tuple(
            caption(scene, level=LEVELS[number % len(LEVELS)], seed=self.first_seed + number)
            for number in range(CAPTIONS_PER_CLIP)
        )
        return frames, captions

    def things(self, index: int, grid: tuple[int, int]) -> NDArray[np.bool_]:
        scene = self.scene(index)
        table = covers([scene], num_frames=self.num_frames, fps=self.fps, grid=grid)
        places: NDArray[np.bool_] = table[0] != MAX_THINGS
        return places


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """A folder of videos, each `NAME.mp4` (or .webm, .mov, .mkv) beside its caption `NAME.txt`.

    A video gives as many clips as fit one after the other; frames are resized to cover the size and
    cropped at the centre.

    Attributes:
        folder: The folder; sub-folders are not searched.
        num_frames: Frames a clip.
        fps: Frames per second to take from the video. Of one that has fewer each frame is taken
            once: things then move faster than they did, where frames shown twice would teach that
            nothing moves between them.
        size: Frame size.
    """

    folder: Path
    num_frames: int
    fps: float
    size: Size

    def __post_init__(self) -> None:
        captioned_videos(self.folder)

    def __len__(self) -> int:
        return len(self._starts)

    def key(self) -> str:
        """Hash of the settings and of each file's name, size and time."""
        told = f"{self.num_frames} {self.fps} {self.size} frames once"
        digest = hashlib.sha256(told.encode())
        for path in captioned_videos(self.folder):
            for file in (path, path.with_suffix(".txt")):
                stat = file.stat()
                digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()[:16]

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        # PyAV is needed for files only; a machine that trains on the world does not have it.
        from mutoscope.video.files import read_clip

        path, start, fps = self._starts[index]
        captions = _lines(path.with_suffix(".txt"))
        if not captions:
            raise DataError(
                f"{path.with_suffix('.txt')} is empty: write the video's caption in it."
            )
        frames = read_clip(path, start=start, num_frames=self.num_frames, fps=fps, size=self.size)
        return frames, captions

    def things(self, index: int, grid: tuple[int, int]) -> None:
        return None

    @cached_property  # some containers have to be read whole before they tell their length
    def _starts(self) -> list[tuple[Path, float, float]]:
        """Of each clip the file, when it begins, seconds, and its frames per second."""
        from mutoscope.video.files import probe

        starts = []
        for path in captioned_videos(self.folder):
            info = probe(path)
            fps = min(self.fps, info.fps)
            length = self.num_frames / fps
            count = int(info.num_frames / info.fps / length + 1e-6)
            starts += [(path, number * length, fps) for number in range(count)]
        # In the order of a hash: neighbours of one video would make batches of one look.
        starts.sort(
            key=lambda start: hashlib.sha256(f"{start[0].name} {start[1]}".encode()).digest()
        )
        if not starts:
            raise DataError(
                f"no video in {self.folder} is long enough: a clip is {self.num_frames} frames, "
                f"{self.num_frames / self.fps:g} s or more. Use longer videos."
            )
        return starts


@dataclass(frozen=True, kw_only=True)
class PictureSource:
    """A folder of pictures: stills of one frame, each with captions of its own or those of all.

    The middle of each is taken, at the aspect ratio of the size, and scaled to it; a `NAME.txt`
    beside it says what it shows, a caption a line. A few pictures become many: after all of them
    come variants, which show most of one, at a place of their own, and half of the time mirrored.

    Attributes:
        folder: The folder; sub-folders are not searched.
        texts: Captions that fit any of them, for those without their own.
        size: Frame size.
        variants: Of each picture, at least 1.
        word: What each caption has to name; empty if nothing.
    """

    folder: Path
    texts: tuple[str, ...]
    size: Size
    variants: int = 1
    word: str = ""

    def __post_init__(self) -> None:
        if not self.pictures():
            there = "holds no pictures" if self.folder.is_dir() else "is not a folder"
            raise DataError(
                f"{self.folder} {there}: needed are .png, .jpg, .webp or .bmp files, best ten or "
                "so, of one thing before different backgrounds. Put some there."
            )

    def pictures(self) -> list[Path]:
        """The pictures, sorted by name."""
        suffixes = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
        return sorted(path for path in self.folder.glob("*") if path.suffix.lower() in suffixes)

    def __len__(self) -> int:
        return len(self.pictures()) * self.variants

    def key(self) -> str:
        """Hash of the settings, of every picture and of its captions."""
        digest = hashlib.sha256(f"{self.texts} {self.size} {self.variants}".encode())
        for index in range(len(self.pictures())):
            frames, captions = self.clip(index)
            digest.update(frames.tobytes())
            digest.update(json.dumps(captions).encode())
        return digest.hexdigest()[:16]

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        pictures = self.pictures()
        variant, number = divmod(index, len(pictures))
        path = pictures[number]
        frames = read_picture(path)
        if variant:
            frames = _part(frames, np.random.default_rng([number, variant]))
        return fit(frames, self.size), self._captions(path)

    def _captions(self, picture: Path) -> tuple[str, ...]:
        file = picture.with_suffix(".txt")
        if not file.is_file():
            return self.texts
        captions = _lines(file)
        named = [self.word.lower() in re.findall(r"[^\W_]+", line.lower()) for line in captions]
        if not captions or (self.word and not all(named)):
            raise DataError(
                f"{file} cannot be used: each line of it is a caption of {picture.name}"
                + (f' that names what is learned, as in "a {self.word}"' if self.word else "")
                + ". Mend it, or remove it."
            )
        return captions

    def things(self, index: int, grid: tuple[int, int]) -> None:
        return None


def captioned_videos(folder: Path) -> list[Path]:
    """Videos of a folder that have a caption beside them, sorted by name.

    Raises:
        DataError: There are none.
    """
    suffixes = {".mp4", ".webm", ".mov", ".mkv"}
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in suffixes)
    found = [path for path in found if path.with_suffix(".txt").is_file()]
    if not found:
        raise DataError(
            f"{folder} holds no captioned video: training data is NAME.mp4 (or .webm, .mov, .mkv) "
            "beside NAME.txt with its caption. Put at least one such pair there."
        )
    return found


def _lines(file: Path) -> tuple[str, ...]:
    """Captions, one a line."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} cannot be read as text ({error}). Save it as UTF-8, or remove it."
        ) from error
    return tuple(line for line in lines if line)


def _part(frames: Frames, draw: np.random.Generator) -> Frames:
    """Most of each frame, and half of the time mirrored."""
    height, width = frames.shape[1:3]
    scale = draw.uniform(_LEAST_SHOWN, 1)
    tall, wide = round(scale * height), round(scale * width)
    top, left = draw.integers(height - tall + 1), draw.integers(width - wide + 1)
    part = frames[:, top : top + tall, left : left + wide]
    return part[:, :, ::-1] if draw.random() < 0.5 else part
