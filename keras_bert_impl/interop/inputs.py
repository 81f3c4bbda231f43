"""The inputs of ``verify``: real text, encoded by both tokenizers, and random ids."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.files import SNIPPETS, read_text
from keras_bert_impl.interop.certificate import MIN_TOKENS
from keras_bert_impl.tokenization import BertTokenizer

Batch = dict[str, np.ndarray]

_BATCH_SIZE = 8
_MAX_SNIPPETS = 32
_LONG_TEXTS = 5
# Texts that tokenizers often split differently.
_HARD_TEXTS = (
    "",
    "Café naïve Straße ﬁne İstanbul",
    "日本語 中文abc 한국어",
    "😀 emoji 👨‍👩‍👧 x🇩🇪",
    "[MASK] x[SEP]y U.S.A. $5.00 don't `a^b",
)


@dataclasses.dataclass(frozen=True)
class ComparedTexts:
    """Texts that both tokenizers encoded.

    Attributes:
        batches: our ``input_ids``, ``token_type_ids`` and ``attention_mask``, int32 ``[rows, length]``.
        rows: number of texts and pairs.
        differing: the texts and pairs for which transformers has other ids or segments.
    """

    batches: list[Batch]
    rows: int
    differing: list[tuple[str, ...]]


def read_snippets() -> list[str]:
    """Film snippets that ship with the package, and a few hard texts."""
    lines = read_text(SNIPPETS / "test.tsv").splitlines()[1 : _MAX_SNIPPETS + 1]
    return [line.rsplit("\t", 1)[0] for line in lines] + list(_HARD_TEXTS)


def make_long_texts(texts: Sequence[str], max_length: int) -> list[str]:
    """Returns a few texts with more than ``max_length`` tokens, made of these texts."""
    parts = [text for text in texts if text.strip()] or ["a"]
    long = " ".join(parts * (max_length // len(parts) + _LONG_TEXTS))
    return [long[number:] for number in range(_LONG_TEXTS)]


def encode(
    texts: Sequence[str],
    *,
    tokenizer: BertTokenizer,
    reference: Callable[[list[list[str]]], Mapping[str, np.ndarray]],
    config: BertConfig,
) -> ComparedTexts:
    """Encodes texts, and pairs of consecutive texts, with two tokenizers.

    Args:
        texts: the texts.
        tokenizer: ours.
        reference: encodes one or two columns of texts with the other tokenizer, truncated to the model's positions.
        config: the model's configuration.

    Raises:
        InputError: our tokenizer has more tokens than the model.
    """
    config.check_tokenizer(tokenizer.vocab_size)
    singles = [(text,) for text in texts]
    pairs = list(zip(texts[::2], texts[1::2], strict=False)) if config.type_vocab_size > 1 else []
    batches, differing = [], []
    for rows in (*_split_rows(singles), *_split_rows(pairs)):
        columns = [list(column) for column in zip(*rows, strict=True)]
        batch = tokenizer(*columns, max_length=config.max_position_embeddings)
        other = reference(columns)
        differing += [row for row, a, b in zip(rows, _list_tokens(batch), _list_tokens(other), strict=True) if a != b]
        batches.append(batch)
    return ComparedTexts(batches, rows=len(singles) + len(pairs), differing=differing)


def draw_batches(config: BertConfig) -> list[Batch]:
    """Rows of random ids and segments that use all positions. They are the same in each call."""
    rng = np.random.default_rng(0)
    max_length = config.max_position_embeddings
    batches: list[Batch] = []
    while count_tokens(batches) < MIN_TOKENS:
        lengths = np.array([max_length, rng.integers(1, max_length + 1)])
        mask = (np.arange(max_length) < lengths[:, None]).astype("int32")  # [2, max_length]
        ids = rng.integers(config.vocab_size, size=mask.shape)
        types = rng.integers(config.type_vocab_size, size=mask.shape)
        batches.append(
            {
                "input_ids": np.where(mask, ids, config.pad_token_id).astype("int32"),
                "token_type_ids": (types * mask).astype("int32"),
                "attention_mask": mask,
            }
        )
    return batches


def count_tokens(batches: Sequence[Batch]) -> int:
    """Returns the number of tokens in batches, without padding."""
    return sum(int(batch["attention_mask"].sum()) for batch in batches)


def _split_rows(rows: Sequence[tuple[str, ...]]) -> Iterator[Sequence[tuple[str, ...]]]:
    for start in range(0, len(rows), _BATCH_SIZE):
        yield rows[start : start + _BATCH_SIZE]


def _list_tokens(batch: Any) -> list[list[list[int]]]:
    """Ids and segments of each row, without padding."""
    names = ("input_ids", "token_type_ids")
    return [
        [np.asarray(batch[name])[row, mask == 1].tolist() for name in names]
        for row, mask in enumerate(np.asarray(batch["attention_mask"]))
    ]
