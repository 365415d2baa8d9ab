"""Prompts -> text states: a transformers `CLIPTextModel`, its tokenizer, and their training."""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Generator, Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from mutoscope.errors import RequestError
from mutoscope.types import Batch, Loss, TextMask, TextStates

START, END = "<|startoftext|>", "<|endoftext|>"
_NOTHING: Mapping[str, str] = MappingProxyType({})


class TextEncoder:
    """Turns prompts into what a denoiser attends to: one state per token, padding masked out.

    Args:
        model: Reads the tokens.
        tokenizer: Splits prompts into them.
        padded: Whether prompts are filled up to the model's full length, and the filling counts as
            tokens: Stable Diffusion learned to attend to it.
    """

    def __init__(
        self, model: CLIPTextModel, tokenizer: PreTrainedTokenizerFast, *, padded: bool = False
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.padded = padded
        self.max_tokens: int = model.config.max_position_embeddings

    def tokens(self, prompts: Sequence[str]) -> tuple[Tensor, TextMask]:
        """Token ids (B, L), padded to the longest prompt or in full, and the mask of real tokens.

        Raises:
            RequestError: a prompt has more tokens than the model can read, or holds no text.
        """
        for prompt in prompts:
            # What a shell was given in another encoding arrives as halves of characters.
            if any("\ud800" <= letter <= "\udfff" for letter in prompt):
                raise RequestError(
                    f"the prompt {ascii(prompt)[:60]} holds bytes that are no text in UTF-8. Type "
                    "it again, or save its file as UTF-8."
                )
        rows: list[list[int]] = self.tokenizer(list(prompts))["input_ids"]
        longest = max(rows, key=len)
        if len(longest) > self.max_tokens:
            raise RequestError(
                f"the prompt {prompts[rows.index(longest)][:60]!r}... has {len(longest)} tokens: "
                f"this model reads at most {self.max_tokens}. Shorten it."
            )
        length = self.max_tokens if self.padded else len(longest)
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        mask = torch.zeros(ids.shape, dtype=torch.bool)
        for row, values in enumerate(rows):
            ids[row, : len(values)] = torch.tensor(values)
            mask[row, : len(values)] = True
        return ids.to(self.model.device), mask.to(self.model.device)

    def encode(
        self, prompts: Sequence[str], instead: Mapping[str, str] = _NOTHING
    ) -> tuple[TextStates, TextMask]:
        """Last hidden states (B, L, D) and the mask of those to attend to; the empty prompt is
        allowed.

        Args:
            prompts: Texts.
            instead: Token -> the one that is read in its place.
        """
        ids, mask = self.tokens(prompts)
        for token, other in instead.items():
            one, another = self.tokenizer.convert_tokens_to_ids([token, other])
            ids = ids.masked_fill(ids == one, another)
        return self.model(input_ids=ids).last_hidden_state, mask | self.padded

    def summarise(self, prompts: Sequence[str]) -> Tensor:
        """One vector per prompt (B, D): the state at the end-of-text token, as in CLIP."""
        ids, mask = self.tokens(prompts)
        states: Tensor = self.model(input_ids=ids).last_hidden_state
        return states[torch.arange(len(ids), device=ids.device), mask.sum(dim=1) - 1]

    def check_word(self, word: str, vocabulary: Sequence[str] = ()) -> None:
        """Finds out whether `word` can be added to what the encoder knows.

        Args:
            word: A new word.
            vocabulary: Words that it is known to have learned, beside those that are one token.

        Raises:
            RequestError: It is no single word in lower case, or is known already.
        """
        if not re.fullmatch(r"[^\W_]+", word) or word != word.lower():
            raise RequestError(
                f"{word!r} cannot be taught as a word: a word is letters and digits, in lower case "
                "and without spaces. Use e.g. zorb."
            )
        if word in vocabulary or len(self.tokenizer.tokenize(word)) == 1:
            raise RequestError(
                f"{word!r} is a word that the model knows already, and would be lost if it came to "
                "mean something else. Use one that it does not know, e.g. zorb."
            )

    def add_word(self, word: str, vector: Float[Tensor, "D"] | None = None) -> int:
        """Makes `word` a token of its own, wherever it stands alone, and returns its number.

        What a text without it becomes does not change.

        Args:
            word: A new word (see `check_word`).
            vector: Its embedding; None starts at the mean of all.
        """
        self.check_word(word)
        return self._add(word, vector)

    def add_stand_in(self, word: str, vector: Float[Tensor, "D"] | None) -> str:
        """Makes a token that no text has, to be read in place of a word; see `encode`.

        Args:
            word: An added word.
            vector: The embedding of the new token; None starts at the mean of all.

        Returns:
            The new token.
        """
        self._add(f"<{word}>", vector)
        return f"<{word}>"

    @torch.no_grad()
    def _add(self, word: str, vector: Float[Tensor, "D"] | None) -> int:
        # The space before a word is part of its token, as it is in those of the vocabulary.
        token = AddedToken(word, single_word=True, lstrip=True, normalized=True)
        self.tokenizer.add_tokens([token])
        old = self.model.get_input_embeddings().weight
        table = self.model.resize_token_embeddings(len(self.tokenizer), mean_resizing=False).weight
        table[-1] = old.mean(dim=0) if vector is None else vector.to(table)
        return len(table) - 1

    def mean_of(self, words: Sequence[str]) -> Float[Tensor, "D"] | None:
        """The mean embedding of words that are one token each; None of none.

        Raises:
            RequestError: A word is not one token.
        """
        numbers = [self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        for word, found in zip(words, numbers, strict=True):
            if len(found) != 1:
                raise RequestError(
                    f"{word!r} is {len(found)} tokens to this model, so nothing can begin like it. "
                    "Use a word that it knows, e.g. one that its captions name things with."
                )
        table = self.model.get_input_embeddings().weight
        return table[[found[0] for found in numbers]].mean(dim=0) if numbers else None


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: words of `texts` become single tokens where the size allows, and
    any other text still splits into known pieces, so that no prompt is unreadable."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, start), (END, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, unk_token=END
    )


class Contrast(nn.Module):
    """The two projections and the temperature that tie captions to clips (CLIP's head).

    Source: Radford et al., arXiv 2103.00020, Fig. 3.
    """

    def __init__(self, text_width: int, video_width: int, width: int) -> None:
        super().__init__()
        self.text = nn.Linear(text_width, width, bias=False)
        self.video = nn.Linear(video_width, width, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.65))

    def similarity(self, text: Tensor, video: Tensor) -> Tensor:
        """Scaled cosine of each text (rows) with each video (columns)."""
        text = functional.normalize(self.text(text), dim=-1)
        video = functional.normalize(self.video(video), dim=-1)
        return self.log_scale.clamp(max=4.6).exp() * text @ video.T


class LockedContrast:
    """Trains a text encoder to find the clip that a caption tells, by locked features of clips.

    The features are of clips, not of stills alone: on stills the words of motion would have no
    signal, and a denoiser reading these states could not obey them. They are locked because an
    encoder of clips that knows nothing yet first teaches the text encoder to forget (docs/log.md).

    Source: Zhai et al., "LiT", arXiv 2111.07991.
    """

    def __init__(self, text: TextEncoder, head: Contrast) -> None:
        self.text = text
        self.head = head

    def modules(self) -> Mapping[str, nn.Module]:
        return {"text_encoder": self.text.model, "head": self.head}

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        """Symmetric cross-entropy of `batch.captions` against `batch.features`; draws nothing."""
        assert batch.features is not None
        logits = self.head.similarity(self.text.summarise(batch.captions), batch.features)
        partner = torch.arange(len(logits), device=logits.device)
        forth = functional.cross_entropy(logits, partner)
        back = functional.cross_entropy(logits.T, partner)
        found = (logits.argmax(dim=1) == partner).float().mean()
        return Loss((forth + back) / 2, {"found": found.detach()})
