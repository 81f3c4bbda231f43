"""TensorFlow helpers for ragged data stored as flat values and row starts. All integers are int32."""

from typing import Any

import numpy as np
import tensorflow as tf


def decode(texts: Any) -> tuple[Any, Any]:
    """Decodes UTF-8 texts to code points ``[characters]`` and the row splits of the texts ``[texts + 1]``.

    Bytes that are not UTF-8 become U+FFFD.
    """
    decoded = tf.raw_ops.UnicodeDecode(
        input=texts, input_encoding="UTF-8", errors="replace", replacement_char=0xFFFD, Tsplits=tf.int32
    )
    return decoded.char_values, decoded.row_splits


def indices_where(condition: Any) -> Any:
    """Returns the indices at which a condition is true: ``[number of true values]``."""
    return tf.cast(tf.squeeze(tf.where(condition), 1), tf.int32)


def list_prefix_pairs(lengths: Any, max_length: int) -> tuple[Any, Any]:
    """Returns all pairs ``(row, i)`` with ``i < lengths[row]``, ordered: rows and numbers, both ``[sum of lengths]``.

    Args:
        lengths: ``[rows]``, at most ``max_length``.
        max_length: the number of columns of the lookup table, which is faster than a comparison.
    """
    table = tf.constant(np.tri(max_length + 1, max_length, -1, np.int32))
    pairs = tf.cast(tf.where(tf.gather(table, tf.minimum(lengths, max_length))), tf.int32)
    return pairs[:, 0], pairs[:, 1]


def lower_bound(ascending: Any, values: Any) -> Any:
    """For each value, the number of smaller entries in ``ascending``."""
    return tf.raw_ops.LowerBound(sorted_inputs=ascending[None], values=values[None])[0]


def segment_of(starts: Any, indices: Any) -> Any:
    """Returns the number of the segment that contains each index; segments begin at ascending ``starts``."""
    return tf.raw_ops.UpperBound(sorted_inputs=starts[None], values=indices[None])[0] - 1


def find_positions(lengths: Any) -> tuple[Any, Any]:
    """For concatenated rows with these lengths: each entry's row and its position there, both ``[sum of lengths]``."""
    row = tf.repeat(tf.range(tf.size(lengths)), lengths)
    return row, tf.range(tf.size(row)) - tf.gather(tf.cumsum(lengths, exclusive=True), row)


def follow_links(reached: Any, link: Any, count: Any) -> tuple[Any, Any]:
    """Runs one round of pointer doubling: marks the targets of the links from marked indices, then doubles each link.

    Args:
        reached: 0 or 1, ``[count + 1]``.
        link: ``[count + 1]``, the index that follows each index; the last one links to itself.
        count: the number of indices, without the last.
    """
    reached = tf.maximum(reached, tf.math.unsorted_segment_max(reached, link, count + 1))
    return reached, tf.gather(link, link)


def divide(values: Any, power_of_two: int) -> tuple[Any, Any]:
    """Quotient and remainder of values that are not negative."""
    shift = power_of_two.bit_length() - 1
    return tf.bitwise.right_shift(values, shift), tf.bitwise.bitwise_and(values, power_of_two - 1)
