"""Draws every prompt, reads the videos back with the oracle, and reports with intervals."""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import ConfigMixin

from mutoscope import __version__
from mutoscope.encoding.codec import LatentCodec
from mutoscope.evaluation.protocol import Prompt, fingerprint
from mutoscope.evaluation.readings import Look, OnClip, Readings, Seen
from mutoscope.metrics.accuracy import SCORED, Estimate, accuracy, confusion, score
from mutoscope.metrics.oracle import Oracle, Reading
from mutoscope.systems import System
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Video
from mutoscope.video.atomic import whole
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.factors import SPEEDS
from mutoscope.world.grammar import facts as facts_of
from mutoscope.world.labels import THING_FACTORS
from mutoscope.world.render import render
from mutoscope.world.scene import Scene

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
        steady: Share of neighbouring frame pairs in which the oracle reads the same shapes: of
            "all videos", of those with "one object", and of "true renders of one object".
        details: Of videos whose prompt names one object, by what else it states of size, texture,
            speed and camera: how many show it so.
        details_codec: The same of true renders after the autoencoder's round trip.
        motions: Of videos whose prompt names one object, by the motion asked for: how many move so.
        speeds: Of those of them in which it does move, by its speed: the same.
        read_as: Of the videos of `motions`, motion asked for -> motion read -> videos.
    """

    generated: Mapping[str, Estimate]
    single: Mapping[str, Estimate]
    double: Mapping[str, Estimate]
    ceiling: Mapping[str, Estimate]
    codec: Mapping[str, Estimate]
    floor: Mapping[str, Estimate]
    steady: Mapping[str, Estimate]
    details: Mapping[str, Estimate]
    details_codec: Mapping[str, Estimate]
    motions: Mapping[str, Estimate]
    speeds: Mapping[str, Estimate]
    read_as: Mapping[str, Mapping[str, int]]


def evaluate(
    system: LaVie,
    oracle: Oracle,
    asked: Sequence[Prompt],
    *,
    seeds: Sequence[int],
    out: Path,
    batch_size: int = 8,
    on_clip: OnClip = lambda kind, done, total: None,
) -> Report:
    """Draws each prompt's key frames once per seed and scores what the oracle reads.

    Writes `out/report.json`, `out/report.md` and `out/sheet.png`, the first prompts' videos with
    the first seed, none picked. What is read is kept in `out` batch by batch (see `Readings`), so
    that the same call after an interruption reads only what is missing.

    Args:
        system: The model.
        oracle: The reader; it has never seen generated video.
        asked: Prompts with their scenes.
        seeds: Video k of a prompt with seed s is drawn from the noise of `1000 * prompt + s`.
        out: Folder of the report.
        batch_size: Videos drawn at once; the noise does not depend on it.
        on_clip: Called with what is read now ("videos", then "true renders" and "true renders
            through the autoencoder"), and how many of it are done and in all.
    """
    jobs = [(number, 1000 * number + seed) for seed in seeds for number in range(len(asked))]
    told = {
        "prompts": len(asked),
        "prompts_hash": fingerprint(list(asked)),
        "seeds": list(seeds),
        **circumstances(system),
    }
    decisive = {name: value for name, value in told.items() if name != "date"}
    kept = Readings(
        out,
        {
            **decisive,
            "scenes": hashlib.sha256(repr(list(asked)).encode()).hexdigest()[:16],
            "oracle": oracle.hash(),
            "batch_size": batch_size,
            "settings": settings(system),
        },
    )

    def draw(numbers: range) -> list[Seen]:
        part = jobs[numbers.start : numbers.stop]
        output = system(
            [asked[number].text for number, _ in part],
            seeds=[seed for _, seed in part],
            stages=system.stages[:1],
        )
        assert isinstance(output.frames, np.ndarray)
        if numbers.start < ON_SHEET:
            kept.keep_pictures(numbers.start, output.frames[: ON_SHEET - numbers.start])
        video = torch.stack([to_floats(clip) for clip in output.frames])
        found = oracle.read(video, fps=float(system.config.fps))
        return [Seen(*each) for each in zip(found, _steady(oracle, video), strict=True)]

    def truth(numbers: range, *, coded: bool) -> list[Seen]:
        return [of_render(system, oracle, asked[i].scene, coded=coded) for i in numbers]

    def measure(kind: str, count: int, look: Look) -> list[Seen]:
        return kept.measure(kind, count, look, batch_size=batch_size, on_clip=on_clip)

    report = summary(
        asked,
        [number for number, _ in jobs],
        measure("videos", len(jobs), draw),
        ceiling=measure("true renders", len(asked), partial(truth, coded=False)),
        codec=measure(
            "true renders through the autoencoder", len(asked), partial(truth, coded=True)
        ),
    )
    pictures = kept.pictures(ON_SHEET)
    titles = [asked[number].text for number, _ in jobs[: len(pictures)]]
    write_png(out / "sheet.png", contact_sheet(pictures, titles))
    facts = {**told, "seconds": round(kept.seconds, 1)}
    with whole(out / "report.md") as draft:
        draft.write_text(markdown(report, facts), encoding="utf-8")
    with whole(out / "report.json") as draft:
        draft.write_text(json.dumps({**facts, **asdict(report)}, indent=1), encoding="utf-8")
    return report


def summary(
    asked: Sequence[Prompt],
    groups: Sequence[int],
    seen: Sequence[Seen],
    *,
    ceiling: Sequence[Seen],
    codec: Sequence[Seen],
) -> Report:
    """Scores what was read.

    Args:
        asked: Prompts with their scenes.
        groups: The number of the prompt of each generated video.
        seen: What was read in each generated video.
        ceiling: What was read in the true render of each prompt.
        codec: The same, after the autoencoder's round trip.
    """
    scenes = [asked[number].scene for number in groups]
    readings = [one.reading for one in seen]
    scores = [score(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]
    motions = [s.things[0].motion if len(s.things) == 1 else None for s in scenes]
    speeds = [
        scene.things[0].speed if motion not in (None, "still") else None
        for scene, motion in zip(scenes, motions, strict=True)
    ]

    def among(rows: Iterable[int]) -> dict[str, Estimate]:
        chosen = list(rows)
        return accuracy([scores[i] for i in chosen], [groups[i] for i in chosen])

    def of_truth(found: Sequence[Seen]) -> dict[str, Estimate]:
        pairs = zip(asked, found, strict=True)
        return accuracy([score(p.scene, one.reading) for p, one in pairs], range(len(asked)))

    return Report(
        generated=among(range(len(scenes))),
        single=among(i for i, scene in enumerate(scenes) if len(scene.things) == 1),
        double=among(i for i, scene in enumerate(scenes) if len(scene.things) == 2),
        ceiling=of_truth(ceiling),
        codec=of_truth(codec),
        floor=_floor(scenes, readings, groups),
        steady=_all_steady(asked, groups, seen, ceiling),
        details=_details(asked, groups, seen),
        details_codec=_details(asked, range(len(asked)), codec),
        motions={
            motion: among(i for i, asked_for in enumerate(motions) if asked_for == motion)["motion"]
            for motion in THING_FACTORS["motion"]
            if motion in motions
        },
        speeds={
            speed: among(i for i, found in enumerate(speeds) if found == speed)["motion"]
            for speed in SPEEDS
            if speed in speeds
        },
        read_as=_read_as(motions, readings),
    )


def settings(system: LaVie) -> dict[str, object]:
    """All that a model records of how it draws, besides its weights, as JSON values."""
    configs = {"": system, **system.components}
    return {
        name: {key: str(value) for key, value in each.config.items() if not key.startswith("_")}
        for name, each in configs.items()
        if isinstance(each, ConfigMixin)
    } | {"dtype": str(system.dtype), "device": system.device.type}


def circumstances(system: System) -> dict[str, object]:
    """The weights, settings, day and machine of a measurement, as JSON values."""
    return {
        "weights": system.weights_hash(),
        "steps": system.config.steps,
        "guidance_scale": system.config.guidance_scale,
        "early_guidance": system.config.early_guidance,
        "early_until": system.config.early_until,
        "draft_until": system.config.draft_until,
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
    if report.details:
        lines += ["", "| stated of one object | drawn so | in true renders, autoencoder |"]
        lines += ["|---|---|---|"]
    for factor, share in report.details.items():
        lines += [f"| {factor} | {share} | {report.details_codec[factor]} |"]
    if report.steady:
        alike = ", ".join(f"{name} {share}" for name, share in report.steady.items())
        lines += ["", f"Shapes read alike in neighbouring frames: {alike}."]
    if report.motions:
        lines += ["", "| motion of one object | read right | read as, of how many videos |"]
        lines += ["|---|---|---|"]
    for motion, share in report.motions.items():
        most = sorted(report.read_as[motion].items(), key=lambda pair: -pair[1])
        lines += [f"| {motion} | {share} | {', '.join(f'{name} {n}' for name, n in most)} |"]
    if report.speeds:
        lines += ["", "| speed of one moving object | motion read right |", "|---|---|"]
        lines += [f"| {speed} | {share} |" for speed, share in report.speeds.items()]
    lines += ["", "; ".join(f"{name}: {value}" for name, value in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def _details(
    asked: Sequence[Prompt], groups: Iterable[int], seen: Sequence[Seen]
) -> dict[str, Estimate]:
    """What else captions of one object state -> how many clips show it."""
    rows: dict[str, list[tuple[int, bool]]] = {}
    for group, one in zip(groups, seen, strict=True):
        scene, level = asked[group].scene, asked[group].level
        for fact in facts_of(scene, level) if len(scene.things) == 1 else ():
            if fact.factor not in SCORED:
                right = score(scene, one.reading, [fact.factor])[fact.factor]
                rows.setdefault(fact.factor, []).append((group, right))
    return {
        factor: accuracy([{factor: right} for _, right in row], [group for group, _ in row])[factor]
        for factor, row in sorted(rows.items())
    }


def _all_steady(
    asked: Sequence[Prompt], groups: Sequence[int], seen: Sequence[Seen], ceiling: Sequence[Seen]
) -> dict[str, Estimate]:
    """See `Report.steady`."""
    single = [len(prompt.scene.things) == 1 for prompt in asked]
    drawn = list(zip(groups, seen, strict=True))
    kinds = {
        "all videos": drawn,
        "one object": [(group, one) for group, one in drawn if single[group]],
        "true renders of one object": [
            (group, one) for group, one in enumerate(ceiling) if single[group]
        ],
    }
    found: dict[str, Estimate] = {}
    for kind, clips in kinds.items():
        pairs = [(group, same) for group, one in clips for same in one.steady]
        if pairs:
            right = [{kind: same} for _, same in pairs]
            found |= accuracy(right, [group for group, _ in pairs])
    return found


def _read_as(
    motions: Sequence[str | None], readings: Sequence[Reading]
) -> dict[str, dict[str, int]]:
    """Motion asked for -> motion read -> videos; None is asked of those that do not count."""
    values = THING_FACTORS["motion"]
    pairs = [
        (motion, reading.things[0]["motion"])
        for motion, reading in zip(motions, readings, strict=True)
        if motion is not None
    ]
    counts = confusion([motion for motion, _ in pairs], [read for _, read in pairs], values)
    return {
        motion: {read: int(n) for read, n in zip(values, row, strict=True) if n}
        for motion, row in zip(values, counts, strict=True)
        if row.any()
    }


def _steady(oracle: Oracle, video: Video) -> list[tuple[bool, ...]]:
    """For each clip, for each pair of neighbouring frames, whether the same shapes are read."""
    clips, _, frames, _, _ = video.shape
    stills = video.transpose(1, 2).flatten(0, 1)[:, :, None]
    found = oracle.read(stills, fps=4.0)
    shapes = [sorted(thing["shape"] for thing in reading.things) for reading in found]
    return [
        tuple(
            shapes[clip * frames + frame] == shapes[clip * frames + frame + 1]
            for frame in range(frames - 1)
        )
        for clip in range(clips)
    ]


def of_render(system: LaVie, oracle: Oracle, scene: Scene, *, coded: bool) -> Seen:
    """What is read in a scene's own render, as it is or after the autoencoder.

    Args:
        system: Whose autoencoder, frames and frame rate are used.
        oracle: The reader.
        scene: What is rendered.
        coded: Whether the render passes through the autoencoder first.
    """
    fps, frames = float(system.config.fps), int(system.config.num_frames)
    video = to_floats(render(scene, num_frames=frames, fps=fps))[None]
    if coded:
        codec = LatentCodec(system.vae)
        with torch.inference_mode():
            video = codec.decode(codec.encode(video))
        video = to_floats(to_bytes(video.clamp(-1, 1))[0])[None]
    return Seen(oracle.read(video, fps=fps)[0], *_steady(oracle, video))


def _floor(
    scenes: Sequence[Scene], readings: Sequence[Reading], groups: Sequence[int]
) -> Mapping[str, Estimate]:
    """Accuracy when every video is scored against the scene of another prompt."""
    prompts = sorted(set(groups))
    if len(prompts) < 2:
        return {}
    order = np.random.default_rng(FLOOR_SEED).permutation(len(prompts))
    # A rotation of a random order has no fixed point.
    partner = {prompts[a]: prompts[b] for a, b in zip(order, np.roll(order, 1), strict=True)}
    by_prompt = dict(zip(groups, scenes, strict=True))
    scores = [
        score(by_prompt[partner[group]], reading)
        for group, reading in zip(groups, readings, strict=True)
    ]
    return accuracy(scores, groups)
