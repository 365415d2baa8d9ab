"""The gallery: fixed prompts with fixed seeds, none picked, and what the oracle read in each video.

Command: `python -m mutoscope.evaluation.gallery [OUT] [--model NAME] [--stages NAMES]`. It writes
three sheets of frames and a README.md that shows them to OUT (docs/gallery).
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from mutoscope.errors import MutoscopeError
from mutoscope.evaluation.protocol import Prompt, fingerprint, prompts
from mutoscope.evaluation.run import circumstances
from mutoscope.metrics.accuracy import SCORED, score
from mutoscope.metrics.oracle import Oracle, Reading, needed_oracle
from mutoscope.systems import System, load
from mutoscope.types import Size
from mutoscope.video.atomic import check_place, whole
from mutoscope.video.frames import Frames, resize, to_floats
from mutoscope.video.sheets import contact_sheet
from mutoscope.world.grammar import caption
from mutoscope.world.scene import Scene, Thing

SEEDS = 24
COLUMNS = 4
# Sheets lie in the repository: 24 rows take 400 kB, and all three together about 1 MB.
LARGEST = Size(160, 256)
QUALITY = 80
FIXED = ("red", "star", "left", "sea")
# Every motion once, every background, shape and colour at least once; none is a combination that
# is held out of training.
LIST = (
    ("red", "circle", "right", "sea"),
    ("yellow", "heart", "left", "night"),
    ("green", "star", "up", "dunes"),
    ("pink", "ring", "down", "meadow"),
    ("orange", "square", "up right", "city"),
    ("purple", "triangle", "up left", "snow"),
    ("yellow", "cross", "down right", "sea"),
    ("white", "star", "down left", "night"),
    ("blue", "heart", "bounce", "dunes"),
    ("red", "square", "orbit", "meadow"),
    ("white", "cross", "spin", "city"),
    ("blue", "crescent", "grow", "snow"),
    ("pink", "circle", "shrink", "sea"),
    ("orange", "ring", "still", "night"),
)


@dataclass(frozen=True)
class Sheet:
    """Prompts that are shown together; the video of prompt i has seed i.

    Attributes:
        name: Of its file, without ending.
        title: What it shows.
        prompts: Of each row.
    """

    name: str
    title: str
    prompts: tuple[Prompt, ...]


def sheets() -> tuple[Sheet, ...]:
    """What the gallery shows: the first test prompts as drawn, one prompt with as many seeds, and
    one prompt for every motion."""
    one = Prompt("a red star drifts left over the sea", _scene(*FIXED))
    scenes = [_scene(*row) for row in LIST]
    each = (Prompt(caption(s, level="short", seed=i), s) for i, s in enumerate(scenes))
    return (
        Sheet("test", f"The first {SEEDS} test prompts, as drawn", tuple(prompts(SEEDS))),
        Sheet("seeds", f"One prompt, {SEEDS} seeds", (one,) * SEEDS),
        Sheet("motions", "Every motion, over every background", tuple(each)),
    )


def gallery(
    system: System,
    oracle: Oracle,
    out: Path,
    *,
    shown: Sequence[Sheet],
    model: str,
    stages: Sequence[str] | None = None,
    on_clip: Callable[[int], None] = lambda done: None,
) -> None:
    """Draws the sheets as `mutoscope generate` draws, one video at a time, and has them read.

    Writes `out/NAME.webp` of each sheet and `out/README.md`, when all are drawn.

    Args:
        system: The model.
        oracle: The reader; it has never seen generated video.
        out: Folder; its other files stay.
        shown: The sheets.
        model: What the model is called, for the commands in the README.
        stages: The first so many of the model's stages; None runs all.
        on_clip: Called with videos done.

    Raises:
        RequestError: The model has no such stages, or `out` cannot be written.
    """
    wanted = system.check_stages(stages)
    check_place(out / "README.md")
    fps, done = system.native_fps(wanted), 0
    pictures: dict[str, np.ndarray] = {}
    options = f"--model {model} --stages {','.join(wanted)}"
    told = {
        "prompts_hash": fingerprint([prompt for sheet in shown for prompt in sheet.prompts]),
        **circumstances(system),
    }
    lines = [
        "# Gallery",
        "",
        "Nothing here is picked: the prompts are fixed, the video in row i has seed i, and every "
        "one is shown. Beside each stands what the oracle reads in it; **bold** is not what was "
        "asked, and a thing too many is named but not counted.",
        "",
        f"`python -m mutoscope.evaluation.gallery {options}` makes this folder, and `mutoscope "
        f'generate "PROMPT" --seed SEED {options}` any of its videos. '
        + "; ".join(f"{name}: {value}" for name, value in told.items())
        + ".",
    ]
    for sheet in shown:
        clips: list[Frames] = []
        scores: list[dict[str, bool]] = []
        rows: list[dict[str, str]] = []
        for seed, prompt in enumerate(sheet.prompts):
            frames = system(prompt.text, seeds=seed, stages=wanted).frames[0]
            (reading,) = oracle.read(to_floats(frames)[None], fps=fps)
            scores.append(score(prompt.scene, reading))
            rows.append(_cells(prompt.scene, reading, scores[-1]))
            clips.append(resize(frames, LARGEST) if len(frames[0]) > LARGEST.height else frames)
            done += 1
            on_clip(done)
        titles = [
            f"{seed}: {prompt.text} [{_verdict(cells)}]"
            for seed, (prompt, cells) in enumerate(zip(sheet.prompts, rows, strict=True))
        ]
        pictures[sheet.name] = contact_sheet(clips, titles, num_columns=COLUMNS)
        lines += ["", f"## {sheet.title}", "", *_table(sheet, scores, rows)]
    for name, picture in pictures.items():
        with whole(out / f"{name}.webp") as draft:
            Image.fromarray(picture).save(draft, format="WEBP", quality=QUALITY)
    with whole(out / "README.md") as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _scene(colour: str, shape: str, motion: str, background: str) -> Scene:
    """A scene to be told and scored, not rendered: where its thing stands is not said."""
    thing = Thing(shape, colour, "medium", "plain", motion, "normal", 0.8, 0.5)
    return Scene(0, "test", "video", background, "still", (thing,), "", "none", 0)


def _cells(scene: Scene, reading: Reading, right: Mapping[str, bool]) -> dict[str, str]:
    """What was read of each factor, and what was asked where that is another."""
    cells = {}
    for factor in SCORED:
        if factor in reading.scene:
            seen, asked = reading.scene[factor], str(getattr(scene, factor))
        else:
            seen = " and ".join(thing[factor] for thing in reading.things)
            asked = " and ".join(str(getattr(thing, factor)) for thing in scene.things)
        cells[factor] = seen if right[factor] else f"**{seen}**, not {asked}"
    return cells


def _verdict(cells: Mapping[str, str]) -> str:
    wrong = [f"{name} {cell.replace('*', '')}" for name, cell in cells.items() if "**" in cell]
    return f"read: {'; '.join(wrong)}" if wrong else "read right"


def _table(
    sheet: Sheet, scores: Sequence[Mapping[str, bool]], rows: Sequence[Mapping[str, str]]
) -> list[str]:
    """The sheet, in how many videos each factor was read right, and every reading."""
    shares = ", ".join(f"{name} {sum(row[name] for row in scores)}" for name in scores[0])
    return [
        f"![{sheet.title}]({sheet.name}.webp)",
        "",
        f"Read right, of {len(rows)} videos: {shares}.",
        "",
        "| seed | prompt | " + " | ".join(SCORED) + " |",
        "|---" * (2 + len(SCORED)) + "|",
        *(
            f"| {seed} | {prompt.text} | " + " | ".join(cells.values()) + " |"
            for seed, (prompt, cells) in enumerate(zip(sheet.prompts, rows, strict=True))
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the gallery that the command line asks for; what cannot be made is one line."""
    parser = argparse.ArgumentParser(prog="python -m mutoscope.evaluation.gallery")
    parser.add_argument("out", nargs="?", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--model", default="lavie-mini", help="known name or folder")
    parser.add_argument("--stages", help="the first so many, with commas; all if left out")
    asked, shown = parser.parse_args(arguments), sheets()
    try:
        with Progress(console=Console(stderr=True)) as progress:
            total = sum(len(sheet.prompts) for sheet in shown)
            task = progress.add_task("drawing and reading", total=total)
            gallery(
                load(asked.model),
                needed_oracle(),
                asked.out,
                shown=shown,
                model=asked.model,
                stages=None if asked.stages is None else asked.stages.split(","),
                on_clip=lambda done: progress.update(task, completed=done),
            )
    except MutoscopeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
