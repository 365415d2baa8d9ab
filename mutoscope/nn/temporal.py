"""Attention over time that starts as the identity; how an image network becomes a video network."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mutoscope.errors import ModelError
from mutoscope.nn.absolute import AbsolutePositions, positions
from mutoscope.nn.attention import Attention, attend
from mutoscope.nn.misfits import first_of, misfits
from mutoscope.nn.relative_bias import RelativePositionBias
from mutoscope.nn.rope import rotary_angles, rotate
from mutoscope.types import Spacing

TEMPORAL_NAMES = {
    "frame_code",
    "frame_scale",
    "place_code",
    "attn_temp",
    "norm_temp",
    "conv_temp",
    "temporal_module",
}


@runtime_checkable
class StartsAsIdentity(Protocol):
    """A layer that an image network lacks, and that can be made to change nothing."""

    def start_as_identity(self) -> None:
        """Sets the weights to zero without which the layer adds nothing to its residual path."""
        ...


class TemporalAttention(Attention):
    """Every place attends to the same place in all frames of its clip.

    The order of frames is told by RoPE, by a learned bias for each distance, by positions that are
    added to the tokens, by several of these, or not at all. The output projection starts at zero,
    so that the layer starts as the identity (in a residual branch). The released LaVie zeroes only
    its weight and keeps a random bias; here the bias is zero as well, or an inflated image network
    would not start as the image network.

    Args:
        width: Channels C.
        num_heads: K.
        rotary_dim: How many channels of each head RoPE turns (even); 0 for none.
        relative_position_bias: Whether scores have a bias for each distance between frames.
        absolute_positions: What is added to the tokens of a frame; see `mutoscope.nn.absolute`.
        causal: Whether it attends to its own frame and those before only.

    Source: LaVie (arXiv 2309.15103) §4.1; the bias is in its released networks only. Absolute
    positions and causal attention are what the paper compares with, Tables 6 and 7.
    """

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        rotary_dim: int,
        relative_position_bias: bool = False,
        absolute_positions: AbsolutePositions = "none",
        causal: bool = False,
    ) -> None:
        super().__init__(width, num_heads=num_heads)
        self.rotary_dim = rotary_dim
        self.causal = causal
        self.absolute_positions = positions(absolute_positions, width)
        self.relative_position_bias = (
            RelativePositionBias(num_heads) if relative_position_bias else None
        )
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Sets the output projection to zero."""
        for parameter in self.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, tokens: Float[Tensor, "R N C"], *, num_clips: int, stride: Spacing = 1, first: int = 0
    ) -> Float[Tensor, "R N C"]:
        """Attention among the frames of each clip; the rows are `num_clips` times F frames, each
        `stride` after the one before, from number `first` on. A `stride` with a fraction is
        known to RoPE alone."""
        if self.absolute_positions is not None:
            tokens = self.absolute_positions(
                tokens, num_clips=num_clips, stride=int(stride), first=first
            )
        query, key, value = (
            rearrange(
                project(tokens), "(B F) N (K E) -> B F (N K) E", B=num_clips, K=self.num_heads
            )
            for project in (self.to_q, self.to_k, self.to_v)
        )
        num_frames, _, head_width = query.shape[1:]
        if self.rotary_dim:
            angles = rotary_angles(
                num_frames,
                head_width,
                rotary_dim=self.rotary_dim,
                stride=stride,
                device=tokens.device,
            )
            query, key = rotate(query, angles), rotate(key, angles)
        bias = self._bias(num_frames, int(stride), query)
        if self.relative_position_bias is None:
            # Places and heads together are the heads of one call: this way nothing is copied.
            query, key, value = (states.transpose(1, 2) for states in (query, key, value))
            attended = attend(query, key, value, bias)
            attended = rearrange(attended, "B (N K) F E -> (B F) N (K E)", K=self.num_heads)
        else:
            # Heads have a bias each, which is to serve all places without being repeated for them.
            query, key, value = (
                rearrange(states, "B F (N K) E -> (B N) K F E", K=self.num_heads)
                for states in (query, key, value)
            )
            assert bias is not None
            attended = attend(query, key, value, bias[None])
            attended = rearrange(attended, "(B N) K F E -> (B F) N (K E)", B=num_clips)
        return self.output(attended)

    def _bias(self, num_frames: int, stride: int, query: Tensor) -> Tensor | None:
        """What is added to the scores of each query frame for each key frame (K or 1, F, F)."""
        bias: Tensor | None = None
        if self.relative_position_bias is not None:
            bias = self.relative_position_bias(num_frames, stride).to(query.dtype)
        if self.causal:
            later = torch.ones(num_frames, num_frames, device=query.device).triu(1).bool()
            hidden = torch.zeros(1, num_frames, num_frames, device=query.device, dtype=query.dtype)
            hidden = hidden.masked_fill(later, float("-inf"))
            bias = hidden if bias is None else bias + hidden
        return bias


def is_temporal(name: str) -> bool:
    """Whether a parameter of this name belongs to a time layer, so that no image network has it."""
    return not TEMPORAL_NAMES.isdisjoint(name.split("."))


def inflate(image_state: Mapping[str, Tensor], network: nn.Module, *, assign: bool = False) -> None:
    """Makes `network` start as the image network whose weights are given.

    Its time layers are set to the identity, so that every frame comes out as the image network
    would make it, bit for bit. Under sparse-causal attention, which has the weights of the image
    network but shows a frame others, that is so (within rounding) of the first frame only.

    Args:
        image_state: Every weight of `network` but those of its time layers, and nothing else.
        network: Changed in place; its precision and device stay.
        assign: Whether it takes over the tensors themselves, with their precision and device, in
            place of copies; then all but its time layers may be on the meta device.

    Raises:
        ModelError: A weight is missing, unknown or of another shape; `network` is then unchanged.

    Source: LaVie (arXiv 2309.15103) §4.1.
    """
    own = network.state_dict()
    wanted = {name: tensor for name, tensor in own.items() if not is_temporal(name)}
    problems = misfits(image_state, wanted)
    if problems:
        raise ModelError(
            f"this network cannot be inflated from these weights: {first_of(problems)}. "
            "Give the weights of an image network with the same configuration."
        )
    with torch.no_grad():
        network.load_state_dict(image_state, strict=False, assign=assign)
    for module in network.modules():
        if isinstance(module, StartsAsIdentity):
            module.start_as_identity()
