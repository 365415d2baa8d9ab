"""Animations and numbered pictures: clips that Pillow reads and writes."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo

from mutoscope.errors import DataError, RequestError
from mutoscope.video.frames import Frames

# EXIF's ImageDescription: the one free text that WebP keeps.
_DESCRIPTION = 0x010E
_NOTE = "video.json"

PILLOW_ENDINGS = (".gif", ".webp", ".png")
GIF_MOST_FPS = 50
"""Two hundredths of a second are the shortest that browsers show a frame of a .gif for."""


def write_pillow(
    path: Path, frames: Iterable[np.ndarray], fps: float, text: Callable[[], str]
) -> None:
    """Writes an endless .gif (256 colours a frame) or .webp (lossless), or one picture as .png.

    Args:
        path: Where; the ending chooses.
        frames: Pictures, uint8 H W 3.
        fps: Hz; at most `GIF_MOST_FPS` for a .gif. Both formats keep for how many whole hundredths
            (.gif) or thousandths of a second a frame is shown, so at most rates some are shown one
            longer than others; each begins as near to its moment as can be.
        text: Gives what is stored as the file's comment; called after the last frame.

    Raises:
        RequestError: No frames, or more than one for a .png.
    """
    first, *rest = _pictures(frames)
    if path.suffix.lower() == ".png":
        if rest:
            raise RequestError(
                f"{1 + len(rest)} frames cannot be written as .png, which holds one picture. "
                "Leave the ending out for a folder of pictures, or use .mp4."
            )
        about = PngInfo()
        about.add_text("comment", text())
        first.save(path, pnginfo=about)
        return
    comment = text()
    kind: dict[str, Any] = {"comment": comment.encode()}
    if path.suffix.lower() == ".webp":
        exif = Image.Exif()
        exif[_DESCRIPTION] = comment
        kind = {"exif": exif, "lossless": True}
    unit = 10 if path.suffix.lower() == ".gif" else 1
    begins = [unit * round(number * 1000 / (fps * unit)) for number in range(len(rest) + 2)]
    shown = [end - begin for begin, end in pairwise(begins)]
    first.save(path, save_all=True, append_images=rest, duration=shown, loop=0, **kind)


def read_pillow(path: Path) -> tuple[Frames, float, str]:
    """Frames, frames per second and stored text of a .gif, .webp or .png."""
    with Image.open(path) as picture:
        pictures, shown = [], []
        for frame in ImageSequence.Iterator(picture):
            pictures.append(np.array(frame.convert("RGB")))
            shown.append(float(frame.info.get("duration") or 100))
        comment = picture.info.get("comment", b"")
        text = comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment)
        text = text or str(picture.getexif().get(_DESCRIPTION, ""))
    return np.stack(pictures), 1000 * len(shown) / sum(shown), text


def read_picture(path: Path) -> Frames:
    """Any picture that Pillow knows as one frame, turned as its camera was held (1 H W 3).

    What is transparent becomes white.

    Raises:
        DataError: It is missing, damaged, or no picture.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read as a picture: it is damaged or of another kind. Repair it, or "
            "take it out of the folder."
        ) from error
    ground = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(ground, picture).convert("RGB"))[None]


def write_folder(
    folder: Path, frames: Iterable[np.ndarray], fps: float, text: Callable[[], str]
) -> None:
    """Writes 0000.png, 0001.png, ... and a note that holds the frame rate and `text`.

    Args:
        folder: Made new.
        frames: Pictures, uint8 H W 3.
        fps: Hz.
        text: Gives a JSON object; called after the last frame.

    Raises:
        RequestError: No frames.
    """
    folder.mkdir()
    for index, picture in enumerate(_pictures(frames)):
        picture.save(folder / f"{index:04d}.png")
    note = {"fps": fps, "metadata": json.loads(text())}
    (folder / _NOTE).write_text(json.dumps(note) + "\n", encoding="utf-8")


def read_folder(folder: Path) -> tuple[Frames, float, str]:
    """Frames, frames per second and stored text of a folder that `write_folder` made."""
    note: Mapping[str, object] = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    pictures = []
    # By number: of more than 10,000 some have a digit more than others.
    for path in sorted(folder.glob("*.png"), key=lambda path: (len(path.stem), path.stem)):
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture))
    return np.stack(pictures), float(str(note["fps"])), json.dumps(note["metadata"])


def _pictures(frames: Iterable[np.ndarray]) -> Iterator[Image.Image]:
    none = True
    for frame in frames:
        none = False
        yield Image.fromarray(np.ascontiguousarray(frame))
    if none:
        raise RequestError("a video of 0 frames cannot be written. Give at least 1 frame.")
