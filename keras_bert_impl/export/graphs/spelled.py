"""The forward pass of a model for inference alone, with some layers spelled otherwise.

The layers of this package are spelled for training, on three backends. For the same numbers a runtime may be faster
with other operations (one product for query, key and value), or know a layer only in a certain form.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_impl.layers import BertIntermediate, BertLayerNorm, BertSelfAttention

# Makes a variable of an array; it has ``value()``, as TensorFlow's own.
Store = Callable[[np.ndarray], Any]
# For a class of layers: what makes a function that stands for a layer's ``call``.
Spellings = Mapping[type, Callable[[Any, Store], Callable[..., Any]]]


def calls(model: keras.Model, spellings: Spellings, store: Store = tf.Variable) -> list[tuple[Any, Callable[..., Any]]]:
    """The layers of a model that are spelled otherwise, each with what stands for its ``call``."""
    layers = [layer for layer in model._flatten_layers() if type(layer) in spellings]
    return [(layer, spellings[type(layer)](layer, store)) for layer in layers]


@contextlib.contextmanager
def calling(others: list[tuple[Any, Callable[..., Any]]]) -> Iterator[None]:
    """Lets layers be called by other functions than their classes'."""
    for layer, call in others:
        layer.call = call
    try:
        yield
    finally:
        for layer, _ in others:
            del layer.call


def _attention(layer: BertSelfAttention, store: Store) -> Callable[..., Any]:
    """One product for query, key and value, with the queries scaled beforehand."""
    dense = (layer.query, layer.key, layer.value)
    heads, size = layer.num_attention_heads, layer.hidden_size // layer.num_attention_heads
    scales = (1 / math.sqrt(size), 1, 1)
    kernel, bias = (
        store(np.concatenate([_scaled(*pair) for pair in zip(weights, scales, strict=True)], axis=-1))
        for weights in ([part.kernel for part in dense], [part.bias for part in dense])
    )

    def call(
        hidden_states: Any,
        attention_bias: Any,
        query_states: Any = None,
        output_attentions: bool = False,
        training: bool | None = None,
    ) -> Any:
        batch, length = tf.shape(attention_bias)[0], tf.shape(attention_bias)[3]
        flat = tf.reshape(hidden_states, [-1, layer.hidden_size])
        projected = tf.nn.bias_add(tf.matmul(flat, kernel.value()), bias.value())
        projected = tf.reshape(projected, tf.stack([batch, length, 3, heads, size]))
        query, key, value = tf.unstack(tf.transpose(projected, [2, 0, 3, 1, 4]))  # [batch, heads, length, size]
        # One token of a row asks: in these models always the first.
        query = query if query_states is None else query[:, :, :1]
        scores = tf.matmul(query, key, transpose_b=True) + attention_bias
        attentions = tf.nn.softmax(tf.cast(scores, tf.float32))
        context = tf.transpose(tf.matmul(tf.cast(attentions, value.dtype), value), [0, 2, 1, 3])
        context = tf.reshape(context, tf.shape(hidden_states if query_states is None else query_states))
        return (context, attentions) if output_attentions else context

    return call


def _scaled(weight: Any, scale: float) -> np.ndarray:
    values = keras.ops.convert_to_numpy(weight)
    return (values * np.float32(scale)).astype(values.dtype)


def _layer_norm(layer: BertLayerNorm, _: Store) -> Callable[..., Any]:
    """In the form in which ONNX Runtime and OpenVINO know a layer norm."""

    def call(inputs: Any, training: bool | None = None) -> Any:
        difference = inputs - tf.reduce_mean(inputs, axis=[-1], keepdims=True)
        variance = tf.reduce_mean(tf.pow(difference, 2.0), axis=[-1], keepdims=True)
        return difference / tf.sqrt(variance + layer.epsilon) * layer.gamma + layer.beta

    return call


def _intermediate(layer: BertIntermediate, _: Store) -> Callable[..., Any]:
    """GELU in the form in which converters know it."""

    def call(hidden_states: Any) -> Any:
        if layer.hidden_act != "gelu":
            return BertIntermediate.call(layer, hidden_states)
        x = layer.dense(hidden_states)
        return x * 0.5 * (1.0 + tf.math.erf(x / math.sqrt(2)))

    return call


# What TensorFlow is fastest with, and what converters to other runtimes know.
TENSORFLOW: Spellings = {BertSelfAttention: _attention}
OTHERS: Spellings = {BertIntermediate: _intermediate, BertLayerNorm: _layer_norm}
