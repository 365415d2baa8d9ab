"""Contact sheets: clips as rows of frames with their captions, for eyes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from mutoscope.errors import RequestError
from mutoscope.types import Size
from mutoscope.video.atomic import whole
from mutoscope.video.frames import Frames, resize

_GAP = 4
_MARGIN = 12
_PAPER = (250, 250, 248)
_INK = (30, 30, 34)
_FONT_SIZE = 15
_SMALLEST_SIDE = 96


def contact_sheet(
    clips: Sequence[UInt8[ndarray, "_ _ _ 3"]], captions: Sequence[str], *, num_columns: int = 8
) -> UInt8[ndarray, "h w 3"]:
    """One row per clip: its caption, and below it frames at equal distances in time.

    Small frames are enlarged by a whole number, pixel by pixel, so that nothing is smoothed away.

    Args:
        clips: Clips, each uint8 F H W 3; all shown at the size of the first.
        captions: One text per clip; long ones are wrapped.
        num_columns: Frames per row, at least 1; a shorter clip shows each of its frames once.

    Raises:
        RequestError: No clips, or captions and clips differ in number.
    """
    if not clips or len(clips) != len(captions) or num_columns < 1:
        raise RequestError(
            f"{len(clips)} clips, {len(captions)} captions and {num_columns} columns make no "
            "sheet: it needs at least 1 clip, as many captions, and 1 column."
        )
    height, width = clips[0].shape[1:3]
    scale = max(1, -(-_SMALLEST_SIDE // min(height, width)))
    rows = [_strip(clip, Size(height, width), scale, num_columns) for clip in clips]
    inner = max(row.shape[1] for row in rows)
    font = ImageFont.load_default(size=_FONT_SIZE)
    texts = [_wrapped(caption, font, inner) for caption in captions]
    line = _FONT_SIZE + 5
    blocks = [
        line * len(text) + row.shape[0] + _MARGIN for text, row in zip(texts, rows, strict=True)
    ]
    sheet = Image.new("RGB", (inner + 2 * _MARGIN, sum(blocks) + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    top = _MARGIN
    for text, row, block in zip(texts, rows, blocks, strict=True):
        for index, words in enumerate(text):
            pen.text((_MARGIN, top + index * line), words, fill=_INK, font=font)
        sheet.paste(Image.fromarray(row), (_MARGIN, top + line * len(text)))
        top += block
    return np.asarray(sheet)


def shown(num_frames: int, num_columns: int = 8) -> list[int]:
    """The frames of a clip that a sheet shows: equally spaced, first and last included.

    Args:
        num_frames: Of the clip.
        num_columns: Frames per row.
    """
    places = np.linspace(0, num_frames - 1, min(num_columns, num_frames))
    numbers: list[int] = places.round().astype(int).tolist()
    return numbers


def write_png(path: Path, picture: UInt8[ndarray, "H W 3"]) -> None:
    """Writes one picture as PNG, whole or not at all.

    Args:
        path: Where; missing folders are made.
        picture: uint8 H W 3.

    Raises:
        RequestError: The place cannot be written.
    """
    with whole(path) as draft:
        Image.fromarray(picture).save(draft, format="PNG")


def _strip(clip: Frames, size: Size, scale: int, num_columns: int) -> UInt8[ndarray, "h w 3"]:
    """Some frames side by side."""
    chosen = clip[shown(len(clip), num_columns)]
    if chosen.shape[1:3] != (size.height, size.width):
        chosen = resize(chosen, size)
    large = chosen.repeat(scale, axis=1).repeat(scale, axis=2)
    gap = np.full((large.shape[1], _GAP, 3), _PAPER, dtype=np.uint8)
    pieces = [piece for frame in large for piece in (gap, frame)][1:]
    return np.concatenate(pieces, axis=1)


def _wrapped(
    text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int
) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
