"""Common code of the graphs of all tasks: the served model, endpoints, and windows over long texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from keras_bert_impl.config import BertConfig
from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer
from keras_bert_impl.export.tokenizer.ragged_ops import find_positions
from keras_bert_impl.tokenization import BertTokenizer

TEXT = tf.TensorSpec([None], tf.string)

# A long text is split into at most this number of windows, so that one request cannot fill the memory.
MAX_WINDOWS = 32

Tensors = dict[str, Any]


@dataclass(frozen=True)
class ServedModel:
    """A model in an export.

    Attributes:
        run: maps the inputs of `Task.list_export_inputs` to the model's outputs by name, in float32.
        task: the model's task.
        tokenizer: the model's tokenizer.
        in_graph: the same tokenizer as TensorFlow operations.
        config: the model's configuration.
        max_length: the maximum length of a row in tokens.
        ids_spec: the specification of each input of ``run``.
    """

    run: Callable[[Tensors], Tensors]
    task: Any
    tokenizer: BertTokenizer
    in_graph: InGraphTokenizer
    config: BertConfig
    max_length: int
    ids_spec: tf.TensorSpec

    def gather(self, strings: Sequence[str], indices: Any) -> Any:
        """Looks up strings: a string tensor of the shape of ``indices``."""
        return tf.gather(tf.constant(list(strings)), indices)


class Endpoint(NamedTuple):
    """A signature.

    Attributes:
        function: a function of named tensors.
        inputs: the specifications of its arguments, in their order.
    """

    function: Callable[..., Tensors]
    inputs: dict[str, tf.TensorSpec]


def make_ids_endpoint(served: ServedModel, function: Callable[[Tensors], Tensors]) -> Endpoint:
    """Returns the signature over the tokenizer's outputs, for a function of them such as ``served.run``."""

    def serve_ids(**inputs: Any) -> Tensors:
        return function(inputs)

    return Endpoint(serve_ids, dict.fromkeys(served.task.list_export_inputs(served.config), served.ids_spec))


class Windows(NamedTuple):
    """Windows over long texts, one row per window.

    Attributes:
        text: int32 ``[rows]``, the text of each row.
        start: int32 ``[rows]``, the row's first token, as an index into its text.
        length: int32 ``[rows]``, the number of the text's tokens in the row.
        count: int32 ``[texts]``, the number of rows of each text.
    """

    text: Any
    start: Any
    length: Any
    count: Any


def split_into_windows(tokens: Any, room: Any, overlap: int) -> Windows:
    """Splits texts into windows of ``room`` tokens that overlap.

    Args:
        tokens: int32 ``[texts]``, the number of tokens of each text; tokens beyond `MAX_WINDOWS` windows are dropped.
        room: int32 ``[texts]``, the number of the text's tokens that fit into a row.
        overlap: the number of tokens that two consecutive windows share.
    """
    step = room - overlap
    count = 1 + tf.maximum(tokens - room + step - 1, 0) // step
    count = tf.minimum(count, MAX_WINDOWS)
    text, number = find_positions(count)
    start = number * tf.gather(step, text)
    return Windows(text, start, tf.minimum(tf.gather(room, text), tf.gather(tokens, text) - start), count)


def count_covered_tokens(rows: Windows) -> Any:
    """Returns the number of tokens of each text that the windows cover: int32 ``[texts]``."""
    return tf.math.unsorted_segment_max(rows.start + rows.length, rows.text, tf.size(rows.count))


def count_max_words(max_length: int) -> int:
    """Returns the maximum number of words of a text that the windows can cover."""
    return MAX_WINDOWS * max_length


def cut_substrings(points: Any, begin: Any, end: Any) -> Any:
    """Substrings ``[parts]``: the characters from ``begin`` to ``end`` (exclusive), int32 ``[parts]`` each."""
    part, number = find_positions(end - begin)
    splits = tf.concat([[0], tf.cumsum(end - begin)], axis=0)
    return tf.raw_ops.UnicodeEncode(
        input_values=tf.gather(points, tf.gather(begin, part) + number),
        input_splits=splits,
        output_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
    )


def pad_rows(values: Any, splits: Any, fill: Any) -> Any:
    """Values ``[all, ...]`` as padded rows ``[rows, longest, ...]``."""
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False).to_tensor(default_value=fill)
