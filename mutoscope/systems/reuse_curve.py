"""A model's curve of reuse: how much time it saves, and how far frames are then from exact ones."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.errors import ModelError, RequestError

CURVE = "reuse.json"
"""The file in a model's folder."""
HOW_TO_MEASURE = "measure it: python -m benchmarks.reuse --model, and its folder."


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one way of reuse was measured to cost and to save.

    Attributes:
        interval: As in `mutoscope.diffusion.reuse.Reuse`.
        layers: As in `Reuse`.
        loss: Root-mean-square difference of the frames from the exact ones, as a share of the range
            of pixel values; the mean over prompts. 0.02 is a PSNR of 34 dB.
        loss_low: Lower end of its 95 % interval.
        loss_high: Upper end.
        time: CPU time of sampling, as a share of that of exact sampling.
    """

    interval: int
    layers: int
    loss: float
    loss_low: float
    loss_high: float
    time: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """All points of one model, and what they hold for.

    Attributes:
        weights: Hash of the weights; see `mutoscope.systems.lora.base_hash`.
        steps: Sampling steps.
        guidance: Guidance scale.
        early_guidance, early_until: As of `TextGuidance`.
        draft_until: Of the model; a draft is drawn without reuse.
        prompts: How many they were measured on.
        date: When, as YYYY-MM-DD.
        points: In any order.
    """

    weights: str
    steps: int
    guidance: float
    early_guidance: float
    early_until: float
    draft_until: float | None
    prompts: int
    date: str
    points: tuple[Point, ...]

    def fastest_within(self, most: float) -> Point | None:
        """The point that saves most of those whose loss is at most `most`, for all that is known.

        That is the upper end of its interval. None where no point is so good.

        Args:
            most: A share of the range of pixel values.
        """
        within = [p for p in self.points if p.loss_high <= most and p.time < 1]
        return min(within, key=lambda point: point.time, default=None)

    def check(
        self, weights: str, steps: int, guidance: TextGuidance, draft_until: float | None
    ) -> None:
        """Refuses what it was not measured for: of other weights a loss is not known.

        Args:
            weights: As the attribute.
            steps: Of the sampling.
            guidance: Of the sampling.
            draft_until: Of the model.

        Raises:
            RequestError: It was measured for something else.
        """
        if weights != self.weights:
            raise RequestError(
                f"quality lost by reuse is not known for these weights: it was measured for others "
                f"({self.weights}; these are {weights}). Use the model in fp32 and as it was, "
                f"or {HOW_TO_MEASURE}"
            )
        measured = TextGuidance(self.guidance, self.early_guidance, self.early_until)
        if (steps, guidance) != (self.steps, measured):
            raise RequestError(
                f"quality lost by reuse is not known for {steps} steps and {_said(guidance)}: it "
                f"was measured for {self.steps} and {_said(measured)}. Use these."
            )
        if draft_until != self.draft_until:
            raise RequestError(
                f"quality lost by reuse is not known with draft_until={draft_until}: it was "
                f"measured with {self.draft_until}. {HOW_TO_MEASURE.capitalize()}"
            )


def read_curve(folder: Path) -> Curve:
    """The curve in a model's folder.

    Args:
        folder: Of the model.

    Raises:
        ModelError: There is none, or the file is damaged.
    """
    path = folder / CURVE
    if not path.is_file():
        raise ModelError(
            f"{folder} has no {CURVE}, so it is not known what reuse costs this model. First "
            f"{HOW_TO_MEASURE}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        points = tuple(Point(**point) for point in content.pop("points"))
        return Curve(points=points, **content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{path} is damaged: {error}. Copy it again, or {HOW_TO_MEASURE}"
        ) from error


def curve_text(curve: Curve) -> str:
    """The content of the file.

    Args:
        curve: Of a model.
    """
    return json.dumps(asdict(curve), indent=1) + "\n"


def read_loss(text: str) -> float:
    """A share of the range of pixel values, of a figure like 2%; a bare number is a percentage too.

    Args:
        text: As a user writes it.

    Raises:
        RequestError: It is no percentage from 0 to 100.
    """
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise RequestError(
            f"a quality loss of {text!r} cannot be read: it is a percentage of the range of pixel "
            "values, 0 for frames that are exact. Use e.g. 2%."
        )
    return percent / 100


def _said(guidance: TextGuidance) -> str:
    early = f", {guidance.early:g} times that from time {guidance.early_until:g} on"
    return f"guidance {guidance.scale:g}{early if guidance.early != 1 else ''}"
