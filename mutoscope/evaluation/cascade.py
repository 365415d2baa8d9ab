"""Whether what the base drew is still read right after the later stages.

Command: `python -m mutoscope.evaluation.cascade OUT [--prompts N] [--seeds N] [--model NAME]`. Each
of the first N test prompts (200) is drawn once per seed (2) through all stages, and the oracle
reads what each stage made. A clip is kept in OUT as soon as it is read, so that the same command
goes on after an interruption; at the end it writes `OUT/cascade.md` and `OUT/cascade.json`.

Rule, written down before the first measurement: the later stages keep what the base drew if, for
each factor of prompts with one object, the share read right at the end is at most 3 points below
that of the same videos after the base. Differences are paired; their intervals are over prompts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mutoscope.errors import RequestError
from mutoscope.evaluation.command import on_videos
from mutoscope.evaluation.kept import Row
from mutoscope.evaluation.protocol import Prompt, fingerprint, prompts
from mutoscope.evaluation.run import circumstances
from mutoscope.metrics.accuracy import Estimate, accuracy, score
from mutoscope.metrics.interval import Interval, interval
from mutoscope.metrics.oracle import Oracle
from mutoscope.systems import System
from mutoscope.systems.cascade import BASE
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Latents
from mutoscope.video.atomic import whole
from mutoscope.video.frames import to_floats

MOST_LOST = 0.03


@dataclass(frozen=True)
class Kept:
    """How much is read right after each stage.

    Attributes:
        after: Stage -> factor -> share, of prompts with one object.
        everything: The same of all prompts.
        change: Factor -> share after the last stage less that after the base, of prompts with one
            object, paired.
    """

    after: Mapping[str, Mapping[str, Estimate]]
    everything: Mapping[str, Mapping[str, Estimate]]
    change: Mapping[str, Interval]


def measure(system: LaVie, oracle: Oracle, prompt: Prompt, seed: int) -> Row:
    """Stage -> factor -> whether it is read right, of one video."""
    latents: dict[str, Latents] = {}
    whole_video = system(prompt.text, seeds=[seed], on_stage=latents.__setitem__)
    rows = {}
    for number, stage in enumerate(system.stages):
        made = system.stages[: number + 1]
        video = (
            whole_video
            if made == system.stages
            else system(prompt.text, seeds=[seed], stages=made, resume=(stage, latents[stage]))
        )
        assert isinstance(video.frames, np.ndarray)
        (reading,) = oracle.read(to_floats(video.frames[0])[None], fps=system.native_fps(made))
        rows[stage] = score(prompt.scene, reading)
    return rows


def summary(rows: Sequence[Row], asked: Sequence[Prompt], seeds: int) -> Kept:
    """Shares and paired differences.

    Args:
        rows: As `measure` gave them, seed by seed: all prompts with the first, then the next.
        asked: The prompts.
        seeds: Videos of each.
    """
    stages = list(rows[0])
    groups = [number for _ in range(seeds) for number in range(len(asked))]
    alone = [len(asked[number].scene.things) == 1 for number in groups]

    def shares(stage: str, *, only_alone: bool) -> dict[str, Estimate]:
        chosen = [i for i in range(len(rows)) if alone[i] or not only_alone]
        return accuracy([rows[i][stage] for i in chosen], [groups[i] for i in chosen])

    single = [number for number in range(len(asked)) if alone[number]]
    change = {}
    for factor in rows[0][stages[0]]:
        table = np.array(
            [
                [
                    float(rows[seed * len(asked) + number][stages[-1]][factor])
                    - float(rows[seed * len(asked) + number][stages[0]][factor])
                    for number in single
                ]
                for seed in range(seeds)
            ]
        )
        if table.size:
            change[factor] = interval(lambda mean: mean, table.mean(axis=0)[None])
    return Kept(
        after={stage: shares(stage, only_alone=True) for stage in stages},
        everything={stage: shares(stage, only_alone=False) for stage in stages},
        change=change,
    )


def verdict(found: Kept) -> str:
    """What the rule above says."""
    lost = [factor for factor, change in found.change.items() if change.value < -MOST_LOST]
    said = ", ".join(
        f"{factor} {100 * each.value:+.1f} [{100 * each.low:+.1f}, {100 * each.high:+.1f}]"
        for factor, each in found.change.items()
    )
    told = f"they lose {', '.join(lost)}" if lost else "they keep what the base drew"
    return f"Points gained by the later stages: {said}. By the rule {told}."


def markdown(found: Kept, facts: Mapping[str, object]) -> str:
    """Tables, the verdict, and what it takes to make them again."""
    factors = list(found.change)
    lines = ["| read right | " + " | ".join(factors) + " |", "|---" * (len(factors) + 1) + "|"]
    for name, table in (("one object", found.after), ("all prompts", found.everything)):
        lines += [
            f"| {name}, after {stage} | " + " | ".join(str(row[each]) for each in factors) + " |"
            for stage, row in table.items()
        ]
    lines += ["", verdict(found), "", "; ".join(f"{k}: {v}" for k, v in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def report_of(
    system: LaVie, rows: Sequence[Row], asked: Sequence[Prompt], seeds: int, out: Path
) -> str:
    """Writes table and figures; gives the table."""
    found = summary(rows, asked, seeds)
    facts = {
        "prompts": len(asked),
        "seeds": seeds,
        "prompts_hash": fingerprint(list(asked)),
        **circumstances(system),
    }
    text = markdown(found, facts)
    with whole(out / "cascade.json") as draft:
        draft.write_text(json.dumps({**facts, **asdict(found)}, indent=1), "utf-8")
    with whole(out / "cascade.md") as draft:
        draft.write_text(text, "utf-8")
    return text


def _has_later_stages(system: System, name: str) -> LaVie:
    if not isinstance(system, LaVie) or system.stages[0] != BASE or len(system.stages) < 2:
        raise RequestError(
            f"{name} has no later stage whose effect could be measured. Give another --model, or "
            "train one with `mutoscope train mini:interpolation`."
        )
    return system


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for; what cannot be measured is one line."""
    said = "the first so many test prompts"
    on_videos("cascade", (200, 2), said, prompts, _has_later_stages, measure, report_of, arguments)


if __name__ == "__main__":
    main()
