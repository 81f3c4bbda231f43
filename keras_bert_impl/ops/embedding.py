"""Lookup of embeddings, also from rows that are stored as integers."""

from typing import Any, NamedTuple

import keras

from keras_bert_impl.ops.variants import choose, find_prepared


class Int8Rows(NamedTuple):
    """A matrix of embeddings as integers: row ``i`` is ``integers[i] * scale[i]``.

    Attributes:
        integers: int8 ``[rows, size]``.
        scale: float32 ``[rows]``.
    """

    integers: Any
    scale: Any


def embed(layer: keras.layers.Embedding, ids: Any) -> Any:
    """Looks up embeddings: int ``[...]`` to ``[..., size]``."""
    return choose(_embed, {"int8": _int8_embed})(layer, ids)


def _embed(layer: keras.layers.Embedding, ids: Any) -> Any:
    return layer(ids)


def _int8_embed(layer: keras.layers.Embedding, ids: Any) -> Any:
    rows = find_prepared(layer)
    if rows is None:
        return layer(ids)
    import tensorflow as tf

    values = tf.cast(tf.gather(rows.integers.value(), ids), tf.float32)
    return tf.cast(values * tf.gather(rows.scale.value(), ids)[..., None], layer.compute_dtype)
