"""Every mistake is one clear line, an exit code that is not 0, no traceback and no half file."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mutoscope.video.files import read_frames, write_video
from tests.cli.conftest import Result
from tests.disk import disk_full_after
from tests.systems.test_load import lose_component, truncate
from tests.video.test_files import clip

Run = Callable[..., Result]


def assert_one_line(result: Result, code: int, words: str) -> None:
    assert result.code == code, result
    assert result.out == ""
    assert result.err.startswith("mutoscope: ")
    assert result.err.count("\n") == 1
    assert words in result.err
    assert list(Path().iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([""], 1, "an empty prompt cannot be drawn"),
        (["   "], 1, "an empty prompt cannot be drawn"),
        ([], 1, "an empty prompt cannot be drawn"),
        (["star", "--prompts", "none.txt"], 1, "none.txt cannot be read: No such file"),
        (["star", "--size", "17x24"], 1, "The nearest is 16x24"),
        (["star", "--size", "huge"], 1, "a size is HEIGHTxWIDTH"),
        (["star", "--size", "0x0"], 1, "a size is HEIGHTxWIDTH"),
        (["star", "--num-frames", "0"], 1, "num_frames=0 cannot be made"),
        (["star", "--num-frames", "-3"], 1, "num_frames=-3 cannot be made"),
        (["star", "--num-frames", "10000"], 1, "num_frames=10000 cannot be made"),
        (["star", "--num-frames", "some"], 2, "num-frames"),
        (["star", "--still", "--num-frames", "4"], 1, "--still is 1 frame"),
        (["star", "--out", "v.png"], 1, "v.png cannot hold 4 frames"),
        (["star", "--num-videos", "0"], 1, "makes nothing"),
        (["star", "--steps", "0"], 1, "steps=0"),
        (["star", "--guidance", "-2"], 1, "guidance scale -2"),
        (["star", "--seed", "-1"], 1, "seed=-1"),
        (["star", "--fps", "0"], 1, "fps=0"),
        (["star", "--out", "v.avi"], 1, "possible endings are .mp4"),
        (["star", "--out", "/proc/new/v.mp4"], 1, "cannot be written"),
        (["star", "--out", f"{__file__}/v.mp4"], 1, "is a file, not a folder"),
        (["star", "--out", "/tmp"], 1, "a folder of that name is in the way"),
        (["star", "--device", "abacus"], 1, "device 'abacus' cannot be used here"),
        (["star", "--dtype", "fp8"], 1, "possible are fp32, bf16, fp16"),
        (["star", "--model", "nope"], 1, "one of lavie-mini"),
        (["star", "--max-quality-loss", "some"], 1, "'some' cannot be read"),
        (["star", "--max-quality-loss", "-1%"], 1, "it is a percentage"),
        (["star", "--max-quality-loss", "2%"], 1, "First measure it: python -m benchmarks.reuse"),
        (["star", "--max-quality-loss", "2%", "--memory", "1GB"], 1, "Leave one of the two out"),
        (["star", "--compile", "--memory", "1GB"], 1, "no plan knows what compiled networks take"),
        (["star", "--lora", "word", "--memory", "1GB"], 1, "holds no pytorch_lora_weights"),
        (["star", "--lora", "word", "--memory", "1MB"], 1, "knows the word of --lora already"),
        (["star", "--stepz", "3"], 2, "--stepz"),
    ],
)
def test_generate(run: Run, tiny_folder: Path, arguments: list[str], code: int, words: str) -> None:
    model = [] if "--model" in arguments else ["--model", tiny_folder]
    assert_one_line(run("generate", *arguments, *model), code, words)


@pytest.mark.slow
def test_one_prompt_that_is_too_long_stops_all_before_any_is_drawn(
    run: Run, tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text(f"a red star\n{'a red star and ' * 40}\n")
    result = run("generate", "--prompts", tmp_path / "prompts.txt", "--model", tiny_folder)
    assert_one_line(result, 1, "tokens")


@pytest.mark.parametrize(
    ("damage", "words"), [(truncate, "cannot be loaded"), (lose_component, "vae")]
)
def test_damaged_models(
    run: Run, copy_of_tiny: Callable[[], Path], damage: Callable[[Path], None], words: str
) -> None:
    folder = copy_of_tiny()
    damage(folder)
    assert_one_line(run("generate", "star", "--model", folder), 1, words)


def test_a_folder_of_another_model_class(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    result = run("generate", "star", "--model", tmp_path / "other")
    assert_one_line(result, 1, "holds a FluxPipeline")


@pytest.mark.parametrize("command", ["inspect", "replay"])
def test_files_that_are_no_videos(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    assert_one_line(run(command, "none.mp4"), 1, "none.mp4 does not exist")
    assert_one_line(run(command, tmp_path / "text.mp4"), 1, "cannot be read as a video")


def test_replay_of_somebody_elses_video(run: Run, tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", clip(), 8.0, {"made_by": "me"})
    assert_one_line(run("replay", tmp_path / "v.mp4"), 1, "does not say how it was made")


@pytest.mark.parametrize(
    "recipe", ["nope:lavie", "mini:nope", "mini", "", ":", "os:getcwd", "a b:c"]
)
def test_train_lists_the_recipes_that_exist(run: Run, recipe: str) -> None:
    assert_one_line(run("train", recipe, "--out", "run"), 1, "mini:")


def test_no_such_command(run: Run) -> None:
    assert_one_line(run("draw", "star"), 2, "No such command 'draw'")


def test_a_full_disk(run: Run, tiny_folder: Path) -> None:
    arguments = ["generate", "star", "--model", tiny_folder, "--out", "v.webp"]
    with disk_full_after(2000):
        result = run(*arguments, "--size", "64x96", "--steps", "1")
    assert result.code == 1
    assert result.err == (
        "mutoscope: v.webp cannot be written: File too large. Choose another place or make room.\n"
    )
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_memory_that_runs_out(run: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own error for more memory than any machine has, in the middle of drawing."""
    made = Path("..", "v.mp4")
    assert run("generate", "star", "--model", tiny_folder, "--out", made).code == 0
    for place in ("making", "staged"):
        monkeypatch.setattr(f"mutoscope.cli.{place}.draw", lambda *_, **__: torch.empty(2**52))
    result = run("replay", made)
    assert_one_line(result, 1, "not enough memory for this. Say with --memory how much")
    result = run("generate", "star", "--model", tiny_folder)
    *tried, last = result.err.splitlines()
    assert result.code == 1
    assert all(line.startswith("mutoscope: memory ran out in base; going on") for line in tried)
    assert last.startswith("mutoscope: there is not enough memory for this: it ran out in base")


def test_errors_of_the_program_itself_are_not_called_a_lack_of_memory(
    run: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mutoscope.cli.staged.draw", lambda *_, **__: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        run("generate", "star", "--model", tiny_folder)


@pytest.mark.slow
def test_ctrl_c(run: Run, tiny_folder: Path) -> None:
    arguments = ["generate", "star", "--model", tiny_folder, "--out", "v.mp4"]
    ended = threading.Event()

    def press() -> None:
        """As the terminal does it, while the command is at work on the third video."""
        while not ended.wait(0.01):
            if Path("v-0001.mp4").exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    # A test run in the background ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminal = threading.Thread(target=press)
    terminal.start()
    try:
        result = run(*arguments, "--steps", "4", "--num-videos", "10000")
    finally:
        ended.set()
        terminal.join()
        signal.signal(signal.SIGINT, before)
    assert result.code == 130
    assert result.out.startswith("v-0000.mp4")
    assert result.err == "mutoscope: stopped by Ctrl-C; nothing half-finished was left behind.\n"
    for path in Path().iterdir():
        assert read_frames(path)[0].shape == (4, 16, 24, 3)
