"""Common code of the graphs of all tasks: the served model, endpoints, and windows over long texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from keras_bert_impl.config import BertConfig
from keras_bert_impl.export.tokenizer.in_graph import Tokens, count_tokens
from keras_bert_impl.export.tokenizer.ragged_ops import find_positions
from keras_bert_impl.tasks.encoding import POOLING_MASK
from keras_bert_impl.tokenization import BertTokenizer

TEXT = tf.TensorSpec([None], tf.string)

# The inputs that are 0 for padding.
_MASKS = ("attention_mask", POOLING_MASK)
# By default, a long text is split into at most this number of windows, so that one request cannot fill the memory.
MAX_WINDOWS = 32

Tensors = dict[str, Any]


@dataclass(frozen=True)
class ServedModel:
    """A model in an export.

    Attributes:
        run: maps the inputs of `Task.list_export_inputs` to the model's outputs by name, in float32.
        task: the model's task.
        tokenizer: the model's tokenizer.
        in_graph: the same tokenizer as TensorFlow operations; None if the export takes ids only.
        config: the model's configuration.
        max_length: the maximum length of a row in tokens.
        ids_spec: the specification of each input of ``run``.
    """

    run: Callable[[Tensors], Tensors]
    task: Any
    tokenizer: BertTokenizer
    in_graph: Any  # InGraphTokenizer, which only signatures over text call.
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
    """Returns the signature over the tokenizer's outputs, for a function of them such as ``served.run``.

    TF Serving can join requests whose rows have different lengths. It pads each of their tensors with its first value,
    and so the mask with 1. Therefore ``[CLS]`` at the end of a row counts as padding.
    """

    def serve_ids(**inputs: Any) -> Tensors:
        # From each position on, the number of tokens that are not [CLS]; a row of [CLS] alone keeps its first token.
        others = tf.cast(inputs["input_ids"] != served.tokenizer.cls_token_id, tf.int32)
        following = tf.cumsum(others, axis=-1, reverse=True) + tf.one_hot(0, tf.shape(others)[-1], dtype=tf.int32)
        masks = {name: inputs[name] * tf.minimum(following, 1) for name in _MASKS if name in inputs}
        return function({**inputs, **masks})

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


def split_into_windows(tokens: Any, room: Any, overlap: int, *, max_windows: int = MAX_WINDOWS) -> Windows:
    """Splits texts into windows of ``room`` tokens that overlap.

    Args:
        tokens: int32 ``[texts]``, the number of tokens of each text.
        room: int32 ``[texts]``, the number of the text's tokens that fit into a row.
        overlap: the number of tokens that two consecutive windows share.
        max_windows: the maximum number of windows of a text; tokens beyond them are dropped.
    """
    step = room - overlap
    count = 1 + tf.maximum(tokens - room + step - 1, 0) // step
    count = tf.minimum(count, max_windows)
    text, number = find_positions(count)
    start = number * tf.gather(step, text)
    return Windows(text, start, tf.minimum(tf.gather(room, text), tf.gather(tokens, text) - start), count)


def arrange_text_windows(
    served: ServedModel, tokens: Tokens, overlap: int, *, max_windows: int = MAX_WINDOWS
) -> tuple[Windows, Tensors]:
    """Splits texts into windows, see `split_into_windows`; returns them, and the model's inputs with a row for each."""
    lengths = count_tokens(tokens)
    room = tf.fill([tf.size(lengths)], served.max_length - 2)
    rows = split_into_windows(lengths, room, overlap, max_windows=max_windows)
    first_token = tf.gather(tokens.splits, rows.text) + rows.start
    inputs, _ = served.in_graph.arrange_rows(tokens.ids, (first_token, rows.length))
    return rows, inputs


class PairWindows(NamedTuple):
    """Rows ``[CLS] a [SEP] window of b [SEP]`` of pairs of texts.

    Attributes:
        rows: the windows over the second texts.
        inputs: the model's inputs.
        token_index: the index of the token at each position; see `InGraphTokenizer.arrange_rows`.
        first_length: int32 ``[rows]``, the number of tokens of the first text in each row.
    """

    rows: Windows
    inputs: Tensors
    token_index: Any
    first_length: Any


def arrange_pair_windows(
    served: ServedModel, tokens: Tokens, overlap: int, *, max_first: int, max_windows: int = MAX_WINDOWS
) -> PairWindows:
    """Splits the second texts of pairs into windows, see `split_into_windows`.

    Args:
        served: the model.
        tokens: the tokens of all first texts, and then of all second texts.
        overlap: the number of tokens that two consecutive windows share.
        max_first: the maximum number of tokens of a first text.
        max_windows: the maximum number of windows of a pair.
    """
    starts, lengths = (tf.split(part, 2) for part in (tokens.splits[:-1], count_tokens(tokens)))
    first_length = tf.minimum(lengths[0], max_first)
    rows = split_into_windows(lengths[1], served.max_length - 3 - first_length, overlap, max_windows=max_windows)
    first_length = tf.gather(first_length, rows.text)
    first_part = (tf.gather(starts[0], rows.text), first_length)
    second_part = (tf.gather(starts[1], rows.text) + rows.start, rows.length)
    inputs, token_index = served.in_graph.arrange_rows(tokens.ids, first_part, second_part)
    return PairWindows(rows, inputs, token_index, first_length)


def pool_windows(values: Any, rows: Windows, pooling: str) -> Any:
    """Pools values ``[rows, ...]`` over the windows of each text by ``mean`` or ``max``: ``[texts, ...]``."""
    pool = tf.math.unsorted_segment_max if pooling == "max" else tf.math.unsorted_segment_mean
    return pool(values, rows.text, tf.size(rows.count))


def count_covered_tokens(rows: Windows) -> Any:
    """Returns the number of tokens of each text that the windows cover: int32 ``[texts]``."""
    return tf.math.unsorted_segment_max(rows.start + rows.length, rows.text, tf.size(rows.count))


def count_max_words(max_length: int, max_windows: int = MAX_WINDOWS) -> int:
    """Returns the maximum number of words of a text that the windows can cover."""
    return max_windows * max_length


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
