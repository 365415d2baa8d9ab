"""The picture that a video begins with: read, known by its hash, and found again for a replay."""

from pathlib import Path

from mutoscope.errors import DataError, RequestError
from mutoscope.video.frames import Frames, fingerprint
from mutoscope.video.pictures import read_picture


def open_picture(path: Path) -> tuple[Frames, str]:
    """A picture as one frame (uint8 1 H W 3), and the hash of its pixels.

    Args:
        path: Of any format that Pillow reads.

    Raises:
        RequestError: There is none, or it is no picture.
    """
    if not path.is_file():
        raise RequestError(
            f"--image {path} is no file: it is the picture that the video begins with. Give one "
            "that is there."
        )
    try:
        frames = read_picture(path)
    except DataError as error:
        raise RequestError(
            f"--image {path} cannot be read as a picture: it is damaged or of another kind. Use a "
            ".png or .jpg."
        ) from error
    return frames, fingerprint(frames)


def same_picture(path: str, sha256: str) -> Frames:
    """The picture that a video was made of.

    Args:
        path: Where it lay.
        sha256: Its hash.

    Raises:
        DataError: It is not there any more, or it is another one.
    """
    there = Path(path)
    found, actual = open_picture(there) if there.is_file() else (None, "")
    if found is None or actual != sha256:
        state = "not there any more" if found is None else "another picture by now"
        raise DataError(
            f"{path}, the picture that this video begins with, is {state}. Put the one back whose "
            f"pixels have the SHA-256 {sha256}."
        )
    return found


def how_it_is_cut(path: Path, picture: Frames, height: int, width: int) -> str:
    """What becomes of a picture, in a sentence.

    Args:
        path: Of the picture.
        picture: uint8 1 H W 3.
        height: Of the key frames, pixels.
        width: The same.
    """
    tall, wide = picture.shape[1:3]
    return (
        f"{path}  (the first frame: the middle of {tall}x{wide} in the shape of, and scaled to, "
        f"{height}x{width})"
    )
