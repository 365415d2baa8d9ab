"""Video files: what is written comes back, and whatever fails leaves nothing behind."""

import json
import os
import signal
import wave
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mutoscope.cli.passing import Passing
from mutoscope.errors import DataError, RequestError
from mutoscope.types import Size
from mutoscope.video.files import (
    each_frame,
    probe,
    read_clip,
    read_frames,
    read_steady,
    write_video,
)
from tests.disk import disk_full_after


def clip(num_frames: int = 5, height: int = 32, width: int = 48) -> np.ndarray:
    """A bright square that walks to the right over a gradient."""
    ramp = np.linspace(40, 200, width, dtype=np.uint8)
    frames = np.broadcast_to(ramp[:, None], (num_frames, height, width, 3)).copy()
    for index, frame in enumerate(frames):
        frame[8:24, 6 * index % 32 : 6 * index % 32 + 16] = (230, 60, 40)
    return frames


@pytest.mark.parametrize(
    ("name", "error"), [("a.mp4", 12), ("a.webp", 0), ("a.gif", 16), ("folder", 0)]
)
def test_frames_rate_and_metadata_come_back(tmp_path: Path, name: str, error: int) -> None:
    made = {"prompt": 'a "red" star — über', "seed": 3, "size": [32, 48]}
    write_video(tmp_path / name, clip(), 8.0, made)
    frames, fps = read_frames(tmp_path / name)
    info = probe(tmp_path / name)
    assert frames.shape == (5, 32, 48, 3)
    assert (info.num_frames, info.height, info.width) == (5, 32, 48)
    assert fps == info.fps == pytest.approx(8.0, abs=0.4)  # GIF counts in 1/100 s
    assert dict(info.metadata) == made
    difference = np.abs(frames.astype(int) - clip().astype(int))
    # H.264 halves the resolution of colour, so single pixels along edges may be far off.
    assert np.quantile(difference, 0.9) <= error


@pytest.mark.parametrize("fps", [8.0, 23.976, 29.97, 60.0])
def test_the_frame_rate_is_kept(tmp_path: Path, fps: float) -> None:
    write_video(tmp_path / "a.mp4", clip(), fps, {})
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(fps, rel=1e-4)


def test_the_file_plays_in_a_browser_and_depends_on_the_frames_alone(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, iter(clip()), 8.0, {})
    written = (tmp_path / "a.mp4").read_bytes()
    assert written == (tmp_path / "b.mp4").read_bytes()
    assert written.index(b"moov") < written.index(b"mdat")  # starts before it is fully loaded
    assert b"avc1" in written


def test_frames_are_taken_one_at_a_time(tmp_path: Path) -> None:
    taken = []

    def counting() -> Iterator[np.ndarray]:
        for frame in clip(120):
            taken.append(sum(size for _, size in unnamed_files(tmp_path)))
            yield frame

    write_video(tmp_path / "a.mp4", counting(), 8.0, {})
    assert taken[0] == 0  # nothing is opened before there is a first frame,
    assert taken[-1] > 0  # and the file grows before the last is there


def unnamed_files(folder: Path) -> Iterator[tuple[int, int]]:
    """Number and size of the files that this process has open there and that have no name."""
    for number in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(number.readlink()).startswith(f"{folder}/") and not number.stat().st_nlink:
                yield int(number.name), number.stat().st_size


