"""VideoUNet: Stable Diffusion's U-Net on every frame, with layers over time (LaVie's networks)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.errors import RequestError
from mutoscope.nn.absolute import AbsolutePositions
from mutoscope.nn.attention import FoldedText, ReadText, TextAttention
from mutoscope.nn.blocks import (
    BesideFeedForward,
    BlockConfig,
    GroupNorm,
    GroupNormOver,
    SelfAttention,
    TemporalPattern,
    zeroed,
)
from mutoscope.nn.checks import (
    check_frame_numbers,
    check_levels,
    check_noise_levels,
    check_over_time,
    check_rotary_dim,
    check_words,
    head_widths,
    per_level,
)
from mutoscope.nn.embeddings import TimeEmbedding
from mutoscope.nn.fold import Fold
from mutoscope.nn.levels import (
    DownLevel,
    LevelConfig,
    MiddleLevel,
    UpLevel,
    down_levels,
    up_levels,
)
from mutoscope.nn.placing import FrameCode, Moment
from mutoscope.nn.transformer import TransformerBlock
from mutoscope.types import Latents, Spacing, Times


class VideoUNet(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """The denoisers of LaVie: Stable Diffusion's U-Net that sees all frames of a clip at once.

    Convolutions are those of the image network, applied to every frame (pseudo-3-D). Every
    transformer block gains attention over time. Weights outside the time layers have the names and
    shapes of Stable Diffusion's, so an image network is this class with the same arguments but
    `temporal=False`, and `inflate` makes a video network of its weights.

    The defaults are LaVie's base network as its paper describes it; the arguments that make each
    of the three released networks are in `mutoscope.systems.weights`.

    Args:
        in_channels: Latent channels, and those of what is given beside them on the same axis:
            latents of key frames (interpolation), pixels to be enlarged (super-resolution).
        out_channels: Channels of the prediction.
        block_out_channels: Width of each level, finest first; each level halves height and width.
        layers_per_block: Residual blocks per level on the way down; one more on the way up.
        attention_levels: Which levels have transformers; the middle always has one.
        num_attention_heads: Heads of every attention, of all levels or of each.
        cross_attention_dim: Width D of the text states.
        norm_num_groups: Groups of every group normalisation.
        temporal: Whether there are time layers; they start as the identity. Without them what is
            said of them below has no effect.
        rotary_dim: Channels of each head that RoPE turns (even) in time attention; None turns the
            whole head, 0 nothing. The released LaVie turns 32.
        group_norm_over: Whether residual blocks and the output normalise each frame by itself, or
            all frames of a clip together, as the released LaVie does.
        self_attention: Whether a place attends to its own "frame", or, "sparse-causal", to the
            first frame and the one before (interpolation).
        only_cross_attention: Whether transformers attend to text in place of their own frame, at
            all levels or at each (super-resolution); the middle never does.
        linear_projection: Whether transformers store their outer projections as linear layers, as
            Stable Diffusion 2.x does, or as 1x1 convolutions. It is the same computation.
        num_noise_levels: How many levels of noise on what is to be enlarged the network can tell
            apart (super-resolution); None for a network that is told none.
        temporal_attention: Whether attention over time comes "before" or "after" the feed-forward.
        relative_position_bias: Whether scores of time attention have a learned bias for each
            distance between frames, beside RoPE.
        absolute_positions: What tells attention over time the number of a frame beside RoPE:
            "none", or a vector added to tokens, "sinusoidal" or "learned". Where it is to take the
            place of RoPE, `rotary_dim` is 0.
        temporal_pattern: What a place attends to over time: the same "place" in all frames,
            "causal" in its own and those before, or all places of the "clip" (`ClipAttention`).
        temporal_convolutions: Whether convolutions over time precede every transformer and follow
            every level and the middle (super-resolution).
        temporal_groups: Groups of the group normalisations of those; None for `norm_num_groups`.
        frame_numbers: How many frames the network is told apart by number, together with the whole
            caption and the place in the frame; longer clips are squeezed into them. None tells it
            nothing but what attention over time has, as LaVie does. See `mutoscope.nn.placing`.

    Raises:
        RequestError: The arguments contradict each other.

    Source: LaVie (arXiv 2309.15103) §4.1, §4.2, §4.3; Latent Diffusion (arXiv 2112.10752) §3.
    """

    _supports_gradient_checkpointing = True
    # What `compile_repeated_blocks` of diffusers compiles.
    _repeated_blocks: ClassVar[list[str]] = ["ResnetBlock", "Transformer", "TemporalModule"]

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
        self_attention: SelfAttention = "frame",
        only_cross_attention: bool | Sequence[bool] = False,
        linear_projection: bool = False,
        num_noise_levels: int | None = None,
        temporal_attention: BesideFeedForward = "before",
        relative_position_bias: bool = False,
        absolute_positions: AbsolutePositions = "none",
        temporal_pattern: TemporalPattern = "place",
        temporal_convolutions: bool = False,
        temporal_groups: int | None = None,
        frame_numbers: int | None = None,
    ) -> None:
        super().__init__()
        widths = tuple(block_out_channels)
        heads = per_level(num_attention_heads, len(widths))
        only_text = per_level(only_cross_attention, len(widths))
        check_levels(widths, attention_levels, heads, only_text, layers_per_block, norm_num_groups)
        check_words(
            {
                "group_norm_over": group_norm_over,
                "self_attention": self_attention,
                "temporal_attention": temporal_attention,
                "temporal_pattern": temporal_pattern,
                "absolute_positions": absolute_positions,
            }
        )
        if temporal:
            check_rotary_dim(rotary_dim, head_widths(widths, attention_levels, heads))
        check_over_time(
            temporal=temporal,
            self_attention=self_attention,
            temporal_convolutions=temporal_convolutions,
            temporal_groups=temporal_groups,
            temporal_pattern=temporal_pattern,
            positions={
                "relative_position_bias": relative_position_bias,
                "absolute_positions": absolute_positions != "none",
            },
            widths=widths,
        )
        check_noise_levels(num_noise_levels)
        check_frame_numbers(frame_numbers)
        config = BlockConfig(
            time_width=4 * widths[0],
            text_width=cross_attention_dim,
            groups=norm_num_groups,
            group_norm_over=group_norm_over,
            self_attention=self_attention,
            linear_projection=linear_projection,
            temporal=temporal,
            temporal_attention=temporal_attention,
            rotary_dim=rotary_dim,
            relative_position_bias=relative_position_bias,
            temporal_convolutions=temporal and temporal_convolutions,
            temporal_groups=temporal_groups or norm_num_groups,
            frame_numbers=frame_numbers if temporal else None,
            absolute_positions=absolute_positions,
            temporal_pattern=temporal_pattern,
        )
        levels = [
            LevelConfig(*level)
            for level in zip(widths, attention_levels, heads, only_text, strict=True)
        ]
        self._build(levels, config, in_channels, out_channels, layers_per_block, num_noise_levels)

    def _build(
        self,
        levels: Sequence[LevelConfig],
        config: BlockConfig,
        in_channels: int,
        out_channels: int,
        layers_per_block: int,
        num_noise_levels: int | None,
    ) -> None:
        finest, lowest = levels[0].width, levels[-1].width
        self.conv_in = nn.Conv2d(in_channels, finest, 3, padding=1)
        self.time_embedding = TimeEmbedding(finest, config.time_width)
        # Named as in Stable Diffusion's upscaler, where noise levels are classes.
        self.class_embedding = (
            None if num_noise_levels is None else nn.Embedding(num_noise_levels, config.time_width)
        )
        self.frame_code = (
            None
            if config.frame_numbers is None
            else FrameCode(config.text_width, config.frame_width, config.frame_numbers)
        )
        down, skip_widths = down_levels(levels, layers_per_block, config)
        self.down_blocks = nn.ModuleList(down)
        middle = replace(levels[-1], only_cross_attention=False)
        self.mid_block = MiddleLevel([lowest] * 2, middle, config, num_transformers=1)
        self.up_blocks = nn.ModuleList(up_levels(levels, layers_per_block, config, skip_widths))
        self.conv_norm_out = GroupNorm(config.groups, finest, eps=1e-5, over=config.group_norm_over)
        self.conv_out = zeroed(nn.Conv2d(finest, out_channels, 3, padding=1))

    def forward(
        self,
        sample: Latents,
        timestep: Times,
        encoder_hidden_states: Float[Tensor, "B *texts L D"],
        text_mask: Bool[Tensor, "B *texts L"] | None = None,
        *,
        num_images: int = 0,
        noise_level: Int[Tensor, "B"] | None = None,
        frame_stride: Spacing = 1,
        first_frame: int = 0,
        text_read: ReadText | None = None,
        layers_anew: int | None = None,
        deep: Float[Tensor, "R C H W"] | None = None,
    ) -> Float[Tensor, "B out F H W"] | tuple[Float[Tensor, "B out F H W"], Tensor]:
        """Predicts what the noise process asks for, for every frame.

        Args:
            sample: Noisy latents B C F H W; with `num_images` M, the last M entries of the frame
                axis are single images. They and a clip of one frame pass by the time layers.
            timestep: Scheduler units, 0 = data, 1000 = noise (B); single images share their clip's.
            encoder_hidden_states: Text B L D; with single images B (1 + M) L D, the clip's first.
            text_mask: True where a token is real; without it all tokens are.
            num_images: M.
            noise_level: Which of the `num_noise_levels` has been added to what is to be enlarged
                (B); None where the network is told none.
            frame_stride: How many frames lie from each frame to the next: 2 where every second one
                of a clip is given, 0.5 where there are twice as many. Attention over time is told;
                convolutions over time are not.
            first_frame: Number of the first frame in its clip; known to a network with
                `frame_numbers`, to others it is nothing.
            text_read: What `read_text` made of the same text, which is then not made anew.
            layers_anew: Where deep features are to be reused: how many layers of the finest level
                on the way up lie above them, 1 to `layers_per_block` + 1.
            deep: The deep features that another call with the same `layers_anew` gave, of other
                noise and time: all below is then left out, and so are the layers on the way down
                that lead to nothing else.

        Returns:
            The prediction, B out_channels F H W; with `layers_anew` also the deep features.

        Raises:
            RequestError: The shapes do not fit each other or the network.

        Source: LaVie (arXiv 2309.15103) §4.1, §4.2, §4.3; deep features: DeepCache (arXiv
        2312.00858) §3.2.
        """
        self._check_inputs(sample, timestep, encoder_hidden_states, text_mask, num_images)
        self._check_noise_level(noise_level, sample.shape[0])
        self._check_frame_stride(frame_stride)
        self._check_text_read(text_read, encoder_hidden_states)
        self._check_deep(layers_anew, deep, sample)
        clips, frames = sample.shape[0], sample.shape[2] - num_images
        fold = Fold(clips, frames, num_images, frame_stride, first_frame)
        states, mask = encoder_hidden_states, text_mask
        if num_images:
            states = fold.fold_text(states)
            mask = None if mask is None else fold.fold_text(mask)
        text = FoldedText.of(states, mask, text_read)
        time = self.time_embedding(timestep)
        if self.class_embedding is not None:
            time = time + self.class_embedding(noise_level)
        # Every residual block wants the activated embedding, so it is activated once.
        moment = Moment(functional.silu(time), self._frames(timestep, text, fold))

        told = moment, text, fold
        rows = self.conv_in(fold.fold(sample))
        if layers_anew is None:
            rows, skips = self._to_finest(rows, *told)
            rows = self.up_blocks[-1](rows, skips, *told)
        else:
            rows, deep = self._above(deep, layers_anew, rows, *told)
        rows = self.conv_out(functional.silu(self.conv_norm_out(rows, fold)))
        prediction = fold.unfold(rows)
        return prediction if deep is None else (prediction, deep)

    def _to_finest(
        self, rows: Tensor, moment: Moment, text: FoldedText, fold: Fold
    ) -> tuple[Tensor, list[Tensor]]:
        """All the way down and up to the finest level; its input there and its skip connections."""
        skips = [rows]
        for down in self.down_blocks:
            rows, passed = down(rows, moment, text, fold)
            skips += passed
        rows = self.mid_block(rows, moment, text, fold)
        for up in self.up_blocks[:-1]:
            rows = up(rows, skips, moment, text, fold)
        return rows, skips

    def _above(
        self,
        deep: Tensor | None,
        layers_anew: int,
        rows: Tensor,
        moment: Moment,
        text: FoldedText,
        fold: Fold,
    ) -> tuple[Tensor, Tensor]:
        """What the finest level ends with, made on top of deep features, and these."""
        beginning, finest, told = self.down_blocks[0], self.up_blocks[-1], (moment, text, fold)
        assert isinstance(beginning, DownLevel)
        assert isinstance(finest, UpLevel)
        count = len(finest.resnets)
        if deep is None:
            deep, skips = self._to_finest(rows, *told)
            deep = finest.layers(range(count - layers_anew), deep, skips, *told)
        else:
            skips = [rows, *beginning.first(layers_anew - 1, rows, *told)]
        rows = finest.layers(range(count - layers_anew, count), deep, skips, *told)
        return finest.over_time(rows, moment, fold), deep

    def set_parts(self, parts: int) -> None:
        """In how many parts attention and feed-forward do their work from now on, when nothing is
        trained: more take less memory and change no more than rounding; 1 does all at once."""
        for block in self.modules():
            if isinstance(block, TransformerBlock):
                block.parts = parts

    def read_text(self, encoder_hidden_states: Float[Tensor, "B *texts L D"]) -> ReadText:
        """The keys and values that attention to text makes of it, layer by layer.

        They are the same for all frames, places and times, so that one reading serves a whole
        sampling; training changes them with every step and leaves them to `forward`.

        Args:
            encoder_hidden_states: As in `forward`.
        """
        states = encoder_hidden_states
        if states.ndim == 4:
            states = Fold(states.shape[0], 1, states.shape[1] - 1).fold_text(states)
        layers = (layer for layer in self.modules() if isinstance(layer, TextAttention))
        return {layer: layer.read(states) for layer in layers}

    def spacing(self, num_frames: int) -> Spacing:
        """How far to tell the network that the frames of a clip lie apart: 1, as they do.

        Where it has numbers for the frames of shorter clips only, and RoPE beside them: nearer, as
        more frames of the same time. Told distances as they are, it begins anew in mid-clip.

        Source: position interpolation (arXiv 2306.15595) §2.3.
        """
        known: int | None = self.config["frame_numbers"]
        if known is None or num_frames <= known or not self._rope_alone:
            return 1
        return (known - 1) / (num_frames - 1)

    def _frames(self, time: Times, text: FoldedText, fold: Fold) -> Tensor | None:
        if self.frame_code is None or fold.frames == 1:
            return None
        embedding: Tensor = self.frame_code(time, text, fold)
        return embedding

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

    def _check_text_read(self, read: ReadText | None, text: Tensor) -> None:
        texts = text.shape[:-2].numel()
        found = {len(key) for key, _ in (read or {}).values()}
        if found - {texts}:
            raise RequestError(
                f"text_read of {found.pop()} texts does not fit {texts}: it is what read_text made "
                "of encoder_hidden_states. Read these, or leave it out."
            )

    def _check_deep(self, layers_anew: int | None, deep: Tensor | None, sample: Tensor) -> None:
        most = self.config["layers_per_block"] + 1
        if layers_anew is None and deep is not None:
            raise RequestError(
                "deep features without layers_anew cannot be used: that says how deep they lie. "
                "Give the number that they were made with."
            )
        if layers_anew is not None and not 1 <= layers_anew <= most:
            raise RequestError(
                f"layers_anew={layers_anew} is not possible: this network has {most} layers at its "
                f"finest level on the way up. Use 1 to {most}."
            )
        rows = sample.shape[0] * sample.shape[2]
        if deep is not None and (len(deep), *deep.shape[2:]) != (rows, *sample.shape[-2:]):
            raise RequestError(
                f"deep features of shape {tuple(deep.shape)} do not fit a sample of shape "
                f"{tuple(sample.shape)}: they have a row per frame and the same height and width. "
                "Give those that a call for the same sample made."
            )

    @property
    def _rope_alone(self) -> bool:
        """Whether frames may lie any distance apart."""
        config = self.config
        return not (
            config["temporal_convolutions"]
            or config["relative_position_bias"]
            or config["absolute_positions"] != "none"
        )

    def _check_frame_stride(self, stride: Spacing) -> None:
        if (
            not 0 < stride < float("inf")
            or (stride != 1 and self.config["temporal_convolutions"])
            or (stride != int(stride) and not self._rope_alone)
        ):
            raise RequestError(
                f"frame_stride={stride} cannot be shown: it is more than 0, a whole number where "
                "frames are told apart by more than RoPE, and 1 for a network with convolutions "
                "over time, which know neighbours only. Use 1."
            )

    def _check_noise_level(self, noise_level: Tensor | None, clips: int) -> None:
        levels = self.config["num_noise_levels"]
        if (noise_level is None) != (levels is None):
            given = "no noise_level" if noise_level is None else "a noise_level"
            told = "is told none" if levels is None else f"is told one of {levels} per clip"
            raise RequestError(
                f"{given} cannot be used: this network {told}. "
                f"{'Leave it out.' if levels is None else 'Give a tensor of whole numbers (B).'}"
            )
        if noise_level is None:
            return
        if noise_level.shape != (clips,) or noise_level.is_floating_point():
            raise RequestError(
                f"noise_level of shape {tuple(noise_level.shape)} and {noise_level.dtype} does not "
                f"fit {clips} clips: each has one whole number. Give integers of shape ({clips},)."
            )
        # On an accelerator an index beyond the table ends the process, so it is worth the wait.
        lowest, highest = (int(level) for level in noise_level.aminmax())
        if lowest < 0 or highest >= levels:
            raise RequestError(
                f"noise_level from {lowest} to {highest} is not known: this network is told of 0 "
                f"to {levels - 1}. Give levels in that range."
            )
