"""What the states of a text encoder tell of what captions state: linear probes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mutoscope.encoding.text import TextEncoder
from mutoscope.metrics.probe import linear_probe
from mutoscope.world.factors import Kind
from mutoscope.world.grammar import caption, facts
from mutoscope.world.labels import SCENE_FACTORS, THING_FACTORS, UNKNOWN, labels
from mutoscope.world.scene import draw_scene

STATED: dict[Kind, tuple[str, ...]] = {
    "video": ("background", "camera", *THING_FACTORS),
    "image": ("background", "style", "shape", "colour", "size", "texture"),
}
"""What fully detailed captions of one object state, by what they are captions of."""


def probe_captions(text: TextEncoder, *, count: int, kind: Kind = "video") -> dict[str, float]:
    """Accuracy of linear probes on the states of fully detailed captions of one object.

    Three quarters of the captions fit a probe, the others try it. Only those count that state the
    factor: a growing or shrinking thing is given no size.

    Args:
        text: The encoder.
        count: Captions.
        kind: Whether of clips or of stills, which may be of a style and of image-only shapes.

    Returns:
        Share read right, 0 to 1, of each factor.
    """
    scenes = [draw_scene(i, split="train", kind=kind) for i in range(2 * count)]
    scenes = [scene for scene in scenes if scene.arrangement == "single"][:count]
    prompts = [caption(scene, level="full", seed=scene.seed) for scene in scenes]
    states = torch.cat(
        [pooled_states(text, prompts[i : i + 256]) for i in range(0, len(prompts), 256)]
    )
    truth = labels(scenes)
    train = torch.arange(len(scenes)) < len(scenes) * 3 // 4
    figures = {}
    for name in STATED[kind]:
        values = torch.from_numpy(truth[name] if name in SCENE_FACTORS else truth[name][:, 0])
        known = values != UNKNOWN
        if name == "size":
            said = [any(fact.factor == "size" for fact in facts(s, "full")) for s in scenes]
            known &= torch.tensor(said)
        figures[name] = linear_probe(
            (states[train & known], values[train & known]),
            (states[~train & known], values[~train & known]),
        )
    return figures


def pooled_states(text: TextEncoder, prompts: Sequence[str]) -> Tensor:
    """Mean of each prompt's token states, beside the state of its last token (N, 2D)."""
    with torch.inference_mode():
        states, mask = text.encode(prompts)
        last = states[torch.arange(len(states)), mask.sum(dim=1) - 1]
        mean = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    return torch.cat([mean, last], dim=1).clone().cpu()
