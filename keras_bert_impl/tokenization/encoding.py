"""Encodes texts as rows of a model's input: one call of the Rust tokenizer, then operations on complete arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import SURROGATE
from keras_bert_impl.tokenization import batching


def build_backend(
    vocabulary: Sequence[str],
    *,
    special: Mapping[str, str],
    added_tokens: Sequence[AddedToken],
    normalizer: normalizers.Normalizer,
) -> Tokenizer:
    """Makes the Rust tokenizer; it neither pads nor truncates.

    Args:
        vocabulary: tokens in id order.
        special: the spellings of the special tokens, by their names in `SPECIAL_TOKENS`.
        added_tokens: tokens that are found in text before it is split into words; new ones get the ids after the
            vocabulary.
        normalizer: what changes the characters of a text before it is split into words.

    Raises:
        InputError: special tokens are neither in the vocabulary nor added (the message names all of them).
    """
    words = {token: id for id, token in enumerate(vocabulary)}
    added = [token.content for token in added_tokens]
    ids = {token: id for id, token in enumerate(dict.fromkeys([*vocabulary, *added]))}
    # WordPiece itself needs the unknown token, so it must be in the vocabulary.
    missing = [name for name, token in special.items() if token not in (words if name == "unk_token" else ids)]
    if missing:
        spellings = ", ".join(f"{name} {special[name]!r}" for name in missing)
        raise InputError(
            f"The vocabulary of {len(words)} tokens lacks {spellings}. If it has other spellings, pass {missing[0]}=…"
        )
    backend = Tokenizer(models.WordPiece(words, unk_token=special["unk_token"]))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    backend.add_tokens([AddedToken(token, special=True) for token in special.values() if token not in added])
    backend.add_tokens(list(added_tokens))
    cls, sep = ((special[name], ids[special[name]]) for name in ("cls_token", "sep_token"))
    backend.post_processor = processors.BertProcessing(sep, cls)
    return backend


def without_special_token_matching(backend: Tokenizer) -> Tokenizer:
    """Returns a copy that does not match special tokens: ``[SEP]`` in a text is tokenized like other text."""
    copy = Tokenizer.from_str(backend.to_str())
    copy.encode_special_tokens = True
    return copy


@dataclass(frozen=True)
class FlatTokens:
    """The tokens of many texts, concatenated, without special tokens around them.

    Attributes:
        lengths: int64 ``[texts]``, the number of tokens of each text.
        ids: int32 ``[tokens]``.
        offsets: int32 ``[tokens, 2]``, the first character of a token and the one after its last, in the original text
            (or in the original word, if texts are lists of words).
        word_ids: int32 ``[tokens]``, the number of the word in its text.
    """

    lengths: np.ndarray
    ids: np.ndarray
    offsets: np.ndarray | None = None
    word_ids: np.ndarray | None = None


def tokenize(backend: Tokenizer, texts: Sequence, *, are_words: bool, with_offsets: bool) -> FlatTokens:
    """Tokenizes texts.

    Args:
        backend: the Rust tokenizer.
        texts: strings, or lists of words.
        are_words: whether texts are lists of words.
        with_offsets: whether to return ``offsets`` and ``word_ids``, which takes time.
    """
    encode = backend.encode_batch if with_offsets else backend.encode_batch_fast
    encodings = encode(texts, is_pretokenized=are_words, add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    total = int(lengths.sum())
    flat_ids = np.fromiter(chain.from_iterable(ids), np.int32, total)
    if not with_offsets:
        return FlatTokens(lengths, flat_ids)
    offsets = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in encodings))
    words = chain.from_iterable(encoding.word_ids for encoding in encodings)
    return FlatTokens(
        lengths,
        flat_ids,
        offsets=np.fromiter(offsets, np.int32, 2 * total).reshape(total, 2),
        word_ids=np.fromiter(words, np.int32, total),
    )


STRATEGIES = {
    False: None,
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
}


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows, concatenated, without padding.

    Attributes:
        columns: int32 arrays ``[positions, …]`` under ``"input_ids"`` and the other names of `BertTokenizer`.
        sizes: int64 ``[rows]``, the number of positions of each row.
        sample: int64 ``[rows]``, the number of the text or pair that a row belongs to.
    """

    columns: dict[str, np.ndarray]
    sizes: np.ndarray
    sample: np.ndarray

    def to_lists(self) -> dict[str, list[np.ndarray]]:
        """Each column as a list with one array per row; the arrays are views of one."""
        return {key: batching.split(values, self.sizes) for key, values in self.columns.items()}

    def to_padded(self, min_length: int, *, multiple: int, pad_id: int) -> dict[str, np.ndarray]:
        """Each column as an array ``[rows, length, …]``; the length is at least the minimum, and a multiple."""
        length = max(min_length, int(self.sizes.max(initial=0)))
        length += -length % multiple
        fills = {"input_ids": pad_id, "word_ids": -1, "text_ids": -1}
        return {
            key: batching.pad(values, self.sizes, length=length, fill=fills.get(key, 0))
            for key, values in self.columns.items()
        }


