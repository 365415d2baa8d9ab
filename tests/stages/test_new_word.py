"""NewWord: other pictures count as they are weighted, and gradients reach the word."""

import pytest
import torch

from mutoscope.diffusion.process import VariancePreserving
from mutoscope.diffusion.times import UniformTimes
from mutoscope.encoding.text import TextEncoder
from mutoscope.stages.new_word import NewWord
from mutoscope.types import Batch
from tests.tiny import build_tiny_system


@pytest.fixture
def stage() -> NewWord:
    system = build_tiny_system()
    text = TextEncoder(system.text_encoder, system.tokenizer)
    return NewWord(system.base, VariancePreserving(), text, others_weight=0.5, times=UniformTimes())


def batch(own: list[bool]) -> Batch:
    generator = torch.Generator().manual_seed(7)
    return Batch(
        captions=tuple("a zorb" if mine else "a red star" for mine in own),
        latents=torch.randn(len(own), 4, 1, 8, 12, generator=generator),
        labels={"own": torch.tensor(own)},
    )


def test_own_pictures_count_whole_and_others_by_their_weight(stage: NewWord) -> None:
    error = torch.tensor([1.0, 3.0, 8.0]).view(3, 1, 1, 1, 1)
    loss = stage.reduce(error, batch([True, True, False]))
    assert loss.value == 2 + 0.5 * 8
    assert loss.report == {"own": 2, "others": 8}
    alone = stage.reduce(error, batch([True, True, True]))
    assert (alone.value, alone.report) == (4, {"own": 4})


def test_a_loss_teaches_the_word_of_its_captions_and_no_other(stage: NewWord) -> None:
    number = stage.text.add_word("zorb")
    stage.loss(batch([True, True]), torch.Generator().manual_seed(0)).value.backward()
    gradient = stage.text.model.get_input_embeddings().weight.grad
    assert gradient[number].norm() > 0
    assert not gradient[stage.text.tokenizer.convert_tokens_to_ids("Ġstar")].any()


def test_the_same_draws_give_the_same_loss_and_no_caption_is_dropped(stage: NewWord) -> None:
    stage.text.add_word("zorb")
    first, again = (
        stage.loss(batch([True, False]), torch.Generator().manual_seed(3)).value for _ in range(2)
    )
    assert first == again
    states, mask = stage.states_for_training(["a zorb"] * 50, torch.Generator())
    assert mask.sum(dim=1).tolist() == [4] * 50
    assert (states == states[0]).all()
