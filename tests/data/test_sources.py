"""Pictures of a folder as captioned stills."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mutoscope.data.sources import PictureSource
from mutoscope.errors import DataError
from mutoscope.types import Size

SIZE = Size(16, 24)


def source(folder: Path) -> PictureSource:
    return PictureSource(folder=folder, texts=("a zorb",), size=SIZE)


def test_the_middle_of_a_picture_is_scaled_and_what_is_transparent_is_white(tmp_path: Path) -> None:
    wide = np.zeros((32, 480, 3), np.uint8)
    wide[:, 216:264] = (0, 200, 0)
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.new("RGBA", (24, 16), (255, 0, 0, 0)).save(tmp_path / "b.webp")
    (tmp_path / "notes.txt").write_text("not a picture")
    pictures = source(tmp_path)
    assert len(pictures) == 2
    frames, captions = pictures.clip(0)
    assert (frames.shape, captions) == ((1, 16, 24, 3), ("a zorb",))
    assert (frames == (0, 200, 0)).all()
    assert (pictures.clip(1)[0] == 255).all()


def test_a_picture_is_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    sideways = np.zeros((24, 16, 3), np.uint8)
    sideways[:12] = 255
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned anticlockwise: what is at the top comes to the left
    Image.fromarray(sideways).save(tmp_path / "a.png", exif=exif)
    frames, _ = source(tmp_path).clip(0)
    assert (frames[0, :, :12] == 255).all()
    assert (frames[0, :, 12:] == 0).all()


def test_its_key_changes_with_a_pixel_and_not_with_the_folder(tmp_path: Path) -> None:
    keys = []
    for name, level in (("one", 9), ("same", 9), ("other", 10)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (24, 16), (level, 0, 0)).save(tmp_path / name / "a.png")
        keys.append(source(tmp_path / name).key())
    assert keys[0] == keys[1] != keys[2]


def test_without_pictures_it_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures: needed are"):
        source(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        source(tmp_path / "none")


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"a\.png cannot be read as a picture"):
        source(tmp_path).clip(0)