class Tokenize(Protocol):
    """Tokenizes texts, as `tokenize` does."""

    def __call__(self, texts: Sequence, *, are_words: bool, with_offsets: bool) -> FlatTokens:
        """Returns the tokens of texts."""


def encode(
    tokenize: Tokenize,
    text: Any,
    text_pair: Any,
    *,
    template: batching.Template,
    cls_id: int,
    sep_id: int,
    truncation: str | bool,
    max_length: int,
    stride: int = 0,
    are_words: bool = False,
    with_offsets: bool = False,
    with_overflow: bool = False,
    with_text_ids: bool = False,
) -> EncodedRows:
    """Tokenizes and truncates texts and adds special tokens; for the options see `BertTokenizer.__call__`."""
    if truncation not in STRATEGIES:
        raise InputError(f"truncation={truncation!r} is unknown; supported: {', '.join(map(repr, STRATEGIES))}.")
    strategy = STRATEGIES[truncation]
    texts, per_sample = list_texts(text, text_pair, are_words=are_words)
    max_tokens = max_length - int(template.count(per_sample).sum())
    if strategy and max_tokens < 0:
        raise InputError(
            f"max_length={max_length} has no space for the {max_length - max_tokens} special tokens of a row. Choose "
            "a larger one."
        )
    if with_overflow and stride < 0:
        raise InputError(f"stride={stride} is negative; the number of tokens that windows share was expected.")
    if with_overflow and per_sample == 2 and strategy == "longest_first":
        raise InputError("Windows over pairs need truncation='only_first' or 'only_second', the text that is split.")

    tokens = tokenize(texts, are_words=are_words, with_offsets=with_offsets or are_words)
    lengths = tokens.lengths.reshape(-1, per_sample)
    remaining = batching.truncate(lengths, max_tokens=max_tokens, strategy=strategy) if strategy else lengths
    if with_overflow:
        rows = batching.make_sliding_windows(template, lengths, remaining, stride=stride)
    else:
        rows = batching.make_rows(template, lengths, remaining)
    layout = batching.lay_out(rows)

    input_ids = layout.place(tokens.ids, special=sep_id)
    input_ids[layout.first] = cls_id
    columns = {
        "input_ids": input_ids,
        "token_type_ids": layout.type_ids,
        "attention_mask": np.ones(len(input_ids), np.int32),
    }
    if with_offsets and tokens.offsets is not None:
        columns["offset_mapping"] = layout.place(tokens.offsets, special=0)
    if with_text_ids:
        columns["text_ids"] = layout.text
    if are_words and tokens.word_ids is not None:
        columns["word_ids"] = layout.place(tokens.word_ids, special=-1)
    return EncodedRows(columns, sizes=rows.sizes, sample=rows.sample)


def list_texts(text: Any, text_pair: Any = None, *, are_words: bool = False) -> tuple[list[Any], int]:
    """Checks the texts of a call and puts them in one list, in which the two texts of a pair are neighbors.

    Args:
        text: a string or a list of strings; with ``are_words`` a list of words or a list of such lists.
        text_pair: the second texts, of the same form and number; None for single texts.
        are_words: whether texts are lists of words.

    Returns:
        ``[a0, a1, …]`` and 1, or ``[a0, b0, a1, b1, …]`` and 2.

    Raises:
        InputError: an argument is something else (the message names the first wrong element), or the numbers of texts
            differ.
    """
    firsts = _check_texts(text, "text", are_words)
    if text_pair is None:
        return firsts, 1
    seconds = _check_texts(text_pair, "text_pair", are_words)
    if len(firsts) != len(seconds):
        raise InputError(f"There are {len(firsts)} texts but {len(seconds)} in text_pair; a pair needs one of each.")
    return [each for pair in zip(firsts, seconds, strict=True) for each in pair], 2


def _check_texts(value: Any, name: str, are_words: bool) -> list[Any]:
    if not are_words:
        texts = [value] if isinstance(value, str) else _to_list(value, name, "a string or a list of strings")
        _check_strings(texts, name)
        return texts
    lists = _to_list(value, name, "a list of words or a list of such lists")
    if lists and isinstance(lists[0], str):
        _check_strings(lists, name)
        return [lists]
    lists = [_to_list(words, f"{name}[{index}]", "a list of words") for index, words in enumerate(lists)]
    for index, words in enumerate(lists):
        _check_strings(words, f"{name}[{index}]")
    return lists


def _to_list(value: Any, name: str, expected: str) -> list[Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{name} is {value!r:.50} ({type(value).__name__}); {expected} was expected.")
    return list(value)


def _check_strings(texts: list[Any], name: str) -> None:
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{name}[{index}] is {text!r:.50} ({type(text).__name__}); a string was expected.")
        if not text.isascii() and (half := SURROGATE.search(text)):
            raise InputError(
                f"{name}[{index}] contains half of a surrogate pair ({half[0]!r}) at position {half.start()}, which "
                "is not valid text. Remove it, or correct the file that it was read from."
            )
