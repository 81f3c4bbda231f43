"""A text as one row of tokens, aligned with its words."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.windows import get_windows
from keras_bert_impl.tokenization import BertTokenizer


@dataclass(frozen=True)
class Word:
    """A word, or a special token.

    Attributes:
        text: its spelling in the text; for a special token its name.
        first: its first token.
        last: the token after its last one.
        segment: 0 for the first text, 1 for the second.
        begin: its first character in its text; -1 for a special token.
        end: the character after its last one; -1 for a special token.
    """

    text: str
    first: int
    last: int
    segment: int
    begin: int
    end: int

    @property
    def is_special(self) -> bool:
        """Whether it is a special token around the text, such as ``[CLS]``."""
        return self.begin < 0


@dataclass(frozen=True)
class EncodedText:
    """One encoded text, or pair, with its words.

    Attributes:
        text: the text.
        text_pair: the second text, or None.
        inputs: ``input_ids``, ``token_type_ids`` and ``attention_mask``, int32 ``[1, tokens]``.
        tokens: the tokens, as spelled in the vocabulary.
        words: all words in order, special tokens included.
    """

    text: str
    text_pair: str | None
    inputs: dict[str, np.ndarray]
    tokens: list[str]
    words: list[Word]

    def __len__(self) -> int:
        return len(self.tokens)

    def sum_per_word(self, values: np.ndarray) -> np.ndarray:
        """Sums values ``[..., tokens]`` over the tokens of each word: ``[..., words]``."""
        return np.add.reduceat(values, [word.first for word in self.words], axis=-1)

    def find(self, target: str) -> list[tuple[Word, ...]]:
        """Finds a word, or several consecutive words, in the texts: per occurrence its words. Case is ignored."""
        target = target.strip()
        occurrences = []
        for segment, text in enumerate(filter(None, (self.text, self.text_pair))):
            words = [word for word in self.words if word.segment == segment and not word.is_special]
            begins = {word.begin: number for number, word in enumerate(words)}
            ends = {word.end: number for number, word in enumerate(words)}
            for match in re.finditer(re.escape(target), text, re.IGNORECASE) if target else ():
                if match.start() in begins and match.end() in ends:
                    occurrences.append(tuple(words[begins[match.start()] : ends[match.end()] + 1]))
        return occurrences


def encode_row(tokenizer: BertTokenizer, config: Any, text: str, text_pair: str | None = None) -> EncodedText:
    """Encodes a text, or a pair.

    Args:
        tokenizer: the model's tokenizer.
        config: the model's ``BertConfig``, for its number of positions.
        text: the text.
        text_pair: the second text.

    Raises:
        InputError: the text has no words, more tokens than the model has positions, or is not a string.

    >>> from keras_bert_impl import BertConfig
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "##s"]
    >>> row = encode_row(BertTokenizer(words), BertConfig.preset("tiny"), "Good films")
    >>> [word.text for word in row.words], row.sum_per_word(np.arange(5)).tolist()
    (['[CLS]', 'Good', 'films', '[SEP]'], [0, 1, 5, 4])
    """
    encoded = tokenizer(text, text_pair, truncation=False, return_offsets=True, return_text_ids=True)
    offsets = encoded.pop("offset_mapping")[0].tolist()
    text_ids = encoded.pop("text_ids")[0].tolist()
    segments = np.maximum(text_ids, encoded["token_type_ids"][0]).tolist()
    windows, count = get_windows(config), len(offsets)
    longest = min(config.max_position_embeddings, windows.length if windows else count)
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    if count > longest:
        texts_shown = f"{text!r:.60}" if text_pair is None else f"{text!r:.60} with {text_pair!r:.60}"
        limit = f"reads windows of {longest} tokens, and a view shows one" if windows else f"has {longest} positions"
        raise InputError(
            f"{texts_shown} has {count:,} tokens, special ones included; the model {limit}. Give a shorter text."
        )
    config.check_tokenizer(tokenizer.vocab_size)
    texts = (text, text_pair or "")
    words: list[Word] = []
    for position, (token, segment, (begin, end)) in enumerate(zip(tokens, segments, offsets, strict=True)):
        if text_ids[position] < 0:
            words.append(Word(token, position, position + 1, segment, -1, -1))
            continue
        last = words[-1]
        # A token of SentencePiece that is a space has no characters, or those of the token after it.
        continues = tokenizer.continues_word(token) or last.end == last.begin
        if continues and not last.is_special and last.end >= begin and last.segment == segment:
            end = max(last.end, end)
            words[-1] = Word(texts[segment][last.begin : end], last.first, position + 1, segment, last.begin, end)
        else:
            words.append(Word(texts[segment][begin:end], position, position + 1, segment, begin, end))
    if all(word.is_special for word in words):
        raise InputError(f"{text!r:.60} has no words. Give a text with words.")
    return EncodedText(text, text_pair, encoded, tokens, words)
