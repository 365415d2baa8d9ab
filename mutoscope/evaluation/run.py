"""Draws every prompt, reads the videos back with the oracle, and reports with intervals."""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from mutoscope import __version__
from mutoscope.encoding.codec import LatentCodec
from mutoscope.evaluation.protocol import Prompt, fingerprint
from mutoscope.metrics.accuracy import SCORED, Estimate, accuracy, score
from mutoscope.metrics.oracle import Oracle, Reading
from mutoscope.systems import System
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Video
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.render import render
from mutoscope.world.scene import Scene

OnClip = Callable[[int, int], None]
FLOOR_SEED = 0
ON_SHEET = 24


@dataclass(frozen=True)
class Report:
    """Accuracy per factor, of one model on one list of prompts.

    Attributes:
        generated: Of the model's videos.
        single: Of those whose prompt names one object.
        double: Of those whose prompt names two; an attribute counts only in its own place.
        ceiling: Of true renders of the same scenes.
        codec: Of true renders after the autoencoder's round trip.
        floor: Of the model's videos, scored against another prompt's scene.
        steady: Share of neighbouring frame pairs in which the oracle reads the same shapes.
    """

    generated: Mapping[str, Estimate]
    single: Mapping[str, Estimate]
    double: Mapping[str, Estimate]
    ceiling: Mapping[str, Estimate]
    codec: Mapping[str, Estimate]
    floor: Mapping[str, Estimate]
    steady: Mapping[str, Estimate]


def evaluate(
    system: LaVie,
    oracle: Oracle,
    asked: Sequence[Prompt],
    *,
    seeds: Sequence[int],
    out: Path,
    batch_size: int = 8,
    on_clip: OnClip = lambda done, total: None,
) -> Report:
    """Draws each prompt's key frames once per seed and scores what the oracle reads.

    Writes `out/report.json`, `out/report.md` and `out/sheet.png`, the first prompts' videos with
    the first seed, none picked.

    Args:
        system: The model.
        oracle: The reader; it has never seen generated video.
        asked: Prompts with their scenes.
        seeds: Video k of a prompt with seed s is drawn from the noise of `1000 * prompt + s`.
        out: Folder of the report.
        batch_size: Videos drawn at once; the noise does not depend on it.
        on_clip: Called with videos done and in all.
    """
    jobs = [(number, 1000 * number + seed) for seed in seeds for number in range(len(asked))]
    fps = float(system.config.fps)
    readings: list[Reading] = []
    steady: list[dict[str, bool]] = []
    pictures: list[np.ndarray] = []
    for start in range(0, len(jobs), batch_size):
        part = jobs[start : start + batch_size]
        output = system(
            [asked[number].text for number, _ in part],
            seeds=[seed for _, seed in part],
            stages=system.stages[:1],
        )
        assert isinstance(output.frames, np.ndarray)
        video = torch.stack([to_floats(clip) for clip in output.frames])
        readings += oracle.read(video, fps=fps)
        steady += [{"shape": same} for same in _steady(oracle, video)]
        pictures += list(output.frames[: max(0, ON_SHEET - len(pictures))])
        on_clip(len(readings), len(jobs))

    scenes = [asked[number].scene for number, _ in jobs]
    groups = [number for number, _ in jobs]
    scores = [score(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]
    single = [i for i, scene in enumerate(scenes) if len(scene.things) == 1]
    double = [i for i, scene in enumerate(scenes) if len(scene.things) == 2]
    report = Report(
        generated=accuracy(scores, groups),
        single=accuracy([scores[i] for i in single], [groups[i] for i in single]),
        double=accuracy([scores[i] for i in double], [groups[i] for i in double]),
        ceiling=_of_renders(system, oracle, [p.scene for p in asked], coded=False),
        codec=_of_renders(system, oracle, [p.scene for p in asked], coded=True),
        floor=_floor(scenes, readings, groups),
        steady=accuracy(
            steady, [group for group in groups for _ in range(len(steady) // len(groups))]
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    titles = [asked[number].text for number, _ in jobs[: len(pictures)]]
    write_png(out / "sheet.png", contact_sheet(pictures, titles))
    facts = {
        "prompts": len(asked),
        "prompts_hash": fingerprint(list(asked)),
        "seeds": list(seeds),
        **circumstances(system),
    }
    (out / "report.json").write_text(json.dumps({**facts, **asdict(report)}, indent=1))
    (out / "report.md").write_text(markdown(report, facts))
    return report


def circumstances(system: System) -> dict[str, object]:
    """The weights, settings, day and machine of a measurement, as JSON values."""
    return {
        "weights": system.weights_hash(),
        "steps": system.config.steps,
        "guidance_scale": system.config.guidance_scale,
        "early_guidance": system.config.early_guidance,
        "early_until": system.config.early_until,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"mutoscope": __version__, "torch": torch.__version__},
    }


def markdown(report: Report, facts: Mapping[str, object]) -> str:
    """The report as a table, with what it takes to make it again."""
    rows = {
        "generated, all prompts": report.generated,
        "generated, one object": report.single,
        "generated, two objects": report.double,
        "true renders (ceiling)": report.ceiling,
        "true renders through the autoencoder": report.codec,
        "shuffled captions (floor)": report.floor,
    }
    factors = [*SCORED, "all"]
    lines = ["| | " + " | ".join(factors) + " |", "|---" * (len(factors) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(str(found[factor]) for factor in factors) + " |"
        for name, found in rows.items()
        if found
    ]
    lines += ["", f"Shapes read alike in neighbouring frames: {report.steady['shape']}."]
    lines += ["", "; ".join(f"{name}: {value}" for name, value in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def _steady(oracle: Oracle, video: Video) -> list[bool]:
    """For each clip and each pair of neighbouring frames, whether the same shapes are read."""
    clips, _, frames, _, _ = video.shape
    stills = video.transpose(1, 2).flatten(0, 1)[:, :, None]
    found = oracle.read(stills, fps=4.0)
    shapes = [sorted(thing["shape"] for thing in reading.things) for reading in found]
    return [
        shapes[clip * frames + frame] == shapes[clip * frames + frame + 1]
        for clip in range(clips)
        for frame in range(frames - 1)
    ]


def _of_renders(
    system: LaVie, oracle: Oracle, scenes: Sequence[Scene], *, coded: bool
) -> Mapping[str, Estimate]:
    """Accuracy on the scenes' own renders, as they are or after the autoencoder."""
    codec = LatentCodec(system.vae)
    fps, frames = float(system.config.fps), int(system.config.num_frames)
    scores = []
    for scene in scenes:
        video = to_floats(render(scene, num_frames=frames, fps=fps))[None]
        if coded:
            with torch.inference_mode():
                video = codec.decode(codec.encode(video))
            video = to_floats(to_bytes(video.clamp(-1, 1))[0])[None]
        scores.append(score(scene, oracle.read(video, fps=fps)[0]))
    return accuracy(scores, range(len(scenes)))


def _floor(
    scenes: Sequence[Scene], readings: Sequence[Reading], groups: Sequence[int]
) -> Mapping[str, Estimate]:
    """Accuracy when every video is scored against the scene of another prompt."""
    prompts = sorted(set(groups))
    order = np.random.default_rng(FLOOR_SEED).permutation(len(prompts))
    # A rotation of a random order has no fixed point.
    partner = {prompts[a]: prompts[b] for a, b in zip(order, np.roll(order, 1), strict=True)}
    by_prompt = dict(zip(groups, scenes, strict=True))
    scores = [
        score(by_prompt[partner[group]], reading)
        for group, reading in zip(groups, readings, strict=True)
    ]
    return accuracy(scores, groups)
