"""What the graphs of all kinds of models share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from keras_bert_impl.config import BertConfig
from keras_bert_impl.export.parts import INPUTS
from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer
from keras_bert_impl.export.tokenizer.ragged_ops import ragged_positions
from keras_bert_impl.tokenization import BertTokenizer

TEXT = tf.TensorSpec([None], tf.string)
IDS = tf.TensorSpec([None, None], tf.int32)

# What a long text is worked off in: more windows than this over one text would let one request fill the memory.
MOST_WINDOWS = 32

Tensors = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """A model in an export.

    Attributes:
        run: takes what `INPUTS` names and gives the model's outputs by name, in float32.
        tokenizer: the model's tokenizer.
        in_graph: the same one as operations.
        config: the model's configuration.
        max_length: the longest row in tokens.
    """

    run: Callable[[Tensors], Tensors]
    tokenizer: BertTokenizer
    in_graph: InGraphTokenizer
    config: BertConfig
    max_length: int


class Endpoint(NamedTuple):
    """A signature: a function of named tensors, and the specifications of its arguments in their order."""

    function: Callable[..., Tensors]
    inputs: dict[str, tf.TensorSpec]


def ids_endpoint(function: Callable[[Tensors], Tensors]) -> Endpoint:
    """The signature over the inputs that a tokenizer gives, for a function of them; ``served.run`` is one."""

    def of_ids(**inputs: Any) -> Tensors:
        return function(inputs)

    return Endpoint(of_ids, dict.fromkeys(INPUTS, IDS))


class Windows(NamedTuple):
    """Rows over long texts.

    Attributes:
        text: int32 ``[rows]``, which text a row is of.
        start: int32 ``[rows]``, the row's first token, counted in its text.
        length: int32 ``[rows]``, how many tokens of the text the row takes.
        count: int32 ``[texts]``, how many rows each text has.
    """

    text: Any
    start: Any
    length: Any
    count: Any


def windows(tokens: Any, room: Any, overlap: int) -> Windows:
    """Rows that together take all tokens of each text: the first ``room``, then windows of the same size.

    Args:
        tokens: int32 ``[texts]``, how many tokens each text has; what `MOST_WINDOWS` do not hold is left out.
        room: int32 ``[texts]``, tokens that a row of the text takes.
        overlap: how many tokens a window shares with the one before.
    """
    step = room - overlap
    count = 1 + tf.maximum(tokens - room + step - 1, 0) // step
    count = tf.minimum(count, MOST_WINDOWS)
    text, number = ragged_positions(count)
    start = number * tf.gather(step, text)
    return Windows(text, start, tf.minimum(tf.gather(room, text), tf.gather(tokens, text) - start), count)


def reach(rows: Windows) -> Any:
    """How many tokens of each text the windows hold: int32 ``[texts]``."""
    return tf.math.unsorted_segment_max(rows.start + rows.length, rows.text, tf.size(rows.count))


def all_words(max_length: int) -> int:
    """How many words of a text the windows can hold."""
    return MOST_WINDOWS * max_length


def substrings(points: Any, begin: Any, end: Any) -> Any:
    """Strings ``[parts]`` of the characters from ``begin`` to before ``end``, int32 ``[parts]`` each."""
    part, number = ragged_positions(end - begin)
    splits = tf.concat([[0], tf.cumsum(end - begin)], axis=0)
    return tf.raw_ops.UnicodeEncode(
        input_values=tf.gather(points, tf.gather(begin, part) + number),
        input_splits=splits,
        output_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
    )


def dense(values: Any, splits: Any, fill: Any) -> Any:
    """Values ``[all, ...]`` as rows ``[rows, longest, ...]``, filled up behind their ends."""
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False).to_tensor(default_value=fill)
