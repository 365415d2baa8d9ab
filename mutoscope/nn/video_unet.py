"""VideoUNet: the Stable Diffusion 1.x U-Net on every frame, with attention over time (LaVie)."""

from collections.abc import Sequence

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.errors import RequestError
from mutoscope.nn.attention import FoldedText
from mutoscope.nn.blocks import BlockConfig, GroupNorm, GroupNormOver, zeroed
from mutoscope.nn.embeddings import TimeEmbedding
from mutoscope.nn.fold import Fold
from mutoscope.nn.levels import MiddleLevel, down_levels, up_levels
from mutoscope.types import Latents, Times


class VideoUNet(ModelMixin, ConfigMixin):
    """The denoiser of LaVie: a Stable Diffusion 1.x U-Net that sees all frames of a clip at once.

    Convolutions are those of the image network, applied to every frame (pseudo-3-D). Every
    transformer block gains attention over time between text attention and feed-forward. Weights
    outside the time layers have the names and shapes of Stable Diffusion 1.x, so an image network
    is this class with `temporal=False`, and `inflate` makes a video network of its weights.

    Args:
        in_channels: Latent channels.
        out_channels: Channels of the prediction.
        block_out_channels: Width of each level, finest first; each level halves height and width.
        layers_per_block: Residual blocks per level on the way down; one more on the way up.
        attention_levels: Which levels have transformers; the middle always has one.
        num_attention_heads: Heads of every attention, of all levels or of each.
        cross_attention_dim: Width D of the text states.
        norm_num_groups: Groups of every group normalisation.
        temporal: Whether there are time layers; they start as the identity.
        rotary_dim: Channels of each head that RoPE turns (even); None turns the whole head. The
            released LaVie turns 32.
        group_norm_over: Whether residual blocks and the output normalise each frame by itself, or
            all frames of a clip together, as the released LaVie does.

    Raises:
        RequestError: The arguments contradict each other.

    Source: LaVie (arXiv 2309.15103) §4.1; Latent Diffusion (arXiv 2112.10752) §3.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        attention_levels: Sequence[bool] = (True, True, True, False),
        num_attention_heads: int | Sequence[int] = 8,
        cross_attention_dim: int = 768,
        norm_num_groups: int = 32,
        temporal: bool = True,
        rotary_dim: int | None = None,
        group_norm_over: GroupNormOver = "frame",
    ) -> None:
        super().__init__()
        widths = tuple(block_out_channels)
        heads = heads_per_level(num_attention_heads, len(widths))
        check_levels(widths, attention_levels, heads, layers_per_block, norm_num_groups)
        if temporal:
            check_rotary_dim(rotary_dim, head_widths(widths, attention_levels, heads))
        if group_norm_over not in ("frame", "clip"):
            raise RequestError(
                f"group_norm_over={group_norm_over!r} is not known: statistics are taken over a "
                "'frame' or a 'clip'. Give one of the two."
            )
        config = BlockConfig(
            time_width=4 * widths[0],
            text_width=cross_attention_dim,
            groups=norm_num_groups,
            group_norm_over=group_norm_over,
            temporal=temporal,
            rotary_dim=rotary_dim,
        )
        levels = list(zip(widths, attention_levels, heads, strict=True))
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], 4 * widths[0])
        down, skip_widths = down_levels(levels, layers_per_block, config)
        self.down_blocks = nn.ModuleList(down)
        self.mid_block = MiddleLevel(
            [widths[-1]] * 2, widths[-1], config, num_heads=heads[-1], num_transformers=1
        )
        self.up_blocks = nn.ModuleList(up_levels(levels, layers_per_block, config, skip_widths))
        self.conv_norm_out = GroupNorm(norm_num_groups, widths[0], eps=1e-5, over=group_norm_over)
        self.conv_out = zeroed(nn.Conv2d(widths[0], out_channels, 3, padding=1))

    def forward(
        self,
        sample: Latents,
        timestep: Times,
        encoder_hidden_states: Float[Tensor, "B *texts L D"],
        text_mask: Bool[Tensor, "B *texts L"] | None = None,
        *,
        num_images: int = 0,
    ) -> Float[Tensor, "B out F H W"]:
        """Predicts what the noise process asks for, for every frame.

        Args:
            sample: Noisy latents B C F H W; with `num_images` M, the last M entries of the frame
                axis are single images. They and a clip of one frame pass by the time layers.
            timestep: Scheduler units, 0 = data, 1000 = noise (B); single images share their clip's.
            encoder_hidden_states: Text B L D; with single images B (1 + M) L D, the clip's first.
            text_mask: True where a token is real; without it all tokens are.
            num_images: M.

        Returns:
            The prediction, B out_channels F H W.

        Raises:
            RequestError: The shapes do not fit each other or the network.

        Source: LaVie (arXiv 2309.15103) §4.1, §4.2.
        """
        self._check_inputs(sample, timestep, encoder_hidden_states, text_mask, num_images)
        fold = Fold(sample.shape[0], sample.shape[2] - num_images, num_images)
        states, mask = encoder_hidden_states, text_mask
        if num_images:
            states = fold.fold_text(states)
            mask = None if mask is None else fold.fold_text(mask)
        text = FoldedText.of(states, mask)
        # Every residual block wants the activated embedding, so it is activated once.
        time = functional.silu(self.time_embedding(timestep))

        rows = self.conv_in(fold.fold(sample))
        skips = [rows]
        for down in self.down_blocks:
            skips += down(skips[-1], time, text, fold)
        rows = self.mid_block(skips[-1], time, text, fold)
        for up in self.up_blocks:
            rows = up(rows, skips, time, text, fold)
        rows = self.conv_out(functional.silu(self.conv_norm_out(rows, fold)))
        return fold.unfold(rows)

    def _check_inputs(
        self,
        sample: Tensor,
        timestep: Tensor,
        text: Tensor,
        text_mask: Tensor | None,
        num_images: int,
    ) -> None:
        channels, width = self.config["in_channels"], self.config["cross_attention_dim"]
        if sample.ndim != 5 or sample.shape[1] != channels:
            raise RequestError(
                f"sample of shape {tuple(sample.shape)} cannot be denoised: this network takes "
                f"B {channels} F H W. An image is a video of one frame, B {channels} 1 H W."
            )
        clips, _, frames = sample.shape[:3]
        if not 0 <= num_images < frames:
            raise RequestError(
                f"num_images={num_images} cannot be told apart from {frames} frames: at least one "
                "entry of the frame axis belongs to a clip. Give lone images as clips of one frame."
            )
        if timestep.shape != (clips,):
            raise RequestError(
                f"timestep of shape {tuple(timestep.shape)} does not fit {clips} clips: each clip "
                f"has one time. Give a tensor of shape ({clips},)."
            )
        rows = (clips, 1 + num_images) if num_images else (clips,)
        if text.ndim != len(rows) + 2 or text.shape[:-2] != rows or text.shape[-1] != width:
            raise RequestError(
                f"encoder_hidden_states of shape {tuple(text.shape)} do not fit: {clips} clips "
                f"with {num_images} single images each take {(*rows, 'L', width)}. Give one text "
                "per clip and one per single image."
            )
        if text_mask is not None and text_mask.shape != text.shape[:-1]:
            raise RequestError(
                f"text_mask of shape {tuple(text_mask.shape)} does not fit text of shape "
                f"{tuple(text.shape)}: it says of each token whether it is real. Give a mask of "
                f"shape {tuple(text.shape[:-1])}."
            )


def heads_per_level(num_heads: int | Sequence[int], num_levels: int) -> tuple[int, ...]:
    """The number of heads of each level, from one number for all or one for each."""
    return (num_heads,) * num_levels if isinstance(num_heads, int) else tuple(num_heads)


def head_widths(
    widths: Sequence[int], attention_levels: Sequence[bool], heads: Sequence[int]
) -> list[int]:
    """Channels of one head, for each level that has attention; the middle gives it to the lowest.

    Raises:
        RequestError: Heads do not divide a level's width.
    """
    result = []
    for width, attends, num in zip(widths, (*attention_levels[:-1], True), heads, strict=True):
        if attends and (num < 1 or width % num):
            raise RequestError(
                f"{width} channels cannot be split into {num} heads: num_attention_heads must "
                "divide the width of each level that has attention. Change one of the two."
            )
        if attends:
            result.append(width // num)
    return result


def check_levels(
    widths: Sequence[int],
    attention_levels: Sequence[bool],
    heads: Sequence[int],
    layers_per_block: int,
    groups: int,
) -> None:
    """Refuses lists of unequal length, empty levels, widths that heads or groups do not divide.

    Raises:
        RequestError: As said.
    """
    if not widths or len(attention_levels) != len(widths) or len(heads) != len(widths):
        raise RequestError(
            f"attention_levels={tuple(attention_levels)} and num_attention_heads={tuple(heads)} do "
            f"not fit block_out_channels={tuple(widths)}: each level has one entry. Give "
            f"{len(widths)} entries."
        )
    if layers_per_block < 1:
        raise RequestError(
            f"layers_per_block={layers_per_block} leaves levels empty. Give 1 or more."
        )
    for width in widths:
        if groups < 1 or width % groups:
            raise RequestError(
                f"{width} channels cannot be normalised in {groups} groups: norm_num_groups must "
                "divide every entry of block_out_channels. Change one of the two."
            )
    head_widths(widths, attention_levels, heads)


def check_rotary_dim(rotary_dim: int | None, widths: Sequence[int]) -> None:
    """Refuses heads of widths that RoPE cannot turn in pairs, or too narrow for `rotary_dim`.

    Raises:
        RequestError: As said.
    """
    if any(width % 2 for width in widths):
        raise RequestError(
            f"heads of {list(widths)} channels cannot be turned by RoPE: it turns channels in "
            "pairs. Choose num_attention_heads so that every head has an even width."
        )
    if rotary_dim is not None and (rotary_dim % 2 or not 2 <= rotary_dim <= min(widths)):
        raise RequestError(
            f"rotary_dim={rotary_dim} is not possible for heads of {list(widths)} channels: it is "
            f"even and from 2 to {min(widths)}. Give such a number, or None for whole heads."
        )
