"""What is trained, what is saved beside it, and how a batch is counted."""

import torch
from torch import nn

from mutoscope.training.learner import num_samples, saved_buffers, trained_parameters
from mutoscope.types import Batch


def test_shared_and_frozen_parameters_are_trained_once_and_never() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    second.bias.requires_grad_(False)
    found = trained_parameters({"a": first, "b": second})
    assert list(found) == ["a.weight", "a.bias"]


def test_only_buffers_of_the_state_are_saved() -> None:
    norm = nn.BatchNorm1d(3)
    norm.register_buffer("table", torch.zeros(9), persistent=False)
    assert list(saved_buffers({"n": norm, "again": norm})) == [
        "n.running_mean",
        "n.running_var",
        "n.num_batches_tracked",
    ]


def test_samples_are_counted_in_whatever_a_batch_holds() -> None:
    assert num_samples(Batch(video=torch.zeros(3, 3, 1, 2, 2))) == 3
    assert num_samples(Batch(captions=("a", "b"), latents=torch.zeros(2, 4, 1, 2, 2))) == 2
    assert num_samples(Batch(labels={"x": torch.zeros(5)})) == 5
    assert num_samples(Batch(captions=("a",))) == 1
