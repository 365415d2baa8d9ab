"""Folding frames of clips and single images into one batch, and back."""

import pytest
import torch

from mutoscope.nn.fold import Fold


@pytest.mark.parametrize("images", [0, 2])
def test_fold_and_unfold_are_inverse_and_keep_each_frame_whole(images: int) -> None:
    fold = Fold(clips=2, frames=3, images=images)
    video = torch.randn(2, 4, 3 + images, 5, 6, generator=torch.Generator().manual_seed(0))
    rows = fold.fold(video)
    assert rows.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(fold.unfold(rows), video)
    clips, pictures = fold.split(rows)
    assert torch.equal(clips[3 * 1 + 2], video[1, :, 2])
    for clip in range(2):
        for image in range(images):
            assert torch.equal(pictures[clip * images + image], video[clip, :, 3 + image])


def test_text_and_what_is_told_to_a_clip_follow_the_rows() -> None:
    fold = Fold(clips=2, frames=3, images=2)
    text = torch.arange(6.0).reshape(2, 3, 1, 1)
    assert fold.fold_text(text).flatten().tolist() == [0, 3, 1, 2, 4, 5]
    told = fold.per_row(torch.tensor([[7.0], [8.0]]))
    assert told.flatten().tolist() == [7, 7, 7, 8, 8, 8, 7, 7, 8, 8]
