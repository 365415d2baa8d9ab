"""Where a frame stands in its clip, and a place in its frame: told in numbers, not found out.

RoPE tells how far frames are apart, and frames that look alike stay alike to it. In noise that
hides everything, all frames look alike, and then a caption that says where a thing goes cannot be
followed: that it is on one side early and on the other late is a matter of the frame's number, the
place and the words together.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.nn.attention import FoldedText
from mutoscope.nn.embeddings import sinusoid
from mutoscope.nn.fold import Fold
from mutoscope.types import Times

SINUSOID_WIDTH = 64
# Cosines of a clip's length, a frame's height and its width: the finest has one and a half, or
# for the longer width two, periods. Finer detail is not a matter of where.
COSINES = (4, 4, 5)


@dataclass(frozen=True)
class Moment:
    """What residual blocks are told of time, embedded and activated.

    Attributes:
        clip: The noise time of each clip (B width), which its single images share.
        frame: The same with the number of each frame and the whole caption, ((B F) width); None in
            a network that is not told frames, and where there are single images only.
    """

    clip: Float[Tensor, "B width"]
    frame: Float[Tensor, "R frame_width"] | None = None


class FrameCode(nn.Module):
    """Noise time, whole caption and frame number -> one embedding of each frame.

    Args:
        text_width: D.
        width: Of the embedding.
        num_frames: How many frames the network is told apart.

    Source: the whole caption beside the noise time: SDXL (arXiv 2307.01952) §2.2 and, as embedded
    text, its released network.
    """

    def __init__(self, text_width: int, width: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.norm = nn.LayerNorm(2 * text_width)
        self.linear_1 = nn.Linear(2 * text_width + SINUSOID_WIDTH + num_frames, 2 * width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, time: Times, text: FoldedText, fold: Fold) -> Float[Tensor, "R width"]:
        """One activated embedding for each frame of each clip, clip by clip."""
        caption = self.norm(_summary(text, fold.clips))
        number = frame_cosines(fold, self.num_frames, self.num_frames, device=time.device)
        told = torch.cat(
            [
                caption[:, None].expand(-1, fold.frames, -1),
                sinusoid(time, SINUSOID_WIDTH).to(caption)[:, None].expand(-1, fold.frames, -1),
                number.to(caption)[None].expand(fold.clips, -1, -1),
            ],
            dim=2,
        )
        states, gate = self.linear_1(told).chunk(2, dim=-1)
        embedding: Tensor = self.linear_2(states * functional.gelu(gate))
        return rearrange(functional.silu(embedding), "B F W -> (B F) W")


class FrameScale(nn.Linear):
    """A frame's embedding as a scale and a shift of each channel; none at first.

    Source: adaptive group normalisation (arXiv 2105.05233) §3.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(width, 2 * channels)
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Sets scale (which is added to 1) and shift to zero."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def change(self, rows: Tensor, moment: Moment, fold: Fold) -> Tensor:
        """Scales and shifts the frames of clips (R C H W); single images stay as they are."""
        if fold.frames == 1 or moment.frame is None:
            return rows
        clips, images = fold.split(rows)
        scale, shift = self(moment.frame)[:, :, None, None].chunk(2, dim=1)
        return fold.join([torch.addcmul(clips + shift, clips, scale), images])


class PlaceCode(nn.Linear):
    """The number of a frame and the place in it, as tokens to be added; zero at first.

    Features are the lowest cosines of the clip's length, of height and of width, and all products
    of one of each (the basis of a cosine transform): "early and on the left" is one of them. They
    do not depend on how many cells a frame has.

    Args:
        channels: C.
        num_frames: How many frames the network is told apart.
    """

    def __init__(self, channels: int, num_frames: int) -> None:
        super().__init__(math.prod(COSINES), channels)
        self.num_frames = num_frames
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Sets what is added to zero."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def add(self, tokens: Tensor, height: int, width: int, fold: Fold) -> Tensor:
        """Adds to the tokens (R (H W) C) of frames of clips; those of single images stay."""
        if fold.frames == 1:
            return tokens
        of_time, of_height, of_width = COSINES
        device = tokens.device
        waves = torch.einsum(
            "fa, hb, wc -> fhwabc",
            frame_cosines(fold, self.num_frames, of_time, device=device),
            cosines((torch.arange(height, device=device) + 0.5) / height, of_height),
            cosines((torch.arange(width, device=device) + 0.5) / width, of_width),
        )
        clips, images = fold.split(tokens)
        added = self(rearrange(waves, "f h w a b c -> f (h w) (a b c)").to(tokens.dtype))
        clips = rearrange(clips, "(B F) N C -> B F N C", B=fold.clips) + added
        return fold.join([rearrange(clips, "B F N C -> (B F) N C"), images])


def cosines(share: Float[Tensor, "N"], count: int) -> Float[Tensor, "N count"]:
    """Cosines with 0, 1/2, 1, ... periods from share 0 to share 1, of mean square 1; float32."""
    half_turns = torch.arange(count, device=share.device, dtype=torch.float32)
    waves = (math.pi * half_turns * share[:, None]).cos()
    return torch.where(half_turns > 0, math.sqrt(2) * waves, waves)


def frame_cosines(
    fold: Fold, num_frames: int, count: int, *, device: torch.device
) -> Float[Tensor, "F count"]:
    """`cosines` of where each frame stands in a clip of `num_frames` frames.

    A longer clip is squeezed into that length: numbers that training never showed mean nothing.

    Source: position interpolation (arXiv 2306.15595) §2.3.
    """
    number = fold.first + fold.stride * torch.arange(fold.frames, device=device)
    length = max(num_frames, fold.first + fold.stride * (fold.frames - 1) + 1)
    return cosines((number + 0.5) / length, count)


def _summary(text: FoldedText, clips: int) -> Float[Tensor, "B states"]:
    """The mean state of each clip's caption, beside the state of its last token (B 2D)."""
    states = text.states[:clips]
    real = torch.ones_like(states[..., 0]) if text.mask is None else text.mask[:clips].to(states)
    last = (real.sum(dim=1).long() - 1).clamp(min=0)
    mean = (states * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.cat([mean, states[torch.arange(clips, device=last.device), last]], dim=1)
