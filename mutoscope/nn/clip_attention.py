"""Full spatio-temporal attention: what LaVie compares its attention over time with."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mutoscope.nn.attention import Attention, attend
from mutoscope.nn.rope import rotary_angles, rotate
from mutoscope.types import Spacing


class ClipAttention(Attention):
    """Every place of every frame attends to all places of all frames of its clip.

    RoPE tells how far frames are apart; where a place lies in its frame the tokens have to say. The
    output projection starts at zero. The scores are (F N)^2 a clip. Weights are those of
    `TemporalAttention`.

    Args:
        width: Channels C.
        num_heads: K.
        rotary_dim: How many channels of each head RoPE turns (even); 0 for none.

    Source: LaVie (arXiv 2309.15103), Table 6.
    """

    def __init__(self, width: int, *, num_heads: int, rotary_dim: int) -> None:
        super().__init__(width, num_heads=num_heads)
        self.rotary_dim = rotary_dim
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Sets the output projection to zero."""
        for parameter in self.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, tokens: Float[Tensor, "R N C"], *, num_clips: int, stride: Spacing = 1
    ) -> Float[Tensor, "R N C"]:
        """Attention among all places of each clip; rows are as `TemporalAttention` has them."""
        query, key, value = (
            rearrange(project(tokens), "(B F) N (K E) -> B F N K E", B=num_clips, K=self.num_heads)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        _, num_frames, places, _, head_width = query.shape
        if self.rotary_dim:
            angles = rotary_angles(
                num_frames,
                head_width,
                rotary_dim=self.rotary_dim,
                stride=stride,
                device=tokens.device,
            )
            query, key = rotate(query, angles), rotate(key, angles)
        query, key, value = (
            rearrange(states, "B F N K E -> B K (F N) E") for states in (query, key, value)
        )
        attended = attend(query, key, value)
        return self.output(rearrange(attended, "B K (F N) E -> (B F) N (K E)", N=places))
