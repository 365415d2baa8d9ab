"""Which arguments of `VideoUNet` are possible together."""

from collections.abc import Mapping, Sequence
from typing import TypeVar, get_args

from mutoscope.errors import RequestError
from mutoscope.nn.absolute import AbsolutePositions
from mutoscope.nn.blocks import (
    BesideFeedForward,
    GroupNormOver,
    SelfAttention,
    TemporalPattern,
)

Setting = TypeVar("Setting", int, bool)

_WORDS = {
    "group_norm_over": ("statistics are taken over a", get_args(GroupNormOver)),
    "self_attention": ("a place attends to places in a pattern called", get_args(SelfAttention)),
    "temporal_attention": ("beside the feed-forward, it comes", get_args(BesideFeedForward)),
    "temporal_pattern": ("over time a place attends to", get_args(TemporalPattern)),
    "absolute_positions": ("what is added to tokens over time is", get_args(AbsolutePositions)),
}


def per_level(setting: Setting | Sequence[Setting], num_levels: int) -> tuple[Setting, ...]:
    """The setting of each level, from one for all or one for each."""
    return (setting,) * num_levels if isinstance(setting, int) else tuple(setting)


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
    only_cross_attention: Sequence[bool],
    layers_per_block: int,
    groups: int,
) -> None:
    """Refuses lists of unequal length, empty levels, widths that heads or groups do not divide.

    Raises:
        RequestError: As said.
    """
    lists = {
        "attention_levels": attention_levels,
        "num_attention_heads": heads,
        "only_cross_attention": only_cross_attention,
    }
    for name, entries in lists.items():
        if not widths or len(entries) != len(widths):
            raise RequestError(
                f"{name}={tuple(entries)} does not fit block_out_channels={tuple(widths)}: each "
                f"level has one entry. Give {len(widths) or 'one or more'} entries."
            )
    if layers_per_block < 1:
        raise RequestError(
            f"layers_per_block={layers_per_block} leaves levels empty. Give 1 or more."
        )
    check_groups("norm_num_groups", groups, widths)
    head_widths(widths, attention_levels, heads)


def check_groups(name: str, groups: int, widths: Sequence[int]) -> None:
    """Refuses a number of groups that does not divide the width of each level.

    Raises:
        RequestError: As said; `name` is the argument's.
    """
    for width in widths:
        if groups < 1 or width % groups:
            raise RequestError(
                f"{width} channels cannot be normalised in {groups} groups: {name} must divide "
                "every entry of block_out_channels. Change one of the two."
            )


def check_words(words: Mapping[str, str]) -> None:
    """Refuses an argument whose word is none of the possible ones; argument name -> its word.

    Raises:
        RequestError: As said.
    """
    for name, word in words.items():
        meaning, possible = _WORDS[name]
        if word not in possible:
            raise RequestError(
                f"{name}={word!r} is not known: {meaning} {' or '.join(map(repr, possible))}. "
                "Give one of these."
            )


def check_noise_levels(num_noise_levels: int | None) -> None:
    """Refuses a network that is told a noise level, but of none.

    Raises:
        RequestError: As said.
    """
    if num_noise_levels is not None and num_noise_levels < 1:
        raise RequestError(
            f"num_noise_levels={num_noise_levels} leaves no level to tell of. Give 1 or more, or "
            "None for a network that is told none."
        )


def check_frame_numbers(frame_numbers: int | None) -> None:
    """Refuses a network that is told frames apart, but fewer than two.

    Raises:
        RequestError: As said.
    """
    if frame_numbers is not None and frame_numbers < 2:
        raise RequestError(
            f"frame_numbers={frame_numbers} leaves nothing to tell apart. Give the frames of a "
            "clip, 2 or more, or None for a network that is told no numbers."
        )


def check_over_time(
    *,
    temporal: bool,
    self_attention: str,
    temporal_convolutions: bool,
    temporal_groups: int | None,
    temporal_pattern: str,
    positions: Mapping[str, bool],
    widths: Sequence[int],
) -> None:
    """Refuses what contradicts each other about layers that join frames.

    Raises:
        RequestError: As said.
    """
    if self_attention == "sparse-causal" and not temporal:
        raise RequestError(
            "self_attention='sparse-causal' is not possible with temporal=False: it looks at other "
            "frames, and an image network sees each by itself. Give self_attention='frame'."
        )
    taken = [name for name, given in positions.items() if given]
    if temporal_pattern == "clip" and taken:
        raise RequestError(
            f"temporal_pattern='clip' is not possible with {' or '.join(taken)}: where places of "
            "all frames meet, RoPE alone tells frames apart. Leave it out."
        )
    if temporal_groups is None:
        return
    if not temporal_convolutions:
        raise RequestError(
            f"temporal_groups={temporal_groups} has no effect: it is about temporal convolutions, "
            "and there are none. Leave it out, or give temporal_convolutions=True."
        )
    check_groups("temporal_groups", temporal_groups, widths)


def check_rotary_dim(rotary_dim: int | None, widths: Sequence[int]) -> None:
    """Refuses heads of widths that RoPE cannot turn in pairs, or too narrow for `rotary_dim`.

    Raises:
        RequestError: As said.
    """
    if rotary_dim == 0:
        return
    if any(width % 2 for width in widths):
        raise RequestError(
            f"heads of {list(widths)} channels cannot be turned by RoPE: it turns channels in "
            "pairs. Choose num_attention_heads so that every head has an even width, or give "
            "rotary_dim=0."
        )
    if rotary_dim is not None and (rotary_dim % 2 or not 2 <= rotary_dim <= min(widths)):
        raise RequestError(
            f"rotary_dim={rotary_dim} is not possible for heads of {list(widths)} channels: it is "
            f"even and from 2 to {min(widths)}. Give such a number, None for whole heads, or 0 for "
            "no RoPE."
        )
