"""How well the oracle reads: accuracy and confusions on true renders, clean and coded.

Command: `python -m mutoscope.evaluation.reader OUT [COUNT]`, on the first COUNT test clips (1,000).
"""

import argparse
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mutoscope.encoding.codec import LatentCodec
from mutoscope.errors import MutoscopeError
from mutoscope.metrics.accuracy import accuracy, confusion, score
from mutoscope.metrics.oracle import Oracle, Reading, needed_oracle
from mutoscope.systems.load import load
from mutoscope.video.atomic import check_place, whole
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.world.labels import SCENE_FACTORS, THING_FACTORS
from mutoscope.world.render import render
from mutoscope.world.scene import Scene, draw_scene

AT_ONCE = 8
FPS = 8.0


def readings(
    oracle: Oracle, scenes: Sequence[Scene], codec: LatentCodec | None = None
) -> list[Reading]:
    """What the oracle reads in the scenes' renders of 16 frames, after `codec` if there is one."""
    found: list[Reading] = []
    for start in range(0, len(scenes), AT_ONCE):
        part = scenes[start : start + AT_ONCE]
        video = torch.stack([to_floats(render(scene, fps=FPS)) for scene in part])
        found += oracle.read(video if codec is None else _coded(video, codec), fps=FPS)
    return found


def _coded(video: Tensor, codec: LatentCodec) -> Tensor:
    with torch.inference_mode():
        again = codec.decode(codec.encode(video)).clamp(-1, 1)
    return torch.stack([to_floats(clip) for clip in to_bytes(again)])


def report(oracle: Oracle, scenes: Sequence[Scene], codec: LatentCodec) -> str:
    """Accuracy of every factor with intervals, clean and coded, and the clean confusions."""
    factors = [*SCENE_FACTORS, *THING_FACTORS]
    clean, coded = readings(oracle, scenes), readings(oracle, scenes, codec)
    groups = range(len(scenes))
    tables = [
        accuracy(
            [score(scene, one, factors) for scene, one in zip(scenes, found, strict=True)], groups
        )
        for found in (clean, coded)
    ]
    lines = [
        f"# The oracle on the first {len(scenes)} test clips, {datetime.now(UTC).date()}",
        "",
        f"`python -m mutoscope.evaluation.reader OUT {len(scenes)}`; torch {torch.__version__}, "
        f"{platform.machine()}, {torch.get_num_threads()} threads.",
        "",
        "| factor | clean renders | after the autoencoder | of clean single objects |",
        "|---|---|---|---|",
        *(
            f"| {name} | {tables[0][name]} | {tables[1][name]} | {_share(name, scenes, clean)} |"
            for name in factors
        ),
        "",
        "A clip of two objects is right when both are; the last column counts objects one by one.",
        "",
        "Rows of the matrices are the truth, columns what was read; objects in their own places.",
    ]
    for name, values in {**SCENE_FACTORS, **THING_FACTORS}.items():
        truth, seen = _pairs(name, scenes, clean)
        lines += ["", f"## {name}", "", *_matrix(confusion(truth, seen, values), values)]
    return "\n".join(lines) + "\n"


def _share(name: str, scenes: Sequence[Scene], found: Sequence[Reading]) -> str:
    """Share of right readings of a factor of objects, object by object."""
    if name in SCENE_FACTORS:
        return ""
    truth, seen = _pairs(name, scenes, found)
    right = sum(was == read for was, read in zip(truth, seen, strict=True))
    return f"{100 * right / len(truth):.1f} % (n={len(truth)})"


def _pairs(
    name: str, scenes: Sequence[Scene], found: Sequence[Reading]
) -> tuple[list[str], list[str]]:
    """Truth and reading of one factor, of every scene or of every object that was found."""
    if name in SCENE_FACTORS:
        return [getattr(scene, name) for scene in scenes], [one.scene[name] for one in found]
    pairs = [
        (getattr(thing, name), seen[name])
        for scene, one in zip(scenes, found, strict=True)
        for thing, seen in zip(scene.things, one.things, strict=False)
        if not (name == "speed" and thing.motion == "still")
    ]
    return [truth for truth, _ in pairs], [seen for _, seen in pairs]


def _matrix(counts: np.ndarray, values: Sequence[str]) -> list[str]:
    return [
        "| | " + " | ".join(values) + " |",
        "|---" * (len(values) + 1) + "|",
        *(
            f"| {value} | " + " | ".join(map(str, row)) + " |"
            for value, row in zip(values, counts, strict=True)
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes `OUT/oracle.md` on the shipped oracle and autoencoder; an error is one line."""
    parser = argparse.ArgumentParser(prog="python -m mutoscope.evaluation.reader")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("count", type=int, nargs="?", default=1000, help="test clips")
    given = parser.parse_args(arguments)
    if given.count < 1:
        parser.error("COUNT is 1 or more")
    try:
        check_place(given.out / "oracle.md")
        oracle = needed_oracle()
        scenes = [draw_scene(seed, split="test") for seed in range(given.count)]
        with whole(given.out / "oracle.md") as draft:
            draft.write_text(report(oracle, scenes, LatentCodec(load().vae)), "utf-8")
    except MutoscopeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
