"""Attention of folded frames: over space, within a frame or sparse-causal, and over the text."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from mutoscope.nn.fold import Fold


class Attention(nn.Module):
    """The four projections that every kind of attention here shares.

    Queries come from `width` channels, keys and values from `context_width`; the output projection
    alone has a bias. Names are those of Stable Diffusion 1.x weights (`to_out.0`).
    """

    def __init__(self, width: int, *, num_heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width or width, width, bias=False)
        self.to_v = nn.Linear(context_width or width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def output(self, states: Tensor) -> Tensor:
        """The output projection of merged heads (... C)."""
        projected: Tensor = self.to_out[0](states)
        return projected


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention of (..., N, E).

    On a CPU half precision is lifted to fp32 here: there the backward pass of torch 2.13 takes ten
    times as long in bf16, and more than all that bf16 saves elsewhere.
    """
    if query.device.type != "cpu" or query.dtype == torch.float32:
        return scaled_dot_product_attention(query, key, value, attn_mask=bias)
    with torch.autocast("cpu", enabled=False):
        attended = scaled_dot_product_attention(
            query.float(),
            key.float(),
            value.float(),
            attn_mask=None if bias is None else bias.float(),
        )
    return attended.to(query.dtype)


class SpaceAttention(Attention):
    """Every place of a frame attends to every place of the same frame."""

    def forward(self, tokens: Float[Tensor, "R N C"]) -> Float[Tensor, "R N C"]:
        """Attention among the N places of each row."""
        query, key, value = (
            rearrange(project(tokens), "R N (K E) -> R K N E", K=self.num_heads)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        attended = attend(query, key, value)
        return self.output(rearrange(attended, "R K N E -> R N (K E)"))


class SparseCausalAttention(SpaceAttention):
    """Every place of a frame attends to all places of the first frame and of the frame before it.

    Its own frame is not among them, but for frame 0, which attends to itself. Single images, and a
    clip of one frame, attend to themselves. Weights are those of `SpaceAttention`.

    Source: Tune-A-Video (arXiv 2212.11565), "Network Inflation"; LaVie's released interpolation
    network has it, though its paper (arXiv 2309.15103 §4.2) does not say so.
    """

    def forward(  # type: ignore[override]
        self, tokens: Float[Tensor, "R N C"], fold: Fold, parts: int = 1
    ) -> Float[Tensor, "R N C"]:
        """Attention from the N places of each row to the 2 N places of two frames of its clip.

        Args:
            tokens: Of all rows.
            fold: Which rows are frames of which clip.
            parts: How many parts of the frames attend one after the other, to save memory.
        """
        if fold.frames == 1:
            return super().forward(tokens)
        clips, images = fold.split(tokens)
        key, value = (
            rearrange(project(clips), "(B F) N (K E) -> B F K N E", B=fold.clips, K=self.num_heads)
            for project in (self.to_k, self.to_v)
        )
        attended = []
        step = -(-fold.frames // parts)
        for start in range(0, fold.frames, step):
            part = slice(start, min(start + step, fold.frames))
            seen = clips.unflatten(0, (fold.clips, fold.frames))[:, part].flatten(0, 1)
            query = rearrange(self.to_q(seen), "R N (K E) -> R K N E", K=self.num_heads)
            found = attend(query, _first_and_before(key, part), _first_and_before(value, part))
            found = self.output(rearrange(found, "R K N E -> R N (K E)"))
            attended.append(found.unflatten(0, (fold.clips, -1)))
        whole = torch.cat(attended, dim=1) if len(attended) > 1 else attended[0]
        return fold.join([whole.flatten(0, 1), *([super().forward(images)] if fold.images else [])])


def _first_and_before(states: Tensor, part: slice) -> Tensor:
    """`B F K N E` -> `(B f) K 2N E`: at each frame of a part of them, the first frame's and those
    of the one before; the first frame has itself before it."""
    first = states[:, :1].expand(-1, part.stop - part.start, -1, -1, -1)
    if part.start == 0:
        before = torch.cat([states[:, :1], states[:, : part.stop - 1]], dim=1)
    else:
        before = states[:, part.start - 1 : part.stop - 1]
    return torch.cat([first, before], dim=3).flatten(0, 1)


ReadText = Mapping[nn.Module, tuple[Float[Tensor, "T K L E"], Float[Tensor, "T K L E"]]]
"""Layer -> the keys and values that it makes of texts; T as in `FoldedText`."""


@dataclass(frozen=True)
class FoldedText:
    """One text per clip, then one per single image, as `Fold.fold_text` lays them.

    Attributes:
        states: The text states, T = B + B M rows.
        bias: What is added to the scores of each token: 0 for a real one, the most negative number
            for padding (finite, so that a text of nothing but padding gives no NaN).
        mask: True where a token is real; None where all are.
        read: What layers have made of the states already; the others make it anew.
    """

    states: Float[Tensor, "T L D"]
    bias: Float[Tensor, "T 1 1 L"] | None
    mask: Bool[Tensor, "T L"] | None = None
    read: ReadText = field(default_factory=dict)

    @classmethod
    def of(
        cls, states: Tensor, mask: Bool[Tensor, "T L"] | None, read: ReadText | None = None
    ) -> "FoldedText":
        """Text rows, their mask (True = a real token) and what has been made of them already."""
        bias = None
        if mask is not None:
            padding = ~mask[:, None, None, :]
            lowest = torch.finfo(states.dtype).min
            bias = torch.zeros_like(padding, dtype=states.dtype).masked_fill(padding, lowest)
        return cls(states, bias, mask, {} if read is None else read)


class TextAttention(Attention):
    """Every place of every frame attends to the text of its clip; single images to their own.

    A text's keys and values are made once and never repeated per frame: all places of all frames
    of a clip are one long row of queries against them. As they do not depend on the frames, they
    can also be made once for all steps of a sampling (`read`, `VideoUNet.read_text`).
    """

    def read(self, states: Float[Tensor, "T L D"]) -> tuple[Tensor, Tensor]:
        """Keys and values of texts, T K L E each."""
        key, value = (
            rearrange(project(states), "T L (K E) -> T K L E", K=self.num_heads)
            for project in (self.to_k, self.to_v)
        )
        return key, value

    def forward(
        self, tokens: Float[Tensor, "R N C"], text: FoldedText, fold: Fold
    ) -> Float[Tensor, "R N C"]:
        """Attention from the N places of each row to the L tokens of its text."""
        query = self.to_q(tokens)
        key, value = text.read[self] if self in text.read else self.read(text.states)
        bias = text.bias
        if fold.frames == 1 or not fold.images:
            return self.output(self._attend(query, key, value, bias))
        texts = (slice(None, fold.clips), slice(fold.clips, None))
        parts = [
            self._attend(part, key[rows], value[rows], None if bias is None else bias[rows])
            for part, rows in zip(fold.split(query), texts, strict=True)
        ]
        return self.output(fold.join(parts))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """Queries (T F) N C of the frames of T texts, to keys and values T K L E."""
        grouped = rearrange(query, "(T F) N (K E) -> T K (F N) E", T=key.shape[0], K=self.num_heads)
        attended = attend(grouped, key, value, bias)
        return rearrange(attended, "T K (F N) E -> (T F) N (K E)", N=query.shape[1])
