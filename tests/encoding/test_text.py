"""Prompts to states: whole words, unknown words, lengths, and padding that does not matter."""

import pytest
import torch

from mutoscope.encoding.text import Contrast, LockedContrast, TextEncoder, train_tokenizer
from mutoscope.errors import RequestError
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Batch
from tests.tiny import build_tiny_system


@pytest.fixture(scope="module")
def text(tiny_system: LaVie) -> TextEncoder:
    return TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer)


def test_words_of_the_grammar_are_single_tokens_and_others_still_split() -> None:
    tokenizer = train_tokenizer(["a red star drifts over the sea"] * 9, vocabulary_size=400)
    assert len(tokenizer("a red star")["input_ids"]) == 3 + 2
    unknown = tokenizer("a Zorb ☃")["input_ids"]
    assert tokenizer.decode(unknown, skip_special_tokens=True).strip() == "a zorb ☃"


def test_the_tokenizer_is_the_same_each_time() -> None:
    once, again = (
        train_tokenizer(["a red star", "a blue ring"], vocabulary_size=300).get_vocab()
        for _ in range(2)
    )
    assert once == again


def test_padding_has_no_influence(text: TextEncoder) -> None:
    short, long = "a red star", "a red star drifts left over the sea at night"
    with torch.inference_mode():
        states, mask = text.encode([short, long])
        alone, _ = text.encode([short])
    assert mask.sum(dim=1).tolist() == [5, 12]
    torch.testing.assert_close(states[0][mask[0]], alone[0], atol=1e-5, rtol=1e-5)


def test_where_padding_was_learned_it_is_attended_to(tiny_system: LaVie, text: TextEncoder) -> None:
    padded = TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer, padded=True)
    with torch.inference_mode():
        states, mask = padded.encode(["a red star"])
        short, _ = text.encode(["a red star"])
        summary = padded.summarise(["a red star"])
    assert states.shape[1] == 32
    assert mask.all()
    torch.testing.assert_close(states[:, :5], short, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(summary, short[:, 4], atol=1e-5, rtol=1e-5)


def test_the_summary_is_the_state_of_the_last_real_token(text: TextEncoder) -> None:
    prompts = ["a red star", "a blue circle over the sea"]
    with torch.inference_mode():
        states, mask = text.encode(prompts)
        summary = text.summarise(prompts)
    for row, length in enumerate(mask.sum(dim=1)):
        torch.testing.assert_close(summary[row], states[row, length - 1])


def test_the_empty_prompt_is_start_and_end(text: TextEncoder) -> None:
    _, mask = text.encode([""])
    assert mask.tolist() == [[True, True]]


def test_a_prompt_too_long_is_refused(text: TextEncoder) -> None:
    with pytest.raises(RequestError, match=r"at most 32\. Shorten it"):
        text.encode(["star " * 40])


def test_bytes_that_are_no_text_are_refused(text: TextEncoder) -> None:
    given = b"a \xff star".decode("utf-8", "surrogateescape")  # as a shell hands it over
    with pytest.raises(RequestError, match=r"'a \\udcff star' holds bytes that are no text"):
        text.tokens(["a star", given])


def test_contrast_learns_to_pair(tiny_system: LaVie) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        head = Contrast(32, 16, 16)
    text = TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer)
    objective = LockedContrast(text, head)
    batch = Batch(
        captions=("a red star", "a blue star", "circle left", "circle right"),
        features=torch.randn(4, 16, generator=torch.Generator().manual_seed(0)),
    )
    # The text encoder belongs to all tests; only the projections learn here.
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = objective.loss(batch, torch.Generator())
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        losses.append(loss.value.item())
    tiny_system.text_encoder.zero_grad(set_to_none=True)
    assert losses[-1] < 0.3 * losses[0]
    assert objective.loss(batch, torch.Generator()).report["found"] == 1


def test_a_new_word_is_one_token_and_changes_no_other_text() -> None:
    system = build_tiny_system()
    text = TextEncoder(system.text_encoder, system.tokenizer)
    others = ["a red star drifts left", "zorbs at night", ""]
    with torch.no_grad():
        before = text.encode(others)
        number = text.add_word("zorb", torch.full((32,), 0.5))
        after = text.encode(others)
        short, long = text.encode(["a Zorb drifts over the sea"])[0], text.encode(["a zorb"])[0]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert text.tokenizer("a Zorb drifts over the sea")["input_ids"].count(number) == 1
    assert (short.shape[1], long.shape[1]) == (6 + 2, 2 + 2)
    assert (text.model.get_input_embeddings().weight[number] == 0.5).all()


@pytest.mark.parametrize("word", ["", "two words", "Zorb", "zo-rb", "zo_rb", "a zorb,"])
def test_what_is_no_word_cannot_be_taught(text: TextEncoder, word: str) -> None:
    with pytest.raises(RequestError, match="cannot be taught as a word"):
        text.check_word(word)


@pytest.mark.parametrize(("word", "vocabulary"), [("star", ()), ("comet", ["a", "comet"])])
def test_a_known_word_is_not_taught_again(
    text: TextEncoder, word: str, vocabulary: list[str]
) -> None:
    with pytest.raises(RequestError, match="knows already"):
        text.check_word(word, vocabulary)


def test_a_word_may_begin_at_the_mean_of_known_ones(text: TextEncoder) -> None:
    table = text.model.get_input_embeddings().weight
    numbers = [
        text.tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("star", "red")
    ]
    assert [len(each) for each in numbers] == [1, 1]
    expected = (table[numbers[0][0]] + table[numbers[1][0]]) / 2
    mean = text.mean_of(["star", "red"])
    assert mean is not None
    torch.testing.assert_close(mean, expected)
    assert text.mean_of([]) is None
    with pytest.raises(RequestError, match=r"'blorf' is \d+ tokens to this model"):
        text.mean_of(["star", "blorf"])
