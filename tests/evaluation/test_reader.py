"""The report on the oracle counts what was read, in the clips it says."""

import pytest

from mutoscope.encoding.codec import LatentCodec
from mutoscope.evaluation.reader import readings, report
from mutoscope.metrics.oracle import Oracle
from mutoscope.systems.lavie import LaVie
from mutoscope.world.scene import draw_scene


@pytest.mark.slow
def test_confusions_add_up_and_the_codec_matters(tiny_system: LaVie, oracle: Oracle) -> None:
    scenes = [draw_scene(seed, split="test") for seed in range(4)]
    text = report(oracle, scenes, LatentCodec(tiny_system.vae))
    section = text.split("## background")[1].split("##")[0]
    counts = [int(cell) for cell in section.split() if cell.isdigit()]
    assert sum(counts) == 4
    assert len(readings(oracle, scenes)) == 4
    clean, coded = (section_of(text, column) for column in (2, 3))
    assert clean != coded


def section_of(text: str, column: int) -> list[str]:
    """One column of the first table."""
    rows = [line for line in text.splitlines() if line.startswith("| ") and "%" in line]
    return [row.split("|")[column] for row in rows]
