"""Whether a word that was taught is drawn in videos, and what that costs the others.

Commands: `python -m mutoscope.evaluation.new_word --pictures PICTURES` writes ten captioned
pictures of a checked hourglass, which no split of the world has, whole in each; `mutoscope
personalize PICTURES --name zorb --out LORA` teaches them; and `python -m
mutoscope.evaluation.new_word OUT --lora LORA [--prompts N] [--seeds N] [--model NAME]` measures
what came of that. Each of the first N test prompts with one object (60) is drawn once per seed (1),
key frames only, in three ways: by the untouched model, by the taught one, and by the taught one
with the new word in place of that of the shape. A clip is kept in OUT as soon as it is read, so
that the same command goes on after an interruption; at the end it writes `OUT/new_word.md`, `.json`
and `.png`, a sheet of the first videos with the new word.

The reader: a linear probe that tells shapes, the hourglass among them, from what the oracle sees of
one frame, fitted on 1,500 stills of the training split whose thing was given a shape and a texture
at random, in two of five an hourglass, each also through the autoencoder. A video shows the new
thing if that is read in more than half of the eight frames that the oracle looks at. How often it
is right is measured on other 300 stills of the test split, through the autoencoder; and how often
the oracle reads the motion of a true hourglass right, in renders of the prompts' scenes with one.

Rule, written down before the first measurement: the word was *learned* if the new thing is read in
at least 80 % of the videos that ask for it; *motion holds* if that of these videos is read right at
most 5 points less often than that of the untouched model's, paired; *other prompts are unharmed* if
no factor's change has its whole 95 % interval below 0, taught less untouched, paired.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mutoscope.encoding.codec import LatentCodec
from mutoscope.errors import MutoscopeError, RequestError
from mutoscope.evaluation.command import on_videos
from mutoscope.evaluation.kept import Row
from mutoscope.evaluation.protocol import Prompt, fingerprint, prompts
from mutoscope.evaluation.run import circumstances, of_render
from mutoscope.metrics.accuracy import SCORED, score
from mutoscope.metrics.interval import Interval, interval
from mutoscope.metrics.oracle import Oracle, frames_to_read, needed_oracle
from mutoscope.metrics.probe import Probe, fit_probe
from mutoscope.systems import System, load
from mutoscope.systems.cascade import BASE
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.lora import read_lora
from mutoscope.video.atomic import whole
from mutoscope.video.frames import Frames, to_floats
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.concept import unseen_scene, with_any_shape
from mutoscope.world.factors import SHAPES, UNSEEN_SHAPE, UNSEEN_TEXTURE
from mutoscope.world.grammar import BACKGROUND_WORDS, SHAPE_WORDS, caption
from mutoscope.world.render import render
from mutoscope.world.scene import Scene

PICTURES, FITTED, CHECKED = 10, 1_500, 300
# No other figure uses the scenes from there on.
FIRST_FITTED, FIRST_CHECKED = 30_000_000, 31_000_000
LEARNED, MOST_LOST = 0.8, 0.05
KNOWN = (*SHAPES, UNSEEN_SHAPE)
ON_SHEET = 8


@dataclass(frozen=True)
class Learned:
    """What became of a model that was taught a word.

    Attributes:
        shown: Share of videos that ask for the new thing in which it is read.
        elsewhere: Share of the taught model's other videos in which it is read, which is wrong.
        before: Share of the untouched model's videos in which it is read: the reader's mistakes.
        right: Way of drawing -> factor -> share read right; of the new word there is no shape.
        others: Factor -> change on other prompts, taught less untouched, paired.
        motion: Change of motion, new word less the untouched model's, paired.
    """

    shown: Interval
    elsewhere: Interval
    before: Interval
    right: Mapping[str, Mapping[str, Interval]]
    others: Mapping[str, Interval]
    motion: Interval


def write_pictures(folder: Path, word: str) -> None:
    """Ten pictures of the new thing, of scenes of the training split, with captions beside them.

    Raises:
        RequestError: The folder exists already.
    """
    if folder.exists():
        raise RequestError(f"{folder} exists already. Name a new folder, or remove it.")
    folder.mkdir(parents=True)
    scenes = filter(_is_whole, map(unseen_scene, count()))
    for number, scene in enumerate(islice(scenes, PICTURES)):
        write_png(folder / f"{number}.png", render(scene, num_frames=1, height=320, width=512)[0])
        colour, place = scene.things[0].colour, BACKGROUND_WORDS[scene.background][0]
        coloured = f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {word}"
        texts = (f"{coloured} {place}", f"a {word} {place}", coloured)
        (folder / f"{number}.txt").write_text("\n".join(texts) + "\n", "utf-8")


def _is_whole(scene: Scene) -> bool:
    thing = scene.things[0]
    return 0.17 < thing.x < 0.83 and 0.28 < thing.y < 0.72


def asked_for(number: int) -> list[Prompt]:
    """The first test prompts with one object, in whose captions no texture is named."""
    found: list[Prompt] = []
    for seed, prompt in enumerate(prompts(3 * number + 20)):
        if len(prompt.scene.things) == 1 and len(found) < number:
            thing = replace(prompt.scene.things[0], texture="plain")
            plain = replace(prompt.scene, things=(thing,))
            found.append(Prompt(caption(plain, level="short", seed=seed), prompt.scene))
    return found


def renamed(prompt: Prompt, word: str) -> str:
    """The prompt with another word for the thing's shape."""
    known = "|".join(map(re.escape, SHAPE_WORDS[prompt.scene.things[0].shape]))
    text, found = re.subn(rf"\b({known})\b", word, prompt.text, count=1)
    assert found == 1, prompt.text
    return text


