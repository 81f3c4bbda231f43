"""Parts of different lengths behind one another in one array: what graphs of texts, words and tokens are made of.

All integers are int32.
"""

from typing import Any

import tensorflow as tf


def decode(texts: Any) -> tuple[Any, Any]:
    """The characters of texts in UTF-8, ``[characters]``, and where each text begins, ``[texts + 1]``.

    Bytes that are not UTF-8 become U+FFFD.
    """
    decoded = tf.raw_ops.UnicodeDecode(
        input=texts, input_encoding="UTF-8", errors="replace", replacement_char=0xFFFD, Tsplits=tf.int32
    )
    return decoded.char_values, decoded.row_splits


def indices_where(condition: Any) -> Any:
    """The places, ``[found]``, at which a condition ``[all]`` holds."""
    return tf.cast(tf.squeeze(tf.where(condition), 1), tf.int32)


def lower_bound(ascending: Any, values: Any) -> Any:
    """For each value the number of entries below it."""
    return tf.raw_ops.LowerBound(sorted_inputs=ascending[None], values=values[None])[0]


def segment_of(starts: Any, places: Any) -> Any:
    """The part in which each place lies, of parts that begin at ascending ``starts``."""
    return tf.raw_ops.UpperBound(sorted_inputs=starts[None], values=places[None])[0] - 1


def ragged_positions(lengths: Any) -> tuple[Any, Any]:
    """For parts of these lengths, behind one another: each entry's part, and its number there; both ``[all]``."""
    part = tf.repeat(tf.range(tf.size(lengths)), lengths)
    return part, tf.range(tf.size(part)) - tf.gather(tf.cumsum(lengths, exclusive=True), part)
