"""Texts to the model's rows: one call of the Rust tokenizer, the rest on whole arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import batching
from keras_bert_impl.tokenization.backend import encode_pieces
from keras_bert_impl.tokenization.inputs import as_pieces

STRATEGIES = {
    False: None,
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
}


@dataclass(frozen=True)
class Encoded:
    """Rows behind one another, unpadded.

    Attributes:
        columns: from ``"input_ids"`` and its siblings to int32 arrays ``[positions, …]``.
        sizes: int64 ``[rows]``, how many positions each row has.
        sample: int64 ``[rows]``, which text or pair a row comes from.
    """

    columns: dict[str, np.ndarray]
    sizes: np.ndarray
    sample: np.ndarray

    def unpadded(self) -> dict[str, list[np.ndarray]]:
        """Each column as a list with an array for each row; the arrays are views of one."""
        return {key: batching.split(values, self.sizes) for key, values in self.columns.items()}

    def padded(self, least: int, *, multiple: int, pad_id: int) -> dict[str, np.ndarray]:
        """Each column as an array ``[rows, length, …]``: at least ``least`` long, a multiple of ``multiple``."""
        width = max(least, int(self.sizes.max(initial=0)))
        width += -width % multiple
        fills = {"input_ids": pad_id, "word_ids": -1}
        return {
            key: batching.pad(values, self.sizes, width=width, fill=fills.get(key, 0))
            for key, values in self.columns.items()
        }


def encode(
    backend: Tokenizer,
    text: Any,
    text_pair: Any,
    *,
    cls_id: int,
    sep_id: int,
    truncation: str | bool,
    max_length: int,
    stride: int = 0,
    are_words: bool = False,
    with_offsets: bool = False,
    with_overflow: bool = False,
) -> Encoded:
    """Tokenizes, truncates and puts special tokens around; see `BertTokenizer.__call__` for the options."""
    if truncation not in STRATEGIES:
        raise InputError(f"truncation={truncation!r} is unknown. Known: {', '.join(map(repr, STRATEGIES))}.")
    strategy = STRATEGIES[truncation]
    pieces, per_sample = as_pieces(text, text_pair, are_words=are_words)
    room = max_length - int(batching.FRAME[:per_sample].sum())
    if strategy and room < 0:
        raise InputError(f"max_length={max_length} has no room for the {max_length - room} special tokens of a row.")
    if with_overflow and stride < 0:
        raise InputError(f"stride={stride} is negative; the number of tokens that windows share was expected.")
    if with_overflow and per_sample == 2 and strategy == "longest_first":
        raise InputError("Windows over pairs need truncation='only_first' or 'only_second': which text do they cut?")

    found = encode_pieces(backend, pieces, are_words=are_words, with_offsets=with_offsets or are_words)
    lengths = found.lengths.reshape(-1, per_sample)
    kept = batching.truncate(lengths, room=room, strategy=strategy) if strategy else lengths
    if with_overflow:
        rows = batching.sliding_windows(lengths, kept, stride=stride)
    else:
        rows = batching.one_row_each(lengths, kept)
    layout = batching.lay_out(rows)

    input_ids = layout.place(found.ids, special=sep_id)
    input_ids[layout.first] = cls_id
    columns = {
        "input_ids": input_ids,
        "token_type_ids": layout.type_ids,
        "attention_mask": np.ones(len(input_ids), np.int32),
    }
    if with_offsets and found.offsets is not None:
        columns["offset_mapping"] = layout.place(found.offsets, special=0)
    if are_words and found.word_ids is not None:
        columns["word_ids"] = layout.place(found.word_ids, special=-1)
    return Encoded(columns, sizes=rows.sizes, sample=rows.sample)