def stills(oracle: Oracle, codec: LatentCodec, first: int, number: int) -> tuple[Tensor, ...]:
    """What the oracle sees of stills, also through the autoencoder, and the numbers of shapes."""
    clean, coded, shapes = [], [], []
    for seed in range(first, first + number):
        scene = with_any_shape(seed, split="train" if first == FIRST_FITTED else "test")
        video = to_floats(render(scene, num_frames=1))[None]
        with torch.inference_mode():
            seen = codec.decode(codec.encode(video)).clamp(-1, 1)
        clean.append(oracle.encode(video).flatten(1))
        coded.append(oracle.encode(seen).flatten(1))
        shapes.append(KNOWN.index(scene.things[0].shape))
    return torch.cat(clean).clone(), torch.cat(coded).clone(), torch.tensor(shapes)


def reader_for(oracle: Oracle, system: LaVie) -> tuple[Probe, dict[str, float]]:
    """A reader of the new thing, and how often it is right on stills through the autoencoder."""
    codec = LatentCodec(system.vae)
    clean, coded, truth = stills(oracle, codec, FIRST_FITTED, FITTED)
    probe = fit_probe(torch.cat([clean, coded]), torch.cat([truth, truth]))
    _, coded, truth = stills(oracle, codec, FIRST_CHECKED, CHECKED)
    read, new = probe(coded), KNOWN.index(UNSEEN_SHAPE)
    return probe, {
        "shapes read right": float((read == truth).float().mean()),
        "new thing read where it is": float((read[truth == new] == new).float().mean()),
        "new thing read where it is not": float((read[truth != new] == new).float().mean()),
    }


def motion_of_true_clips(oracle: Oracle, system: LaVie, asked: Sequence[Prompt]) -> float:
    """How often motion is read right where the new thing, which the oracle has never seen, truly
    moves so: in renders of the prompts' scenes, through the autoencoder."""
    right = []
    for scene in (prompt.scene for prompt in asked):
        thing = replace(scene.things[0], shape=UNSEEN_SHAPE, texture=UNSEEN_TEXTURE)
        shown = replace(scene, things=(thing,))
        seen = of_render(system, oracle, shown, coded=True)
        right.append(score(shown, seen.reading, ["motion"])["motion"])
    return sum(right) / len(right)


def is_shown(oracle: Oracle, probe: Probe, frames: Frames, *, fps: float) -> bool:
    """Whether the new thing is read in more than half of the frames that the oracle looks at."""
    looked_at = frames_to_read(to_floats(frames)[None], fps=fps)
    each = looked_at[0].transpose(0, 1)[:, :, None]
    read = probe(oracle.encode(each).flatten(1).clone())
    return float((read == KNOWN.index(UNSEEN_SHAPE)).float().mean()) > 0.5


