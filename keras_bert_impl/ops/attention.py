"""Multi-head self-attention (https://arxiv.org/abs/1706.03762, section 3.2).

Dimensions: B batch, T tokens, Q queries (T, or 1 for the first token of each row only), N heads, S size of a head,
H = N * S hidden size.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_impl.ops.dense import dense
from keras_bert_impl.ops.rematerialization import recompute_in_backward
from keras_bert_impl.ops.variants import choose

Projections = Sequence[keras.layers.Dense]


def self_attention(hidden_states: Any, attention_bias: Any, query_states: Any, **options: Any) -> tuple[Any, Any]:
    """Projects tokens to queries, keys and values, and lets each query attend to all keys; see ``BertSelfAttention``.

    The options are ``projections``, the dense layers of query, key and value; ``num_heads``; ``dropout``, the layer for
    the probabilities; ``output_attentions``; ``training``. Returns the context, and float32 probabilities
    ``[B, N, Q, T]``, or None from a fused kernel.
    """
    compute = choose(_self_attention, {"inference": _merged_self_attention})
    return compute(hidden_states, attention_bias, query_states, **options)


def _self_attention(
    hidden_states: Any, attention_bias: Any, query_states: Any, projections: Projections, num_heads: int, **options: Any
) -> tuple[Any, Any]:
    if len(hidden_states.shape) == 3:
        batch, length = ops.shape(hidden_states)[:2]
    else:
        batch, length = ops.shape(attention_bias)[0], ops.shape(attention_bias)[3]
    hidden_size = hidden_states.shape[-1]
    asking, queries = (hidden_states, length) if query_states is None else (query_states, 1)

    def project(layer: keras.layers.Dense, states: Any, tokens: Any) -> Any:
        return ops.reshape(dense(layer, states), (batch, tokens, num_heads, hidden_size // num_heads))

    flat = ops.reshape(hidden_states, (-1, hidden_size))  # [B * T, H]: TensorFlow fuses dense layers on rank 2 only.
    query = project(projections[0], ops.reshape(asking, (-1, hidden_size)), queries)  # [B, Q, N, S]
    key, value = project(projections[1], flat, length), project(projections[2], flat, length)  # [B, T, N, S]
    attend = choose(_attend, {"jax": _attend_fused, "jax training": _attend_fused}, training=options["training"])
    context, probabilities = attend(query, key, value, attention_bias, **options)
    return ops.reshape(context, ops.shape(asking)), probabilities


def _attend(
    query: Any, key: Any, value: Any, bias: Any, *, dropout: keras.layers.Dropout, training: Any, **_: Any
) -> tuple[Any, Any]:
    """Scaled dot-product attention as 4-D products with one additive bias: the form that TensorFlow fuses on CPU."""
    query = _transpose(query, (0, 2, 1, 3))  # [B, N, Q, S]
    key = _transpose(key, (0, 2, 3, 1))  # [B, N, S, T]
    value = _transpose(value, (0, 2, 1, 3))  # [B, N, T, S]
    scores = ops.matmul(query, key) * (1 / math.sqrt(query.shape[-1]))  # [B, N, Q, T]
    if bias is not None:
        scores = scores + bias
    probabilities = ops.softmax(ops.cast(scores, "float32"))
    variants = {"tensorflow training": _drop_and_save_mask}
    multiply = choose(_drop_and_multiply, variants, training=training and dropout.rate > 0)
    context = multiply(dropout, ops.cast(probabilities, value.dtype), value)
    return _transpose(context, (0, 2, 1, 3)), probabilities  # [B, Q, N, S]


def _transpose(x: Any, axes: Sequence[int]) -> Any:
    return choose(ops.transpose, {"fused": _transpose_by_einsum})(x, axes)


def _transpose_by_einsum(x: Any, axes: Sequence[int]) -> Any:
    """Without oneDNN, which takes five times as long for a single sentence, because it wakes other threads."""
    import tensorflow as tf

    names = "abcde"[: len(axes)]
    return tf.einsum(f"{names}->{''.join(names[axis] for axis in axes)}", x)


def _attend_fused(query: Any, key: Any, value: Any, bias: Any, **options: Any) -> tuple[Any, Any]:
    """Keras' fused attention, cuDNN's on GPUs, if nothing is dropped and the probabilities are not needed."""
    drops = options["training"] and options["dropout"].rate > 0
    # cuDNN's fused attention has no gradient for odd lengths.
    is_even = all(isinstance(length, int) and length % 2 == 0 for length in (query.shape[1], key.shape[1]))
    if drops or options["output_attentions"] or not is_even:
        return _attend(query, key, value, bias, **options)
    if bias is not None:  # cuDNN needs one row of the bias per query.
        bias = ops.broadcast_to(bias, (ops.shape(query)[0], 1, query.shape[1], key.shape[1]))
    return ops.dot_product_attention(query, key, value, bias=bias), None


def _drop_and_multiply(dropout: keras.layers.Dropout, probabilities: Any, value: Any) -> Any:
    return ops.matmul(dropout(probabilities), value)


def _drop_and_save_mask(dropout: keras.layers.Dropout, probabilities: Any, value: Any) -> Any:
    """``_drop_and_multiply`` with a custom gradient that saves the dropout mask instead of the dropped probabilities.

    TensorFlow saves both; the dropped probabilities are 5 % of the memory that BERT-base saves for the gradient.
    """
    import tensorflow as tf

    kept_fraction, zero = 1 - dropout.rate, ops.zeros((), probabilities.dtype)
    draw = keras.random.uniform(ops.shape(probabilities), dtype=probabilities.dtype, seed=dropout.seed_generator)
    mask = draw < kept_fraction

    @ops.custom_gradient
    def multiply(probabilities: Any, value: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            upstream /= kept_fraction
            dropped = ops.where(mask, recompute_in_backward(probabilities, upstream), zero)
            probabilities_gradient = ops.where(mask, tf.matmul(upstream, value, transpose_b=True), zero)
            return probabilities_gradient, tf.matmul(dropped, upstream, transpose_a=True)

        # Scale `value`: it is smaller than `probabilities`.
        return ops.matmul(ops.where(mask, probabilities, zero), value / kept_fraction), gradient

    return multiply(probabilities, value)


def _merged_self_attention(
    hidden_states: Any, attention_bias: Any, query_states: Any, projections: Projections, num_heads: int, **_: Any
) -> tuple[Any, Any]:
    """One product for query, key and value on TensorFlow, with the weights that `merge_projections` prepared."""
    import tensorflow as tf

    hidden_size = hidden_states.shape[-1]
    batch, length = tf.shape(attention_bias)[0], tf.shape(attention_bias)[3]
    projected = dense(projections[0], tf.reshape(hidden_states, [-1, hidden_size]))
    projected = tf.reshape(projected, tf.stack([batch, length, 3, num_heads, hidden_size // num_heads]))
    query, key, value = tf.unstack(_transpose(projected, (2, 0, 3, 1, 4)))  # [B, N, T, S]
    query = query if query_states is None else query[:, :, :1]
    scores = tf.matmul(query, key, transpose_b=True) + attention_bias  # [B, N, Q, T]
    probabilities = tf.nn.softmax(tf.cast(scores, tf.float32))
    context = _transpose(tf.matmul(tf.cast(probabilities, value.dtype), value), (0, 2, 1, 3))
    return tf.reshape(context, tf.shape(hidden_states if query_states is None else query_states)), probabilities


def merge_projections(projections: Projections, *, num_heads: int) -> list[np.ndarray]:
    """Concatenates the weights of query, key and value to a kernel ``[H, 3 * H]`` and a bias ``[3 * H]``.

    The weights of the query are scaled by ``1 / sqrt(S)``.
    """
    scales = (1 / math.sqrt(projections[0].units // num_heads), 1, 1)
    merged = []
    for weights in ([layer.kernel for layer in projections], [layer.bias for layer in projections]):
        arrays = [ops.convert_to_numpy(weight) for weight in weights]
        scaled = [(a * np.float32(scale)).astype(a.dtype) for a, scale in zip(arrays, scales, strict=True)]
        merged.append(np.concatenate(scaled, axis=-1))
    return merged
