"""Attention over space, text and time against a naive einsum, token by token."""

import pytest
import torch
from torch import Tensor

from mutoscope.nn.attention import (
    Attention,
    FoldedText,
    SpaceAttention,
    SparseCausalAttention,
    TextAttention,
)
from mutoscope.nn.fold import Fold
from mutoscope.nn.rope import rotary_angles, rotate
from mutoscope.nn.temporal import TemporalAttention

HEADS, WIDTH, TEXT_WIDTH = 2, 8, 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomised(module: Attention) -> Attention:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return module.eval()


def naive(
    module: Attention, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Scaled softmax attention of projected N C queries to L C keys, head by head."""
    width = query.shape[1] // HEADS
    heads = []
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        scores = torch.einsum("nc,lc->nl", query[:, part], key[:, part]) / width**0.5
        scores = scores if bias is None else scores + bias[head]
        heads.append(scores.softmax(-1) @ value[:, part])
    return torch.cat(heads, 1) @ module.to_out[0].weight.T + module.to_out[0].bias


def naive_from(module: Attention, tokens: Tensor, context: Tensor) -> Tensor:
    projections = (module.to_q, module.to_k, module.to_v)
    weights = [projection.weight.T for projection in projections]
    return naive(module, tokens @ weights[0], context @ weights[1], context @ weights[2])


def test_space_attention_stays_within_each_row() -> None:
    module = randomised(SpaceAttention(WIDTH, num_heads=HEADS))
    tokens = random(3, 5, WIDTH)
    expected = torch.stack([naive_from(module, row, row) for row in tokens])
    torch.testing.assert_close(module(tokens), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("frames", "images"), [(4, 0), (2, 0), (1, 0), (4, 2), (1, 2)])
def test_sparse_causal_attention_looks_at_the_first_frame_and_the_one_before(
    frames: int, images: int
) -> None:
    module = randomised(SparseCausalAttention(WIDTH, num_heads=HEADS))
    tokens = random(2 * (frames + images), 5, WIDTH)
    expected = []
    for clip in range(2):
        own = tokens[clip * frames : (clip + 1) * frames]
        for frame in range(frames):
            seen = torch.cat([own[0], own[max(frame - 1, 0)]])
            expected.append(naive_from(module, own[frame], seen))
    expected += [naive_from(module, row, row) for row in tokens[2 * frames :]]
    made = module(tokens, Fold(clips=2, frames=frames, images=images))
    torch.testing.assert_close(made, torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("frames", "images"), [(3, 0), (1, 0), (3, 2), (1, 2)])
def test_each_row_attends_to_its_own_text_without_the_padding(frames: int, images: int) -> None:
    module = randomised(TextAttention(WIDTH, num_heads=HEADS, context_width=TEXT_WIDTH))
    fold = Fold(clips=2, frames=frames, images=images)
    tokens = random(2 * (frames + images), 5, WIDTH)
    text = random(2, 1 + images, 4, TEXT_WIDTH, seed=2)
    lengths = torch.tensor([[4, 2, 3], [1, 4, 2]])[:, : 1 + images]
    mask = torch.arange(4) < lengths[..., None]
    owners = [(b, 0) for b in range(2) for _ in range(frames)]
    owners += [(b, 1 + m) for b in range(2) for m in range(images)]
    expected = torch.stack(
        [
            naive_from(module, row, text[b, m, : lengths[b, m]])
            for row, (b, m) in zip(tokens, owners, strict=True)
        ]
    )
    folded = FoldedText.of(fold.fold_text(text), fold.fold_text(mask))
    torch.testing.assert_close(module(tokens, folded, fold), expected, atol=1e-5, rtol=0)


def test_a_text_of_padding_alone_gives_numbers() -> None:
    module = randomised(TextAttention(WIDTH, num_heads=HEADS, context_width=TEXT_WIDTH))
    text = FoldedText.of(random(1, 4, TEXT_WIDTH), torch.zeros(1, 4, dtype=torch.bool))
    assert module(random(2, 5, WIDTH), text, Fold(clips=1, frames=2)).isfinite().all()


@pytest.mark.parametrize("frames", [1, 4, 61])
@pytest.mark.parametrize(("rotary_dim", "biased"), [(2, False), (0, False), (4, True), (0, True)])
def test_time_attention_joins_the_same_place_of_all_frames_of_a_clip(
    frames: int, rotary_dim: int, biased: bool
) -> None:
    module = randomised(
        TemporalAttention(
            WIDTH, num_heads=HEADS, rotary_dim=rotary_dim, relative_position_bias=biased
        )
    )
    tokens = random(2 * frames, 3, WIDTH)
    angles = rotary_angles(frames, WIDTH // HEADS, rotary_dim=rotary_dim)
    bias = module.relative_position_bias(frames) if biased else None
    expected = torch.empty_like(tokens)
    for clip in range(2):
        rows = slice(clip * frames, (clip + 1) * frames)
        for place in range(3):
            sequence = tokens[rows, place]
            query, key = (
                rotate((sequence @ p.weight.T).view(1, frames, HEADS, -1), angles).flatten(2)[0]
                for p in (module.to_q, module.to_k)
            )
            value = sequence @ module.to_v.weight.T
            expected[rows, place] = naive(module, query, key, value, bias)
    torch.testing.assert_close(module(tokens, num_clips=2), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_without_positions_time_attention_knows_no_order() -> None:
    order = torch.tensor([2, 0, 3, 1])
    for rotary_dim, biased in ((0, False), (2, False), (0, True)):
        module = randomised(
            TemporalAttention(
                WIDTH, num_heads=HEADS, rotary_dim=rotary_dim, relative_position_bias=biased
            )
        )
        tokens = random(4, 3, WIDTH)
        made = module(tokens, num_clips=1)[order]
        same = torch.allclose(module(tokens[order], num_clips=1), made, atol=1e-5)
        assert same is (rotary_dim == 0 and not biased)


@torch.no_grad()
def test_causal_time_attention_sees_its_own_frame_and_those_before() -> None:
    for biased in (False, True):
        module = randomised(
            TemporalAttention(
                WIDTH,
                num_heads=HEADS,
                rotary_dim=2,
                relative_position_bias=biased,
                causal=True,
            )
        )
        tokens = random(5, 3, WIDTH)
        before = module(tokens, num_clips=1)
        changed = tokens.clone()
        changed[3] += 1
        after = module(changed, num_clips=1)
        torch.testing.assert_close(after[:3], before[:3], atol=1e-6, rtol=0)
        assert all((after[f] - before[f]).abs().max() > 1e-3 for f in (3, 4))
        # The last frame sees all: there it is plain time attention.
        module.causal = False
        torch.testing.assert_close(module(tokens, num_clips=1)[4], before[4], atol=1e-5, rtol=0)
