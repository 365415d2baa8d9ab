"""Time layers that start as the identity, and how an image network becomes a video network."""

from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mutoscope.errors import ModelError
from mutoscope.nn.attention import Attention, attend
from mutoscope.nn.rope import rotary_angles, rotate

TEMPORAL_NAMES = frozenset({"attn_temp", "norm_temp"})


class TemporalAttention(Attention):
    """Every place attends to the same place in all frames of its clip; RoPE tells their order.

    The output projection starts at zero, so that the layer starts as the identity (in a residual
    branch). The released LaVie zeroes only its weight and keeps a random bias; here the bias is
    zero as well, or an inflated image network would not start as the image network.

    Source: LaVie (arXiv 2309.15103) §4.1.
    """

    def __init__(self, width: int, *, num_heads: int, rotary_dim: int) -> None:
        super().__init__(width, num_heads=num_heads)
        self.rotary_dim = rotary_dim
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Sets the output projection to zero."""
        for parameter in self.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens: Float[Tensor, "R N C"], *, num_clips: int) -> Float[Tensor, "R N C"]:
        """Attention among the frames of each clip; the rows are `num_clips` times F frames."""
        query, key, value = (
            rearrange(
                project(tokens), "(B F) N (K E) -> B F (N K) E", B=num_clips, K=self.num_heads
            )
            for project in (self.to_q, self.to_k, self.to_v)
        )
        angles = rotary_angles(
            query.shape[1], query.shape[3], rotary_dim=self.rotary_dim, device=tokens.device
        )
        query, key = rotate(query, angles), rotate(key, angles)
        # Places and heads together are the heads of one call: this way nothing is copied.
        query, key, value = (states.transpose(1, 2) for states in (query, key, value))
        attended = attend(query, key, value)
        return self.output(rearrange(attended, "B (N K) F E -> (B F) N (K E)", K=self.num_heads))


def is_temporal(name: str) -> bool:
    """Whether a parameter of this name belongs to a time layer, so that no image network has it."""
    return not TEMPORAL_NAMES.isdisjoint(name.split("."))


def inflate(image_state: Mapping[str, Tensor], network: nn.Module) -> None:
    """Makes `network` start as the image network whose weights are given.

    Its time layers are set to the identity, so that every frame comes out as the image network
    would make it, bit for bit.

    Args:
        image_state: Every weight of `network` but those of its time layers, and nothing else.
        network: Changed in place; its precision and device stay.

    Raises:
        ModelError: A weight is missing, unknown or of another shape; `network` is then unchanged.

    Source: LaVie (arXiv 2309.15103) §4.1.
    """
    own = network.state_dict()
    wanted = {name for name in own if not is_temporal(name)}
    problems = [
        *(f"{name} is missing" for name in sorted(wanted - image_state.keys())),
        *(f"{name} is unknown" for name in sorted(image_state.keys() - wanted)),
        *(
            f"{name} is {tuple(image_state[name].shape)} and should be {tuple(own[name].shape)}"
            for name in sorted(wanted & image_state.keys())
            if image_state[name].shape != own[name].shape
        ),
    ]
    if problems:
        raise ModelError(
            f"this network cannot be inflated from these weights: {problems[0]}"
            f"{f', and {len(problems) - 1} more' if len(problems) > 1 else ''}. "
            "Give the weights of an image network with the same configuration."
        )
    with torch.no_grad():
        network.load_state_dict(image_state, strict=False)
    for module in network.modules():
        if isinstance(module, TemporalAttention):
            module.start_as_identity()