def test_a_killed_process_leaves_nothing_but_what_the_next_removes(tmp_path: Path) -> None:
    def killed() -> Iterator[np.ndarray]:
        yield from clip(40)
        os.kill(os.getpid(), signal.SIGKILL)

    process = get_context("fork").Process(
        target=lambda: write_video(tmp_path / "a.mp4", killed(), 8.0, {})
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    write_video(tmp_path / "a.mp4", clip(), 8.0, {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
@pytest.mark.parametrize("fps", [7.0, 24.0, 32.0, 48.0])
def test_animations_play_as_long_as_they_should(tmp_path: Path, name: str, fps: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (49, 16, 16, 3), dtype=np.uint8)
    write_video(tmp_path / name, noise, fps, {})
    found = probe(tmp_path / name)
    assert found.num_frames == 49
    assert found.seconds == pytest.approx(49 / fps, abs=0.006)


def test_a_folder_of_more_than_ten_thousand_pictures_is_read_in_order(tmp_path: Path) -> None:
    numbers = np.arange(10_002)
    tiny = np.stack([numbers // 256, numbers % 256, 0 * numbers], axis=-1).astype(np.uint8)
    write_video(tmp_path / "folder", tiny[:, None, None], 8.0, {})
    assert np.array_equal(read_frames(tmp_path / "folder")[0][:, 0, 0], tiny)


@pytest.mark.parametrize("name", ["a.mp4", "a.webp", "a.gif", "a.png", "folder"])
def test_facts_may_be_known_after_the_last_frame_only(tmp_path: Path, name: str) -> None:
    taken: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for number, frame in enumerate(clip(1 if name == "a.png" else 20)):
            taken.append(number)
            yield frame

    write_video(tmp_path / name, frames(), 8.0, lambda: {"taken": len(taken)})
    assert probe(tmp_path / name).metadata == {"taken": len(taken)}
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.mp4", "a.webp", "folder"])
@pytest.mark.parametrize("where", ["frames", "facts"])
def test_an_error_of_making_is_not_one_of_writing(tmp_path: Path, name: str, where: str) -> None:
    broken = TimeoutError(110, "the disk with the weights does not answer")

    def frames() -> Iterator[np.ndarray]:
        yield from clip(3)
        if where == "frames":
            raise broken

    def facts() -> dict[str, object]:
        raise broken

    with pytest.raises(TimeoutError) as found:
        write_video(tmp_path / name, frames(), 8.0, facts)
    assert found.value is broken
    assert list(tmp_path.iterdir()) == []


def test_written_frames_are_let_go(tmp_path: Path) -> None:
    alive: list[int] = [0]
    most = []

    def frames() -> Iterator[np.ndarray]:
        for picture in clip(60):
            frame = picture.copy()
            alive[0] += 1
            weakref.finalize(frame, lambda: alive.__setitem__(0, alive[0] - 1))
            most.append(alive[0])
            yield frame

    for name in ("a.mp4", "folder"):
        write_video(tmp_path / name, Passing(frames(), 60), 8.0, {})
    assert max(most) <= 4


@pytest.mark.parametrize("name", ["a.mp4", "a.webp", "folder"])
def test_frames_are_read_one_at_a_time_too(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / name, clip(), 8.0, {})
    assert np.array_equal(
        np.stack(list(each_frame(tmp_path / name))), read_frames(tmp_path / name)[0]
    )


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "folder"])
def test_what_is_cut_short_leaves_the_old_file_and_no_half_one(
    tmp_path: Path, error: type[BaseException], name: str
) -> None:
    path = tmp_path / name
    if name != "folder":
        path.write_text("old")

    def broken() -> Iterator[np.ndarray]:
        yield from clip(3)
        raise error

    with pytest.raises(error):
        write_video(path, broken(), 8.0, {})
    assert [p.name for p in tmp_path.iterdir()] == ([] if name == "folder" else [name])


@pytest.mark.parametrize(
    ("name", "frames", "fps", "words"),
    [
        ("a.avi", clip(), 8.0, "possible endings are .mp4"),
        ("a.mp4", clip()[:0], 8.0, "0 frames"),
        ("a.gif", clip()[:0], 8.0, "0 frames"),
        ("a.png", clip(), 8.0, "5 frames cannot be written as .png"),
        ("a.mp4", clip(height=33), 8.0, "even"),
        ("a.mp4", clip(), 0.0, "fps=0"),
        ("a.mp4", clip(), float("nan"), "fps=nan"),
        ("a.mp4", clip(), 0.0001, "fps=0.0001"),
        ("a.gif", clip(), 60.0, "fps=60 .*gif"),
    ],
)
def test_what_cannot_be_written_is_said(
    tmp_path: Path, name: str, frames: np.ndarray, fps: float, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        write_video(tmp_path / name, frames, fps, {})
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", clip(), 8.0, {})


@pytest.mark.parametrize("name", ["a.mp4", "a.webp", "folder"])
def test_a_full_disk_is_one_clear_error_and_no_file(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 64, 96, 3), dtype=np.uint8)
    path = tmp_path / name
    with disk_full_after(9000), pytest.raises(RequestError) as failure:
        write_video(path, noise, 8.0, {})
    assert str(failure.value).startswith(f"{path} cannot be written: File too large.")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path: Path) -> None:
    for read in (read_frames, probe):
        with pytest.raises(DataError, match="does not exist"):
            read(tmp_path / "none.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_rubbish_and_empty_files(tmp_path: Path, name: str) -> None:
    for content in (b"", b"not a video at all" * 100):
        (tmp_path / name).write_bytes(content)
        for read in (read_frames, probe):
            with pytest.raises(DataError, match="cannot be read as a video"):
                read(tmp_path / name)


def test_a_folder_without_a_note(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a video"):
        read_frames(tmp_path)


def test_a_file_cut_off_in_the_middle(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", clip(30), 8.0, {})
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        read_frames(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        list(each_frame(tmp_path / "a.mp4"))


def test_sound_without_pictures(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    for read in (read_frames, probe):
        with pytest.raises(DataError, match="no moving pictures, only sound"):
            read(tmp_path / "a.wav")


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    picture = BytesIO()
    Image.new("RGB", (32, 32), (200, 0, 0)).save(picture, "PNG")
    with av.open(str(tmp_path / "plain.mp3"), "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        silence.rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    sound = (tmp_path / "plain.mp3").read_bytes()
    sound = sound[sound.index(b"\xff\xfb") :]  # without the tag that stands before it
    cover = b"\0image/png\0\x03\0" + picture.getvalue()
    frame = b"APIC" + len(cover).to_bytes(4, "big") + b"\0\0" + cover
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    (tmp_path / "song.mp3").write_bytes(b"ID3\x03\0\0" + size + frame + sound)
    with av.open(str(tmp_path / "song.mp3")) as container:
        assert len(container.streams.video) == 1
    for read in (read_frames, read_steady, probe):
        with pytest.raises(DataError, match="no moving pictures, only sound"):
            read(tmp_path / "song.mp3")


@pytest.mark.parametrize("skipped", [8, 10])
def test_a_file_trimmed_without_encoding_it_anew(tmp_path: Path, skipped: int) -> None:
    """An edit list says that the first frames are not to be shown; the file still holds them."""
    write_video(tmp_path / "a.mp4", greys(24), 8.0, {})
    trimmed = tmp_path / "trimmed.mp4"
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(trimmed), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        shift = round(skipped / 8 / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                target.mux(packet)
    expected = list(range(skipped, 24))

    def numbers(frames: Iterable[np.ndarray]) -> list[int]:
        return [round((float(frame[4:12, 24:40].mean()) - 8) / 8) for frame in frames]

    with av.open(str(trimmed)) as container:
        assert container.streams.video[0].frames == 24
    assert numbers(read_frames(trimmed)[0]) == expected
    steady, fps = read_steady(trimmed)
    assert (steady.shape[0], fps) == (len(expected), 8.0)
    assert numbers(steady) == expected
    assert probe(trimmed).num_frames == len(expected)
    clip = read_clip(trimmed, start=0.5, num_frames=3, fps=8.0, size=Size(32, 64))
    assert numbers(clip) == expected[4:7]


def test_other_peoples_comments_are_no_metadata(tmp_path: Path) -> None:
    write_video(tmp_path / "folder", clip(), 8.0, {})
    note = json.loads((tmp_path / "folder" / "video.json").read_text())
    note["metadata"] = "holiday"
    (tmp_path / "folder" / "video.json").write_text(json.dumps(note))
    assert probe(tmp_path / "folder").metadata == {}


def greys(num_frames: int) -> np.ndarray:
    """Flat frames, frame `i` of grey value 8 i + 8, with dark bars left and right."""
    frames = np.zeros((num_frames, 32, 64, 3), dtype=np.uint8)
    frames[:, :, 16:48] = (8 * np.arange(num_frames) + 8)[:, None, None, None]
    return frames


@pytest.mark.parametrize(
    ("start", "fps", "expected"),
    [
        (0.0, 8.0, [0, 1, 2, 3]),
        (1.0, 8.0, [8, 9, 10, 11]),
        (0.5, 4.0, [4, 6, 8, 10]),
        (0.0, 16.0, [0, 0, 1, 1]),
        (2.5, 8.0, [20, 21, 22, 23]),  # up to the very last frame
    ],
)
def test_a_clip_takes_the_frames_a_player_would_show(
    tmp_path: Path, start: float, fps: float, expected: list[int]
) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, greys(24), 8.0, {})
    frames = read_clip(path, start=start, num_frames=4, fps=fps, size=Size(16, 16))
    assert frames.shape == (4, 16, 16, 3)
    assert [round((f.mean() - 8) / 8) for f in frames[:, 4:12, 4:12]] == expected
    assert frames.min() >= 8 * expected[0]  # the dark bars are cut away


@pytest.mark.parametrize("fps", [8.0, 24000 / 1001, 29.97])
def test_at_its_own_rate_every_frame_comes_once(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, greys(24), fps, {})
    for start in range(1, 20):  # moments that fall on frames, as far as rounding lets them
        frames = read_clip(path, start=start / fps, num_frames=4, fps=fps, size=Size(16, 16))
        found = [round((f.mean() - 8) / 8) for f in frames[:, 4:12, 4:12]]
        assert found == [start, start + 1, start + 2, start + 3]


def test_a_clip_beyond_the_end(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", greys(24), 8.0, {})
    assert probe(tmp_path / "a.mp4").seconds == 3.0
    with pytest.raises(DataError, match="ends before 4 frames"):
        read_clip(tmp_path / "a.mp4", start=2.75, num_frames=4, fps=8.0, size=Size(16, 16))


def test_a_still_is_one_png_with_its_record(tmp_path: Path) -> None:
    write_video(tmp_path / "a.png", clip(1), 8.0, {"seed": 3})
    assert np.array_equal(read_frames(tmp_path / "a.png")[0], clip(1))
    assert probe(tmp_path / "a.png").metadata == {"seed": 3}
