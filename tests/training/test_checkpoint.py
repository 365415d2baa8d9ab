"""Checkpoints come back bit for bit, whole or not at all."""

from pathlib import Path

import pytest
import torch

from mutoscope.errors import TrainingError
from mutoscope.training.checkpoint import Checkpoint, load_newest, save
from tests.disk import disk_full_after

HASH = "0123456789abcdef"


def a_checkpoint(step: int = 3, size: int = 5) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    values = torch.randn(size, 2, 3, 3, generator=generator)
    return Checkpoint(
        step=step,
        batch=2 * step,
        elapsed=1.25,
        recipe_hash=HASH,
        generator=generator.get_state(),
        weights={"a.weight": values.to(memory_format=torch.channels_last)},
        average={"a.weight": values * 0.5},
        optimizer={"a.weight/exp_avg": values * 2, "a.weight/step": torch.tensor(3.0)},
    )


def silent(text: str) -> None:
    raise AssertionError(f"nothing to notice here, but: {text}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = a_checkpoint()
    save(saved, tmp_path)
    found = load_newest(tmp_path, recipe_hash=HASH, notice=silent)
    assert found is not None
    for name in ("step", "batch", "elapsed", "recipe_hash"):
        assert getattr(found, name) == getattr(saved, name)
    assert torch.equal(found.generator, saved.generator)
    for name in ("weights", "average", "optimizer"):
        theirs, ours = getattr(found, name), getattr(saved, name)
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[key], ours[key]) for key in ours)


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "new", recipe_hash=HASH, notice=silent) is None


def test_the_newest_two_are_kept_and_the_newest_is_used(tmp_path: Path) -> None:
    for step in (9, 10, 11, 100):
        save(a_checkpoint(step), tmp_path)
    assert names(tmp_path) == ["step_00000011", "step_00000100"]
    found = load_newest(tmp_path, recipe_hash=HASH, notice=silent)
    assert found is not None
    assert found.step == 100


@pytest.mark.parametrize(
    "file", ["state.json", "weights.safetensors", "ema.safetensors", "optimizer.safetensors"]
)
@pytest.mark.parametrize("harm", ["truncated", "missing", "one bit"])
def test_a_damaged_one_is_passed_over_with_a_word(tmp_path: Path, file: str, harm: str) -> None:
    save(a_checkpoint(1), tmp_path)
    path = save(a_checkpoint(2), tmp_path) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(bytes(content) if harm == "one bit" else path.read_bytes()[:-20])
    said: list[str] = []
    found = load_newest(tmp_path, recipe_hash=HASH, notice=said.append)
    assert found is not None
    assert found.step == 1
    assert len(said) == 1
    assert "step_00000002 is damaged" in said[0]
    # It no longer counts among the two that are kept.
    save(a_checkpoint(3), tmp_path)
    assert names(tmp_path) == ["step_00000001", "step_00000003"]


def test_all_damaged_is_an_error_and_nothing_is_deleted(tmp_path: Path) -> None:
    for step in (1, 2):
        (save(a_checkpoint(step), tmp_path) / "state.json").write_text("{")
    with pytest.raises(TrainingError, match=r"all 2 are damaged. Delete the folder to begin"):
        load_newest(tmp_path, recipe_hash=HASH, notice=lambda text: None)
    assert names(tmp_path) == ["step_00000001", "step_00000002"]


def test_one_of_another_recipe_is_refused(tmp_path: Path) -> None:
    save(a_checkpoint(), tmp_path)
    with pytest.raises(TrainingError, match=f"belongs to recipe {HASH}, not to ffff"):
        load_newest(tmp_path, recipe_hash="ffff", notice=silent)


def test_one_of_another_format_is_refused(tmp_path: Path) -> None:
    state = save(a_checkpoint(), tmp_path) / "state.json"
    state.write_text(state.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(TrainingError, match="has format 2; this version reads format 1"):
        load_newest(tmp_path, recipe_hash=HASH, notice=silent)


@pytest.mark.parametrize("num_bytes", [0, 100, 4096], ids=["none", "some", "most"])
def test_a_full_disk_is_said_and_older_checkpoints_stay(tmp_path: Path, num_bytes: int) -> None:
    save(a_checkpoint(1), tmp_path)
    with (
        disk_full_after(num_bytes),
        pytest.raises(TrainingError, match="The checkpoint of step 2 cannot be written in"),
    ):
        save(a_checkpoint(2, size=1000), tmp_path)
    assert names(tmp_path) == ["step_00000001"]
    found = load_newest(tmp_path, recipe_hash=HASH, notice=silent)
    assert found is not None
    assert found.step == 1


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path: Path) -> None:
    place = save(a_checkpoint(1), tmp_path)
    place.rename(tmp_path / ".step_00000001.partial")
    assert load_newest(tmp_path, recipe_hash=HASH, notice=silent) is None
    assert names(tmp_path) == []
