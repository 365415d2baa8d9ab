"""Super-resolution against the true large frames, and against simpler ways of enlarging.

Command: `python -m mutoscope.evaluation.sharp OUT [--clips N] [--model NAME]`. Figures of a clip
are kept in OUT as soon as they are there, so that the same command goes on after an interruption;
at the end it writes `OUT/sharp.md`, `OUT/sharp.json` and a sheet, `OUT/sharp.png`.

Rule, written down before the first measurement:

* Test clips 0 to N - 1 (400), none left out, as many frames as the stage makes at once, rendered
  four times as high and wide as the key frames and made small by means over 4x4 pixels. Of each
  frame a part of 40x64 small pixels is enlarged, at a place drawn from the clip's number.
* Ways: the stage as the model ships it, one sample, seed = number of the clip, told the clip's
  prompt; bicubic enlargement of the same small frames; and the image upscaler frame by frame, which
  is the same network with its layers over time made to change nothing, from the same noise. Beside
  them the true frames through the large autoencoder, and with that the small frames' colours and
  shades (`encoding.detail`; "ceiling"), which no sample can be expected to pass. Then the mean of
  four samples, the stage told the small frames, or the prompt, of the next clip, and the stage and
  bicubic enlargement of small frames that have been through the base's autoencoder ("coded"), as in
  a cascade (until 2026-11-29 these on the first quarter of the clips only).
* PSNR over all pixels, PSNR over edges (`metrics.enlarged.edges`), and flicker: the mean change, in
  grey levels, of pixels that the truth leaves as they are from frame to frame. Clips without such
  pixels have no flicker, those without edges no PSNR there.
* Verdict: the stage is worth its time if the lower end of the 95 % interval of its gain in PSNR
  over bicubic is at least 2 dB, that on edges is above 0, and its flicker is below the image
  upscaler's, the interval above 0.
* On the first 32 clips, texture and fidelity over the noise level, and fidelity over the steps:
  PSNR, and `metrics.sharpness.sharpness` less that of the truth. These judge nothing.
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.detail import DetailCodec, bicubic, shrunk
from mutoscope.evaluation.command import on_clips
from mutoscope.evaluation.figures import add_mean, column
from mutoscope.evaluation.kept import Row, folder_of, kept
from mutoscope.evaluation.protocol import Prompt
from mutoscope.evaluation.run import circumstances
from mutoscope.metrics.between import psnr
from mutoscope.metrics.enlarged import edges, flicker
from mutoscope.metrics.interval import Interval
from mutoscope.metrics.sharpness import sharpness
from mutoscope.nn.temporal import StartsAsIdentity
from mutoscope.systems.cascade import UPSCALE
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.reading import quietly
from mutoscope.types import Video
from mutoscope.video.atomic import whole
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.render import render
from mutoscope.world.scene import Scene

WAYS = ("enlarged", "bicubic", "frame by frame", "autoencoder", "ceiling", "mean of 4")
SHUFFLED = ("other video", "other prompt")
CODED = ("coded enlarged", "coded bicubic")
UNITS = ("psnr", "edges", "flicker")
GAIN = 2.0
PART = (40, 64)
ON_CURVE = 32
NOISE_LEVELS = (0, 5, 20, 50, 100, 150)
STEPS = (2, 4, 8, 16)
ON_SHEET = 6

Small = UInt8[np.ndarray, "F h w 3"]

Found = dict[str, float]
"""Of one clip: "WAY psnr" and "WAY edges" in dB, "WAY flicker" in grey levels, and "SETTING psnr"
and "SETTING sharpness" of the curves; NaN where there is nothing to measure."""


def measure(system: LaVie, asked: Sequence[Prompt], number: int, *, curve: bool) -> Found:
    """All figures of clip `number` of `asked`.

    Args:
        system: What is measured.
        asked: Prompts with their scenes.
        number: Of the clip.
        curve: Whether also other noise levels and steps.
    """
    truth, ways = enlarged(system, asked, number, more=True)
    everywhere, steep = torch.ones_like(truth[:, 0], dtype=torch.bool), edges(truth)
    found = {}
    for way, video in ways.items():
        found[f"{way} psnr"] = float(psnr(video, truth, everywhere))
        found[f"{way} edges"] = float(psnr(video, truth, steep))
        found[f"{way} flicker"] = float(flicker(video, truth))
    if curve:
        found["bicubic sharpness"] = _sharper(ways["bicubic"], truth)
        for setting, video in settings_of(system, asked, number).items():
            found[f"{setting} psnr"] = float(psnr(video, truth, everywhere))
            found[f"{setting} sharpness"] = _sharper(video, truth)
    return found


def enlarged(
    system: LaVie, asked: Sequence[Prompt], number: int, *, more: bool
) -> tuple[Video, dict[str, Video]]:
    """The truth and every way of enlarging the small frames (1 3 F H W), as files hold them."""
    truth, small = pair(system, asked[number].scene, number)
    text, times = asked[number].text, system.enlargement([UPSCALE])

    ways = {
        "enlarged": _upscaled(system, small, text, number),
        "bicubic": _seen(bicubic(to_floats(small)[None], times)),
        "frame by frame": _upscaled(without_time(system), small, text, number),
        **through_autoencoder(system, truth, small),
    }
    if more:
        others = (_upscaled(system, small, text, 1_000_000 + 3 * number + i) for i in range(3))
        ways["mean of 4"] = torch.stack([ways["enlarged"], *others]).mean(dim=0)
        following = asked[(number + 1) % len(asked)]
        _, another = pair(system, following.scene, number)
        ways["other video"] = _upscaled(system, another, text, number)
        ways["other prompt"] = _upscaled(system, small, following.text, number)
        low = to_floats(small)[None]
        with torch.inference_mode():
            codec = LatentCodec(system.vae)
            coded = to_bytes(codec.decode(codec.encode(low)).clamp(-1, 1))[0]
        ways["coded enlarged"] = _upscaled(system, coded, text, number)
        ways["coded bicubic"] = _seen(bicubic(to_floats(coded)[None], times))
    return truth, ways


def settings_of(system: LaVie, asked: Sequence[Prompt], number: int) -> dict[str, Video]:
    """The small frames enlarged with other noise levels and steps."""
    _, small = pair(system, asked[number].scene, number)
    text, found = asked[number].text, {}
    most = system.upscaler.config.num_noise_levels - 1
    for level in NOISE_LEVELS:
        if level <= (system.config.most_noise or most):
            found[f"noise level {level}"] = _upscaled(system, small, text, number, level)
    for steps in STEPS:
        found[f"{steps} steps"] = _upscaled(_like(system, upscale_steps=steps), small, text, number)
    return found


def pair(system: LaVie, scene: Scene, number: int) -> tuple[Video, Small]:
    """The true part of a clip (1 3 F H W), and the small one (F h w 3).

    Args:
        system: Whose size and rate they are for.
        scene: What they show.
        number: Seed of the place.
    """
    config, times = system.config, system.enlargement([UPSCALE])
    draw = np.random.default_rng(number)
    sides = config.height, config.width
    part = [min(asked, there) for asked, there in zip(PART, sides, strict=True)]
    place = [int(draw.integers(side - own + 1)) for side, own in zip(sides, part, strict=True)]
    top, left, height, width = (times * cells for cells in (*place, *part))
    large = render(
        scene,
        num_frames=config.upscale_num_frames,
        fps=system.native_fps(system.stages),
        height=times * config.height,
        width=times * config.width,
        crop=(top, left, height, width),
    )
    truth = to_floats(large)[None]
    return truth, to_bytes(shrunk(truth, times))[0]


def through_autoencoder(system: LaVie, truth: Video, small: Small) -> dict[str, Video]:
    """What the large autoencoder leaves of the true frames, alone and with the small ones known."""
    codec = LatentCodec(system.upscaler_vae)
    details, low = DetailCodec(codec, system.config.upscale_detail), to_floats(small)[None]
    with torch.inference_mode():
        return {
            "autoencoder": _seen(codec.decode(codec.encode(truth))),
            "ceiling": _seen(details.decode(details.encode(truth, low), low)),
        }


def without_time(system: LaVie) -> LaVie:
    """The same model with an upscaler whose layers over time change nothing: the image upscaler."""
    network = copy.deepcopy(system.upscaler)
    for module in network.modules():
        if isinstance(module, StartsAsIdentity):
            module.start_as_identity()
    return _like(system, upscaler=network)


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
        lambda i: measure(system, asked, i, curve=i < ON_CURVE),
        on_clip,
    )


def summary(rows: Sequence[Row]) -> dict[str, Interval]:
    """Figure -> its mean with the interval over clips: those of each way, "UNIT above WAY" for the
    gain of the stage in dB, and "flicker below WAY"."""
    figures: dict[str, Interval] = {}
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        add_mean(figures, name, column(rows, name))
    for way in (*WAYS[1:], *SHUFFLED):
        for unit in UNITS:
            gain = column(rows, f"enlarged {unit}") - column(rows, f"{way} {unit}")
            if unit == "flicker":
                add_mean(figures, f"flicker below {way}", -gain)
            else:
                add_mean(figures, f"{unit} above {way}", gain)
    for way, than in (("mean of 4", "bicubic"), CODED):
        better = column(rows, f"{way} psnr") - column(rows, f"{than} psnr")
        add_mean(figures, f"{way} psnr above {than}", better)
    return figures


def verdict(figures: Mapping[str, Interval]) -> str:
    """What the rule above says."""
    needed = ("psnr above bicubic", "edges above bicubic", "flicker below frame by frame")
    if missing := [name for name in needed if name not in figures]:
        return f"Too few clips have a figure for {missing[0]!r}: no verdict."
    whole_frame, steep, calmer = (figures[name] for name in needed)
    worth = whole_frame.low >= GAIN and steep.low > 0 and calmer.low > 0
    return (
        f"PSNR is {whole_frame} dB above bicubic, {steep} dB on edges; flicker is {calmer} grey "
        f"levels below the image upscaler's. By the rule the stage is {'' if worth else 'not '}"
        "worth its time."
    )


def markdown(figures: Mapping[str, Interval], facts: Mapping[str, object]) -> str:
    """Tables of the figures, the verdict, and what it takes to make them again."""
    titles = ("PSNR, dB", "on edges, dB", "flicker, grey levels", "clips")
    lines = ["| " + " | ".join(["", *titles]) + " |", "|---" * 5 + "|"]
    for way in (*WAYS, *CODED, *SHUFFLED):
        if f"{way} psnr" in figures:
            cells = [str(figures.get(f"{way} {unit}", "")) for unit in UNITS]
            lines.append(f"| {way} | {' | '.join(cells)} | {figures[f'{way} psnr'].clips} |")
    lines.append("")
    for way in (*WAYS[1:], *SHUFFLED):
        if f"psnr above {way}" in figures:
            said = [f"PSNR {figures[f'psnr above {way}']} dB"]
            if f"edges above {way}" in figures:
                said.append(f"on edges {figures[f'edges above {way}']} dB")
            if f"flicker below {way}" in figures:
                said.append(f"flicker {figures[f'flicker below {way}']} grey levels less")
            lines.append(f"* above {way}: {', '.join(said)}")
    for way, than in (("mean of 4", "bicubic"), CODED):
        if f"{way} psnr above {than}" in figures:
            lines.append(f"* {way} above {than}: {figures[f'{way} psnr above {than}']} dB")
    lines += ["", "| setting | PSNR, dB | sharpness less the truth's | clips |", "|---" * 4 + "|"]
    settings = [*(f"noise level {each}" for each in NOISE_LEVELS), *(f"{n} steps" for n in STEPS)]
    for name in (*settings, "bicubic"):
        if f"{name} sharpness" in figures:
            sharper = figures[f"{name} sharpness"]
            lines.append(f"| {name} | {figures[f'{name} psnr']} | {sharper} | {sharper.clips} |")
    lines += ["", verdict(figures), "", "; ".join(f"{k}: {v}" for k, v in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def report_of(system: LaVie, rows: Sequence[Row], asked: Sequence[Prompt], out: Path) -> str:
    """Writes table, figures and a sheet of the first clips, none picked; gives the table."""
    figures = summary(rows)
    facts = {"clips": len(asked), **_facts(system), **circumstances(system)}
    text = markdown(figures, facts)
    with whole(out / "sharp.md") as draft:
        draft.write_text(text, "utf-8")
    with whole(out / "sharp.json") as draft:
        found = {name: asdict(each) for name, each in figures.items()}
        draft.write_text(json.dumps({**facts, "figures": found}, indent=1), "utf-8")
    clips, titles = [], []
    for number in range(min(ON_SHEET, len(asked))):
        truth, ways = enlarged(system, asked, number, more=False)
        clips += [to_bytes(each)[0][:2] for each in (truth, *ways.values())]
        titles += [f"{asked[number].text}: truth", *ways]
    write_png(out / "sharp.png", contact_sheet(clips, titles, num_columns=len(clips[0])))
    return text


def _upscaled(
    system: LaVie, small: Small, text: str, seed: int, noise_level: int | None = None
) -> Video:
    """Frames enlarged by a model (1 3 F H W)."""
    output = system.upscale(small, text, fps=1.0, seed=seed, noise_level=noise_level)
    assert isinstance(output.frames, np.ndarray)
    return to_floats(output.frames[0])[None]


def _like(system: LaVie, **changed: object) -> LaVie:
    """The same model with another component or setting."""
    with quietly():
        found = LaVie.from_pipe(system, **changed)
    assert isinstance(found, LaVie)
    return found


def _sharper(video: Video, truth: Video) -> float:
    return float(sharpness(video) - sharpness(truth))


def _seen(video: Video) -> Video:
    """A video as a file would hold it."""
    return to_floats(to_bytes(video.clamp(-1, 1))[0])[None]


def _facts(system: LaVie) -> dict[str, object]:
    config = system.config
    return {
        "frames": config.upscale_num_frames,
        "upscale_steps": config.upscale_steps,
        "upscale_guidance_scale": config.upscale_guidance_scale,
        "noise_level": config.noise_level,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for; what cannot be measured is one line."""
    said = ("super-resolution", "super_resolution", "enlarging and comparing")
    on_clips("sharp", UPSCALE, said, kept_figures, report_of, arguments)


if __name__ == "__main__":
    main()