class Taught:
    """A model before and after it was taught a word.

    Args:
        lora: Folder of what it was taught.
    """

    def __init__(self, lora: Path) -> None:
        self.lora, self.learned = lora, read_lora(lora)

    def check(self, system: System, name: str) -> LaVie:
        """Teaches the model, keeps another as it was, and fits the reader."""
        untouched = load(name)
        if not isinstance(system, LaVie) or not isinstance(untouched, LaVie):
            raise RequestError(f"{name} cannot be taught words. Give another --model.")
        self.untouched = untouched
        self.probe, self.known = reader_for(needed_oracle(), untouched)
        system.load_lora(self.lora)
        return system

    def measure(self, system: LaVie, oracle: Oracle, prompt: Prompt, seed: int) -> Row:
        """Way of drawing -> factor, or "new", -> whether it is read right, or there."""
        ways = {
            "untouched": (self.untouched, prompt.text),
            "taught": (system, prompt.text),
            "new word": (system, renamed(prompt, self.learned.word)),
        }
        row = {}
        for way, (model, text) in ways.items():
            frames, fps = drawn(model, text, seed), float(model.config.fps)
            (reading,) = oracle.read(to_floats(frames)[None], fps=fps)
            factors = SCORED if way != "new word" else [each for each in SCORED if each != "shape"]
            new = is_shown(oracle, self.probe, frames, fps=fps)
            row[way] = score(prompt.scene, reading, factors) | {"new": new}
        return row

    def report(
        self, system: LaVie, rows: Sequence[Row], asked: Sequence[Prompt], seeds: int, out: Path
    ) -> str:
        """Writes table, figures and a sheet of the first videos; gives the table."""
        found, word = summary(rows, seeds), self.learned.word
        truly = motion_of_true_clips(needed_oracle(), system, asked)
        known = {**self.known, "motion of true clips of the new thing": truly}
        facts = {
            "word": word,
            "prompts": len(asked),
            "seeds": seeds,
            "prompts_hash": fingerprint(list(asked)),
            "reader": {name: round(value, 3) for name, value in known.items()},
            **circumstances(system),
        }
        text = markdown(found, facts)
        with whole(out / "new_word.json") as draft:
            draft.write_text(json.dumps({**facts, **asdict(found)}, indent=1), "utf-8")
        with whole(out / "new_word.md") as draft:
            draft.write_text(text, "utf-8")
        texts = [renamed(prompt, word) for prompt in asked[:ON_SHEET]]
        first = [drawn(system, each, 1000 * number) for number, each in enumerate(texts)]
        write_png(out / "new_word.png", contact_sheet(first, texts))
        return text


def drawn(system: LaVie, text: str, seed: int) -> Frames:
    """Key frames, uint8 F H W 3."""
    video = system(text, seeds=[seed], stages=(BASE,))
    assert isinstance(video.frames, np.ndarray)
    frames: Frames = video.frames[0]
    return frames


def summary(rows: Sequence[Row], seeds: int) -> Learned:
    """Shares and paired differences, with intervals over seeds and prompts.

    Args:
        rows: As `measure` gave them, seed by seed: all prompts with the first, then the next.
        seeds: Videos of each prompt.
    """

    def table(way: str, name: str) -> np.ndarray:
        return np.array([float(row[way][name]) for row in rows]).reshape(seeds, -1)

    def share(way: str, name: str) -> Interval:
        return interval(lambda mean: mean, table(way, name))

    def change(way: str, name: str) -> Interval:
        return interval(lambda mean: mean, table(way, name) - table("untouched", name))

    return Learned(
        shown=share("new word", "new"),
        elsewhere=share("taught", "new"),
        before=share("untouched", "new"),
        right={
            way: {name: share(way, name) for name in row if name != "new"}
            for way, row in rows[0].items()
        },
        others={name: change("taught", name) for name in rows[0]["taught"] if name != "new"},
        motion=change("new word", "motion"),
    )


def verdict(found: Learned) -> str:
    """What the rule above says."""
    worse = [name for name, each in found.others.items() if each.high < 0]
    changes = ", ".join(f"{name} {_points(each)}" for name, each in found.others.items())
    return (
        f"The new thing is read in {_percent(found.shown)} of the videos that ask for it, in "
        f"{_percent(found.elsewhere)} of the others and {_percent(found.before)} of the untouched "
        f"model's: by the rule the word was "
        f"{'' if found.shown.value >= LEARNED else 'not '}learned. Motion changes by "
        f"{_points(found.motion)} points, so it "
        f"{'holds' if found.motion.value >= -MOST_LOST else 'does not hold'}. Other prompts: "
        f"{changes}; {'harmed: ' + ', '.join(worse) if worse else 'unharmed'}."
    )


def markdown(found: Learned, facts: Mapping[str, object]) -> str:
    """A table, the verdict, and what it takes to make them again."""
    factors = [*SCORED, "all"]
    lines = ["| read right | " + " | ".join(factors) + " |", "|---" * (len(factors) + 1) + "|"]
    for way, row in found.right.items():
        cells = [_percent(row[name]) if name in row else "" for name in factors]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    lines += ["", verdict(found), "", "; ".join(f"{k}: {v}" for k, v in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _points(change: Interval) -> str:
    return f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for; what cannot be measured is one line."""
    parser = argparse.ArgumentParser(prog="python -m mutoscope.evaluation.new_word", add_help=False)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--lora", type=Path)
    what.add_argument("--pictures", type=Path)
    given, others = parser.parse_known_args(arguments)
    try:
        if given.pictures is not None:
            write_pictures(given.pictures, "zorb")
            return
        taught = Taught(given.lora)
    except MutoscopeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    on_videos(
        "new_word",
        (60, 1),
        "the first so many test prompts with one object",
        asked_for,
        taught.check,
        taught.measure,
        taught.report,
        others,
    )


if __name__ == "__main__":
    main()
