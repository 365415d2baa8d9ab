"""How near interpolated frames come to the true ones, and how far that is from simpler ways.

Command: `python -m mutoscope.evaluation.smooth OUT [--clips N] [--model NAME]`. It measures the
first N test clips as drawn (400), keeps each in OUT as soon as it is measured, so that the same
command goes on after an interruption, and writes `OUT/smooth.md`, `OUT/smooth.json`,
`OUT/smooth.png` and `OUT/between.png`.

Written down before the first measurement:

* Key frames are every fourth frame of the true clip at four times the base's rate, through the
  autoencoder; the truth has been through it too. Ways: the interpolation as the model ships it, one
  sample, seed = number of the clip, told the clip's prompt; each key frame repeated where it is
  the nearest; neighbouring key frames blended; the interpolation told the key frames, or the
  prompt, of the next clip (until 2026-11-29 these two on the first quarter of the clips only).
* PSNR is that of frames between key frames over pixels that truly move by a pixel or more from one
  key frame to the next; frames without such pixels do not count, nor clips.
* Trajectory error is how far a thing must be moved from its true place to fit best what the frame
  shows (`metrics.between.displacement`), in pixels, a mean over things that go somewhere and frames
  between key frames.
* Middle speed and above: some thing moves at speed "normal" or "fast".
* Verdict: the stage is worth its time if there the lower end of the 95 % interval of its gain in
  PSNR is at least 1.5 dB over either simple way, and its trajectory error is below both.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from mutoscope.encoding.codec import LatentCodec
from mutoscope.evaluation.command import on_clips
from mutoscope.evaluation.figures import add_mean, column
from mutoscope.evaluation.kept import Row, folder_of, kept
from mutoscope.evaluation.protocol import Prompt
from mutoscope.evaluation.run import circumstances
from mutoscope.metrics.between import between_keys, blended, displacement, psnr, speed
from mutoscope.metrics.interval import Interval
from mutoscope.stages.interpolation import num_frames, spread
from mutoscope.systems.cascade import BASE, INTERPOLATE
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Latents, Video
from mutoscope.video.atomic import whole
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.plots import plotted
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.render import render, render_truth
from mutoscope.world.scene import Scene

WAYS = ("interpolated", "repeated", "blended")
SHUFFLED = ("other key frames", "other prompt")
SIMPLE = WAYS[1:]
GAIN = 1.5
REACH = 10
ON_SHEET = 6
SPEEDS = ("still", "slow", "normal", "fast")
MIDDLE = ("normal", "fast")

Found = dict[str, float]
"""Of one clip: "WAY psnr" in dB, "WAY trajectory" in pixels, and "speed" in pixels from one key
frame to the next, a mean over the region; NaN where there is nothing to measure."""


def measure(system: LaVie, asked: Sequence[Prompt], number: int) -> Found:
    """All figures of clip `number` of `asked`."""
    truth, ways = filled_in(system, asked, number, shuffled=True)
    factor = system.config.factor
    scene, count = asked[number].scene, truth.shape[2]
    known = render_truth(scene, num_frames=count, **_rendering(system))
    between = between_keys(count, factor=factor)
    pace = factor * speed(torch.from_numpy(known.flow)[None])
    moving = (pace >= 1) & between[:, None, None]
    found = {"speed": float(pace[moving].mean())}
    masks = torch.from_numpy(known.masks)[_movers(scene)][:, between] > 0.5
    for way, video in ways.items():
        found[f"{way} psnr"] = float(psnr(video, truth, moving))
        away = [displacement(video[:, :, between], truth[:, :, between], mask[None], reach=REACH)
                for mask in masks]  # fmt: skip
        found[f"{way} trajectory"] = float(torch.cat(away).nanmean()) if away else float("nan")
    return found


def filled_in(
    system: LaVie, asked: Sequence[Prompt], number: int, *, shuffled: bool
) -> tuple[Video, dict[str, Video]]:
    """The truth as the autoencoder shows it, and every way of filling in (1 3 F H W)."""
    codec, factor = LatentCodec(system.vae), system.config.factor
    latents, following = _latents(system, asked[number].scene), asked[(number + 1) % len(asked)]
    with torch.inference_mode():
        truth = _seen(codec.decode(latents))

    def drawn(keys: Tensor, text: str) -> Tensor:
        output = system(text, seeds=[number], stages=(BASE, INTERPOLATE), resume=(BASE, keys))
        assert isinstance(output.frames, np.ndarray)
        return to_floats(output.frames[0])[None]

    keys, shown = latents[:, :, ::factor], truth[:, :, ::factor]
    ways = {
        "interpolated": drawn(keys, asked[number].text),
        "repeated": spread(shown, factor=factor),
        "blended": blended(shown, factor=factor),
    }
    if shuffled:
        others = _latents(system, following.scene)[:, :, ::factor]
        ways["other key frames"] = drawn(others, asked[number].text)
        ways["other prompt"] = drawn(keys, following.text)
    return truth, ways


def kept_figures(
    system: LaVie,
    asked: Sequence[Prompt],
    out: Path,
    on_clip: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """The figures of all clips, each kept as soon as it is measured."""
    return kept(
        folder_of(out, system, asked),
        range(len(asked)),
        lambda i: measure(system, asked, i),
        on_clip,
    )


def summary(rows: Sequence[Row], speeds: Sequence[str]) -> dict[str, dict[str, Interval]]:
    """Group of clips -> figure -> its mean with the interval over clips.

    Args:
        rows: Of each clip.
        speeds: The speed of the fastest thing of each.

    Returns:
        Groups are each of `SPEEDS`, "middle and above" and "all"; figures those of each way, the
        gain in PSNR over each simple way, and the rise of the trajectory error with either.
    """
    groups = {name: [s == name for s in speeds] for name in SPEEDS}
    groups["middle and above"] = [s in MIDDLE for s in speeds]
    groups["all"] = [True] * len(speeds)
    report: dict[str, dict[str, Interval]] = {}
    for group, chosen in groups.items():
        members = [row for row, is_in in zip(rows, chosen, strict=True) if is_in]
        figures: dict[str, Interval] = {}
        for way in (*WAYS, *SHUFFLED):
            for unit in ("psnr", "trajectory"):
                add_mean(figures, f"{way} {unit}", column(members, f"{way} {unit}"))
        for way in (*SIMPLE, *SHUFFLED):
            ours = column(members, "interpolated psnr") - column(members, f"{way} psnr")
            add_mean(figures, f"psnr above {way}", ours)
            theirs = column(members, f"{way} trajectory")
            add_mean(figures, f"trajectory below {way}",
                 theirs - column(members, "interpolated trajectory"))  # fmt: skip
        if figures:
            report[group] = figures
    return report


def verdict(report: Mapping[str, Mapping[str, Interval]]) -> str:
    """What the rule above says."""
    figures = report.get("middle and above", {})
    if any(f"psnr above {way}" not in figures for way in SIMPLE):
        return "Too few clips move at middle speed or above for a verdict."
    clearer = all(figures[f"psnr above {way}"].low >= GAIN for way in SIMPLE)
    nearer = all(figures[f"trajectory below {way}"].low > 0 for way in SIMPLE)
    said = ", ".join(f"{figures[f'psnr above {way}']} dB above {way}" for way in SIMPLE)
    also = ", ".join(f"{figures[f'trajectory below {way}']} px below {way}" for way in SIMPLE)
    return (
        f"At middle speed and above PSNR is {said}; the trajectory error is {also}. By the rule "
        f"the stage is {'' if clearer and nearer else 'not '}worth its time."
    )


def markdown(report: Mapping[str, Mapping[str, Interval]], facts: Mapping[str, object]) -> str:
    """Tables of the report, the verdict, and what it takes to make it again."""
    lines = []
    for unit, title in (("psnr", "PSNR, dB"), ("trajectory", "trajectory error, px")):
        word = "above" if unit == "psnr" else "below"
        columns = [f"{way} {unit}" for way in WAYS] + [f"{unit} {word} {way}" for way in SIMPLE]
        lines += [
            "| " + " | ".join([f"{title}; fastest thing", "clips", *columns]) + " |",
            "|---" * (2 + len(columns)) + "|",
        ]
        for group, figures in report.items():
            cells = [str(figures.get(name, "")) for name in columns]
            clips = figures[columns[0]].clips if columns[0] in figures else 0
            lines.append(f"| {group} | {clips} | " + " | ".join(cells) + " |")
        lines.append("")
    of_all = report["all"]
    for way in SHUFFLED:
        if f"psnr above {way}" in of_all:
            gain, near = of_all[f"psnr above {way}"], of_all[f"trajectory below {way}"]
            lines += [
                f"Told {way}, on {gain.clips} clips: {gain} dB less, {near} px farther away.",
                "",
            ]
    lines += [verdict(report), "", "; ".join(f"{k}: {v}" for k, v in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[Row], place: Path) -> None:
    """PSNR and trajectory error over speed: a point for each clip, a line of means."""
    with plotted(place, width=9.0, height=3.6) as figure:
        axes = figure.subplots(1, 2)
        speeds = column(rows, "speed")
        for axis, unit, label in zip(
            axes,
            ("psnr", "trajectory"),
            ("PSNR where it moves, dB", "trajectory error, px"),
            strict=True,
        ):
            for way in WAYS:
                values = column(rows, f"{way} {unit}")
                there = np.isfinite(values) & np.isfinite(speeds)
                order = np.argsort(speeds[there])
                x, y = speeds[there][order], values[there][order]
                points = axis.scatter(x, y, s=3, alpha=0.25)
                parts = zip(np.array_split(x, 8), np.array_split(y, 8), strict=True)
                middle = [(pace.mean(), value.mean()) for pace, value in parts if len(pace)]
                axis.plot(
                    *zip(*middle, strict=True), color=points.get_facecolor()[0][:3], label=way
                )
            axis.set_xlabel("speed, pixels from key frame to key frame")
            axis.set_ylabel(label)
        axes[0].legend()


def report_of(system: LaVie, rows: Sequence[Row], asked: Sequence[Prompt], out: Path) -> str:
    """Writes table, figures, plot and a sheet of the first clips, none picked; gives the table."""
    found = summary(rows, [_speed(prompt.scene) for prompt in asked])
    facts = {"clips": len(asked), **_facts(system), **circumstances(system)}
    text = markdown(found, facts)
    with whole(out / "smooth.md") as draft:
        draft.write_text(text, "utf-8")
    with whole(out / "smooth.json") as draft:
        groups = {group: {k: asdict(v) for k, v in row.items()} for group, row in found.items()}
        draft.write_text(json.dumps({**facts, "groups": groups}, indent=1), "utf-8")
    plot(rows, out / "smooth.png")
    clips, titles = [], []
    for number in range(min(ON_SHEET, len(asked))):
        truth, ways = filled_in(system, asked, number, shuffled=False)
        # Three key frames from the middle, and what lies between.
        factor = system.config.factor
        first = (truth.shape[2] - 1) // factor // 2 * factor
        middle = slice(first, first + 2 * factor + 1)
        clips += [to_bytes(each)[0][middle] for each in (truth, *ways.values())]
        titles += [f"{asked[number].text}: truth", *ways]
    write_png(out / "between.png", contact_sheet(clips, titles, num_columns=len(clips[0])))
    return text


def _latents(system: LaVie, scene: Scene) -> Latents:
    count = num_frames(system.config.num_frames, factor=system.config.factor)
    video = to_floats(render(scene, num_frames=count, **_rendering(system)))[None]
    with torch.inference_mode():
        return LatentCodec(system.vae).encode(video)


class _Rendering(TypedDict):
    fps: float
    height: int
    width: int


def _rendering(system: LaVie) -> _Rendering:
    """The size and the higher rate of the model's frames."""
    config = system.config
    return {
        "fps": float(config.factor * config.fps),
        "height": config.height,
        "width": config.width,
    }


def _seen(video: Tensor) -> Video:
    """A decoded video as a file would hold it."""
    return to_floats(to_bytes(video.clamp(-1, 1))[0])[None]


def _movers(scene: Scene) -> list[int]:
    """Numbers of the things that go somewhere."""
    staying = ("still", "spin", "grow", "shrink")
    return [i for i, thing in enumerate(scene.things) if thing.motion not in staying]


def _speed(scene: Scene) -> str:
    """That of the fastest thing that moves at all."""
    moving = [thing.speed for thing in scene.things if thing.motion != "still"]
    return max(moving, key=SPEEDS.index) if moving else "still"


def _facts(system: LaVie) -> dict[str, object]:
    config = system.config
    return {
        "interpolation_steps": config.interpolation_steps,
        "interpolation_guidance_scale": config.interpolation_guidance_scale,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for; what cannot be measured is one line."""
    said = ("interpolation", "interpolation", "filling in and comparing")
    on_clips("smooth", INTERPOLATE, said, kept_figures, report_of, arguments)


if __name__ == "__main__":
    main()
