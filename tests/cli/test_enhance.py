"""`interpolate` and `upscale`: any video file becomes smoother or larger; what cannot is said."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from mutoscope.stages.super_resolution import SuperResolution
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Size
from mutoscope.video.files import probe, read_clip, read_frames, read_steady, write_video
from mutoscope.video.frames import Frame, Frames
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene
from tests.cli.conftest import Result

Run = Callable[..., Result]


def clip(num_frames: int = 6, height: int = 18, width: int = 30) -> Frames:
    scene = draw_scene(3, split="test")
    return render(scene, num_frames=num_frames, fps=8.0, height=height, width=width)


@pytest.mark.slow
def test_a_video_of_any_length_and_odd_size(
    run: Run, cascade_folder: Path, tiny_cascade: LaVie
) -> None:
    frames = clip(height=17, width=31)
    write_video(Path("in.webp"), frames, 10.0, {})
    result = run("interpolate", "in.webp", "--model", cascade_folder, "--out", "v.webp")
    assert result.out == "v.webp  (6 frames 17x31 became 21 frames 17x31, 40 a second)\n"
    made, fps = read_frames(Path("v.webp"))
    assert fps == pytest.approx(40, rel=0.01)
    expected = tiny_cascade.interpolate(read_frames(Path("in.webp"))[0], fps=10.0).frames[0]
    assert np.array_equal(made, expected)
    assert made.shape == (21, 17, 31, 3)


@pytest.mark.slow
def test_every_option_matters(run: Run, cascade_folder: Path) -> None:
    write_video(Path("in.mp4"), clip(), 8.0, {})

    def made(*options: object) -> Frames:
        arguments = ("interpolate", "in.mp4", "--model", cascade_folder, "--out", "v.webp")
        assert run(*arguments, *options).code == 0
        return read_frames(Path("v.webp"))[0]

    plain = made()
    assert np.array_equal(made("--seed", 0), plain)
    assert not np.array_equal(made("--seed", 1), plain)
    assert not np.array_equal(made("--prompt", "a blue circle"), plain)
    assert made("--size", "16x24").shape == (21, 16, 24, 3)
    assert run("interpolate", "in.mp4", "--model", cascade_folder, "--fps", 12).code == 0
    assert probe(Path("in-smooth.mp4")).fps == 12.0


@pytest.mark.slow
def test_a_video_becomes_larger(run: Run, cascade_folder: Path, tiny_cascade: LaVie) -> None:
    write_video(Path("in.webp"), clip(9, 15, 23), 10.0, {})
    small = read_frames(Path("in.webp"))[0]
    arguments = ("upscale", "in.webp", "--model", cascade_folder, "--out", "v.webp")
    result = run(*arguments, "--noise-level", 7, "--seed", 2, "--prompt", "night")
    assert result.out == "v.webp  (9 frames 15x23 became 9 frames 30x46, 10 a second)\n"
    expected = tiny_cascade.upscale(small, "night", fps=10.0, noise_level=7, seed=2)
    assert np.array_equal(read_frames(Path("v.webp"))[0], expected.frames[0])
    assert "noise level 100 cannot be used" in run(*arguments, "--noise-level", 100).err
    assert run("upscale", "in.webp", "--model", cascade_folder, "--size", "16x16").code == 0
    assert probe(Path("in-large.mp4")).height == 32


@pytest.mark.long
@pytest.mark.slow
def test_a_video_far_larger_than_what_the_networks_learned_is_made_in_tiles(
    run: Run, cascade_folder: Path, tiny_cascade: LaVie
) -> None:
    frames = clip(2, 100, 160)
    write_video(Path("in.webp"), frames, 8.0, {})
    model = ("--model", cascade_folder, "--out", "v.webp")
    assert run("interpolate", "in.webp", *model).code == 0
    assert probe(Path("v.webp")).num_frames == 5
    assert run("upscale", "in.webp", *model).code == 0
    assert probe(Path("v.webp")).height == 200


@pytest.mark.slow
def test_what_is_visibly_wrong_with_a_result_is_said(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(Path("in.mp4"), clip(), 8.0, {})
    model = ("--model", cascade_folder)
    assert "are black" not in run("interpolate", "in.mp4", *model).err
    Path("in-smooth.mp4").unlink()

    def black(self: LaVie, latents: torch.Tensor, *_: object) -> Iterator[np.ndarray]:
        yield np.zeros((1, latents.shape[2], 24, 32, 3), np.uint8)

    monkeypatch.setattr(LaVie, "pieces", black)
    said = run("interpolate", "in.mp4", *model).err
    assert "mutoscope: look at in-smooth.mp4: all frames are black." in said
    assert "colours lie" in said


@pytest.mark.slow
def test_of_a_long_video_few_frames_are_there_at_a_time(
    cascade_folder: Path, tiny_cascade: LaVie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "long.mp4", np.tile(clip(10, 16, 24), (30, 1, 1, 1)), 8.0, {})
    frames, _ = read_steady(tmp_path / "long.mp4")
    assert frames.shape == (300, 16, 24, 3)
    taken: list[int] = []

    class Counted:
        shape = frames.shape

        def __iter__(self) -> Iterator[Frame]:
            for number, frame in enumerate(frames):
                taken.append(number)
                yield frame

    monkeypatch.setattr(SuperResolution, "predict", lambda stage, noisy, *_: noisy)
    output = tiny_cascade.upscale(Counted(), fps=8.0, output_type="pieces")
    done = 0
    for piece in output.frames:
        done += piece.shape[1]
        assert len(taken) <= done + 24
    assert (done, taken) == (300, list(range(300)))


@pytest.mark.parametrize("command", ["interpolate", "upscale"])
def test_a_video_without_pictures(run: Run, cascade_folder: Path, command: str) -> None:
    with av.open("sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        quiet.rate = 8000
        container.mux(stream.encode(quiet))
        container.mux(stream.encode(None))
    result = run(command, "sound.mp4", "--model", cascade_folder)
    assert result.code == 1
    assert "sound.mp4 holds no moving pictures, only sound" in result.err
    assert [path.name for path in Path().iterdir()] == ["sound.mp4"]


@pytest.mark.slow
def test_what_cannot_be_interpolated_is_said(
    run: Run, cascade_folder: Path, tiny_folder: Path
) -> None:
    write_video(Path("one.webp"), clip(1), 8.0, {})
    Path("text.mp4").write_text("no video")
    model = ("--model", cascade_folder)
    for arguments, words in (
        (("one.webp", *model), "a video of 1 frame has nothing between its frames"),
        (("text.mp4", *model), "text.mp4 cannot be read as a video"),
        (("none.mp4", *model), "none.mp4 does not exist"),
        (("one.webp", *model, "--out", "v.png"), "v.png cannot hold a video"),
        (("one.webp", "--model", tiny_folder), "no network that interpolates"),
    ):
        result = run("interpolate", *arguments)
        assert result.code == 1
        assert words in result.err
        assert result.err.count("\n") == 1
    assert not list(Path().glob("*smooth*"))
    assert "no network that enlarges" in run("upscale", "one.webp", "--model", tiny_folder).err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clip_of", "out", "words"),
    [
        ((4, 17, 31), "v.mp4", "17x31 frames cannot be written as .mp4"),
        ((4, 16, 32), "v.gif", "fps=64 cannot be shown by a .gif"),
    ],
)
def test_what_the_file_cannot_hold_is_said_before_anything_is_drawn(
    run: Run,
    cascade_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    clip_of: tuple[int, int, int],
    out: str,
    words: str,
) -> None:
    write_video(Path("in.webp"), clip(*clip_of), 16.0, {})
    drawn: list[object] = []
    monkeypatch.setattr(LaVie, "interpolate", lambda *_, **__: drawn.append(1))
    result = run("interpolate", "in.webp", "--model", cascade_folder, "--out", out)
    assert (result.code, drawn) == (1, [])
    assert words in result.err


def test_a_variable_rate_becomes_a_constant_one(tmp_path: Path) -> None:
    """Frame 2 is shown three times as long as the others."""
    path = tmp_path / "variable.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 10)
        for number, moment in enumerate([0, 1, 2, 5, 6, 7]):
            picture = np.full((32, 32, 3), 40 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = moment, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames, rate = read_steady(path)
    levels = [round(frame.mean() / 40) for frame in frames]
    lengths = np.array([levels.count(number) for number in range(6)]) / rate
    assert sorted(levels) == levels
    # To half a frame of the average rate, each picture is shown as long as it was.
    assert np.abs(lengths[:5] - [0.1, 0.1, 0.3, 0.1, 0.1]).max() <= 0.6 / rate


def test_a_video_filmed_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32] = 255  # the left half is bright
    plain, turned = tmp_path / "plain.mp4", tmp_path / "turned.mp4"
    write_video(plain, [picture] * 3, 8.0, {})
    with av.open(str(plain)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)  # to be turned counterclockwise
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    video, _ = read_steady(turned)
    assert video.shape == (3, 64, 32, 3)
    frames = np.stack(list(video))
    assert frames[:, 32:].mean() - frames[:, :32].mean() > 200  # left went down
    # Training sees it as players do, too.
    part = read_clip(turned, start=0.0, num_frames=3, fps=8.0, size=Size(64, 32))
    assert np.array_equal(part, frames)
