"""Videos and pictures of a folder as captioned clips and stills."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mutoscope.data.sources import FolderSource, PictureSource
from mutoscope.errors import DataError
from mutoscope.types import Size
from mutoscope.video.files import write_video

SIZE = Size(16, 24)


def source(folder: Path) -> PictureSource:
    return PictureSource(folder=folder, texts=("a zorb",), size=SIZE)


@pytest.mark.parametrize(
    ("fps", "clips", "shown"), [(32.0, 4, range(6)), (8.0, 4, range(6)), (4.0, 2, range(0, 12, 2))]
)
def test_no_frame_of_a_video_is_taken_twice(
    tmp_path: Path, fps: float, clips: int, shown: range
) -> None:
    """Of 24 frames at 8 fps, each a little lighter; what repeats would teach to stand still."""
    shades = 10 * np.arange(24)
    frames = np.broadcast_to(shades[:, None, None, None], (24, 16, 24, 3)).astype(np.uint8)
    write_video(tmp_path / "v.mp4", frames, 8.0, {})
    (tmp_path / "v.txt").write_text("it gets light")
    videos = FolderSource(folder=tmp_path, num_frames=6, fps=fps, size=SIZE)
    assert len(videos) == clips
    found = [np.round(videos.clip(number)[0].mean((1, 2, 3)) / 10) for number in range(clips)]
    assert any(np.array_equal(each, shown) for each in found)
    assert all((np.diff(each) == np.diff(shown)).all() for each in found)


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


def test_a_picture_may_have_captions_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (24, 16)).save(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_text("a red zorb\n\n  the Zorb, red\n")
    pictures = replace(source(tmp_path), word="zorb")
    captions = [pictures.clip(index)[1] for index in range(2)]
    assert captions == [("a red zorb", "the Zorb, red"), ("a zorb",)]
    before = pictures.key()
    (tmp_path / "a.txt").write_text("a blue zorb")
    assert pictures.key() != before
    for text in ("", "a zorb\na red thing", "a zorbet"):
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(DataError, match=r'a\.txt cannot be used.*as in "a zorb"'):
            pictures.clip(0)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00zorb")
    with pytest.raises(DataError, match=r"a\.txt cannot be read as text"):
        pictures.clip(0)


def test_variants_show_most_of_a_picture_and_half_of_them_are_mirrored(tmp_path: Path) -> None:
    # Red rises from left to right, green from top to bottom: places can be read from colours.
    rows, columns = np.mgrid[:160, :240]
    picture = np.stack([columns, rows, 0 * rows], axis=2).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.new("RGB", (240, 160), (0, 0, 255)).save(tmp_path / "b.png")
    plain = source(tmp_path)
    several = replace(plain, variants=32)
    assert (len(plain), len(several)) == (2, 64)
    for index in range(2):
        assert np.array_equal(several.clip(index)[0], plain.clip(index)[0])
    assert all((several.clip(index)[0][..., 2] == 255).all() for index in range(1, 64, 2))
    shown = [several.clip(index)[0][0].astype(int) for index in range(2, 64, 2)]
    mirrored = [frame[0, 0, 0] > frame[0, -1, 0] for frame in shown]
    assert 8 < sum(mirrored) < 23
    spans = [abs(frame[0, -1, 0] - frame[0, 0, 0]) for frame in shown]
    assert min(spans) > 0.8 * 240
    assert len({frame.tobytes() for frame in shown}) == len(shown)
    again = replace(plain, variants=32)
    assert all(np.array_equal(again.clip(i)[0], several.clip(i)[0]) for i in (2, 33, 63))
