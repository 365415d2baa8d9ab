"""How far a long video drifts from its prompt and from its own look, clip after clip (LaVie §5.6).

Command: `python -m mutoscope.evaluation.drift OUT [--prompts N] [--seeds N] [--model NAME]`. Each
of the first N test prompts with one object (16) is drawn once per seed (3) as six clips, of which
each but the first goes on from the last frame of the one before. A video is kept in OUT as soon as
it is read, so that the same command goes on after an interruption; at the end it writes
`OUT/drift.md`, `OUT/drift.json`, `OUT/drift.png` and, of the first videos, none picked,
`OUT/videos.png`.

Written down before the first measurement:

* Of every clip the oracle reads background, colour and shape. What moves how is not scored: a
  prompt says how a thing starts, and after some seconds that is no longer what it does.
* Beside it, without any reader: the shift of the mean colour from that of the first clip (of 255),
  the sharpness (mean absolute difference of neighbouring pixels) as a share of that of the first
  clip, and the seam: the change from the last frame of a clip to the next, as a share of the mean
  change from frame to frame of the clip before.
* After three and after five continuations: the video has *drifted* if all three factors together
  are read right less often than in its first clip, paired by prompt, the 95 % interval over seeds
  and prompts below 0; the look has if the interval of sharpness lies outside 0.9 to 1.1, or the
  colour's shift is above 12 levels, which `metrics.health` would complain of.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mutoscope.errors import RequestError
from mutoscope.evaluation.command import on_videos
from mutoscope.evaluation.kept import Row
from mutoscope.evaluation.protocol import Prompt, fingerprint, prompts
from mutoscope.evaluation.run import circumstances
from mutoscope.metrics.accuracy import score
from mutoscope.metrics.health import DRIFT
from mutoscope.metrics.interval import Interval, interval
from mutoscope.metrics.oracle import Oracle
from mutoscope.stages.beginning import can_begin
from mutoscope.systems import System
from mutoscope.systems.cascade import BASE
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.long import clips
from mutoscope.video.atomic import whole
from mutoscope.video.frames import Frames, to_floats
from mutoscope.video.plots import plotted
from mutoscope.video.sheets import contact_sheet, write_png

CLIPS = 6
JUDGED = (3, 5)
FACTORS = ("background", "colour", "shape")
LOOKS = ("shift", "sharpness", "seam")
WORN = 0.1
ON_SHEET = 4


@dataclass(frozen=True)
class Drift:
    """What became of long videos.

    Attributes:
        right: Factor, or "all" -> share read right, clip by clip.
        look: "shift", "sharpness" and "seam", clip by clip; the first is what others are compared
            with, and has no seam.
        lost: Continuations -> change of "all" from the first clip, paired.
    """

    right: Mapping[str, Sequence[Interval]]
    look: Mapping[str, Sequence[Interval]]
    lost: Mapping[int, Interval]


def drawn(system: LaVie, prompt: Prompt, seed: int) -> Frames:
    """The key frames of a long video, uint8 F H W 3."""
    native = int(system.config.num_frames)
    video = system(
        prompt.text,
        seeds=[seed],
        stages=(BASE,),
        num_frames=CLIPS * (native - 1) + 1,
        long=True,
    )
    assert isinstance(video.frames, np.ndarray)
    frames: Frames = video.frames[0]
    return frames


def measure(system: LaVie, oracle: Oracle, prompt: Prompt, seed: int) -> Row:
    """Figure -> its values clip by clip, of one video."""
    frames = drawn(system, prompt, seed)
    parts = [frames[each.start : each.stop] for each in _clips(system)]
    row: dict[str, list[float]] = {factor: [] for factor in (*FACTORS, "all")}
    for part in parts:
        (reading,) = oracle.read(to_floats(part)[None], fps=float(system.config.fps))
        for factor, right in score(prompt.scene, reading, FACTORS).items():
            row[factor].append(float(right))
    return {**row, **look(parts)}


def look(parts: Sequence[Frames]) -> dict[str, list[float]]:
    """Shift, sharpness and seam of clips of which each begins with the last frame of the one
    before."""
    levels = [part.astype(np.float32) for part in parts]
    colours = [part.mean(axis=(0, 1, 2)) for part in levels]
    edges = [float(np.abs(np.diff(part, axis=2)).mean()) for part in levels]
    steps = [np.abs(np.diff(part, axis=0)).mean(axis=(1, 2, 3)) for part in levels]
    seams = [float(after[0] / max(before.mean(), 1e-6)) for before, after in pairwise(steps)]
    return {
        "shift": [float(np.abs(colour - colours[0]).max()) for colour in colours],
        "sharpness": [edge / max(edges[0], 1e-6) for edge in edges],
        "seam": [1.0, *seams],
    }


def summary(rows: Sequence[Row], seeds: int) -> Drift:
    """Means with intervals over seeds and prompts.

    Args:
        rows: As `measure` gave them, seed by seed: all prompts with the first, then the next.
        seeds: Videos of each prompt.
    """

    def table(name: str, clip: int) -> NDArray[np.float64]:
        return np.array([row[name][clip] for row in rows], np.float64).reshape(seeds, -1)

    def means(name: str) -> list[Interval]:
        return [interval(lambda mean: mean, table(name, clip)) for clip in range(CLIPS)]

    return Drift(
        right={factor: means(factor) for factor in (*FACTORS, "all")},
        look={name: means(name) for name in LOOKS},
        lost={
            clip: interval(lambda then, first: then - first, table("all", clip), table("all", 0))
            for clip in JUDGED
        },
    )


def verdict(found: Drift) -> str:
    """What the rule above says."""
    sentences = []
    for clip, lost in found.lost.items():
        sharp, shift = found.look["sharpness"][clip], found.look["shift"][clip]
        worn = sharp.high < 1 - WORN or sharp.low > 1 + WORN or shift.value > DRIFT
        sentences.append(
            f"After {clip} continuations {100 * lost.value:+.1f} points "
            f"[{100 * lost.low:+.1f}, {100 * lost.high:+.1f}] are read right: by the rule the "
            f"video has {'' if lost.high < 0 else 'not '}drifted; sharpness is {sharp} of the "
            f"first clip's, colours {shift} levels off: its look has{'' if worn else ' not'}."
        )
    return " ".join(sentences)


def markdown(found: Drift, facts: Mapping[str, object]) -> str:
    """A table, the verdict, and what it takes to make them again."""
    names = [*found.right, *found.look]
    lines = ["| continuations | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for clip in range(CLIPS):
        cells = [
            f"{100 * each[clip].value:.1f} % "
            f"[{100 * each[clip].low:.1f}, {100 * each[clip].high:.1f}]"
            for each in found.right.values()
        ]
        cells += [str(each[clip]) for each in found.look.values()]
        lines.append(f"| {clip} | " + " | ".join(cells) + " |")
    lines += ["", verdict(found), "", "; ".join(f"{k}: {v}" for k, v in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def plot(found: Drift, place: Path) -> None:
    """Shares read right, and the look, over continuations."""
    with plotted(place, width=9.0, height=3.6) as figure:
        axes = figure.subplots(1, 2)
        for axis, lines, label in zip(
            axes,
            (found.right, {name: found.look[name] for name in ("sharpness", "seam")}),
            ("read right", "relative to the first clip"),
            strict=True,
        ):
            for name, values in lines.items():
                middle = np.array([each.value for each in values])
                ends = [[each.low for each in values], [each.high for each in values]]
                apart = np.abs(np.array(ends) - middle)
                axis.errorbar(range(CLIPS), middle, apart, capsize=2, label=name)
            axis.set_xlabel("continuations")
            axis.set_ylabel(label)
            axis.set_ylim(bottom=0)
            axis.legend()


def report_of(
    system: LaVie, rows: Sequence[Row], asked: Sequence[Prompt], seeds: int, out: Path
) -> str:
    """Writes table, figures, plot and a sheet of the first videos; gives the table."""
    found = summary(rows, seeds)
    facts = {
        "prompts": len(asked),
        "seeds": seeds,
        "prompts_hash": fingerprint(list(asked)),
        **circumstances(system),
    }
    text = markdown(found, facts)
    with whole(out / "drift.json") as draft:
        draft.write_text(json.dumps({**facts, **asdict(found)}, indent=1), "utf-8")
    plot(found, out / "drift.png")
    shown = [drawn(system, asked[i], 1000 * i) for i in range(min(ON_SHEET, len(asked)))]
    middles = [each.start + (each.stop - each.start) // 2 for each in _clips(system)]
    write_png(
        out / "videos.png",
        contact_sheet(
            [video[middles] for video in shown],
            [prompt.text for prompt in asked[: len(shown)]],
            num_columns=CLIPS,
        ),
    )
    with whole(out / "drift.md") as draft:
        draft.write_text(text, "utf-8")
    return text


def _clips(system: LaVie) -> list[slice]:
    """Where each clip lies among the key frames."""
    native = int(system.config.num_frames)
    return [slice(part.start, part.stop) for part in clips(CLIPS * (native - 1) + 1, native)]


def _of_one_object(count: int) -> list[Prompt]:
    """The first so many test prompts that name one object."""
    return [each for each in prompts(2 * count + 8) if len(each.scene.things) == 1][:count]


def _goes_on(system: System, name: str) -> LaVie:
    if not isinstance(system, LaVie) or BASE not in system.stages or not can_begin(system.base):
        raise RequestError(
            f"{name} cannot go on from a frame: its base network is not told one. Give another "
            "--model, or train one with `mutoscope train mini:first_frame`."
        )
    return system


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for; what cannot be measured is one line."""
    said = "the first so many with one object"
    on_videos("drift", (16, 3), said, _of_one_object, _goes_on, measure, report_of, arguments)


if __name__ == "__main__":
    main()
