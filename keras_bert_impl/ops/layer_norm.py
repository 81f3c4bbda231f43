"""Layer normalization over the last axis (https://arxiv.org/abs/1607.06450), computed in float32."""

import functools
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.ops.onednn import can_run, emit
from keras_bert_impl.ops.rematerialization import recompute_in_backward
from keras_bert_impl.ops.variants import choose


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float, *, training: Any = False) -> Any:
    """Normalizes the vectors of ``x`` ``[..., size]``, scales by ``gamma`` ``[size]`` and adds ``beta`` ``[size]``."""
    variants = {
        "tensorflow training": _normalize_and_recompute,
        "portable": _portable_layer_norm,
        "fused": _fused_layer_norm,
    }
    return choose(_layer_norm, variants, training=training)(x, gamma, beta, epsilon)


def _layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    return ops.cast(ops.layer_normalization(x, gamma, beta, axis=-1, epsilon=epsilon), x.dtype)


def _normalize_and_recompute(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Saves only the input for the gradient; Keras saves a second array, 10 % of the memory that BERT-base saves."""

    @ops.custom_gradient
    def normalize(x: Any, gamma: Any, beta: Any) -> Any:
        mean, variance = ops.moments(ops.cast(x, "float32"), axes=-1, keepdims=True)
        scale = ops.rsqrt(variance + epsilon)

        def gradient(upstream: Any) -> Any:
            upstream = ops.cast(upstream, "float32")
            normalized = (ops.cast(recompute_in_backward(x, upstream), "float32") - mean) * scale
            others = tuple(range(len(x.shape) - 1))
            gamma_gradient, beta_gradient = ops.sum(upstream * normalized, axis=others), ops.sum(upstream, axis=others)
            upstream *= ops.cast(gamma, "float32")
            offset = ops.mean(upstream, axis=-1, keepdims=True)
            slope = ops.mean(upstream * normalized, axis=-1, keepdims=True)
            x_gradient = ops.cast(scale * (upstream - offset - normalized * slope), x.dtype)
            return x_gradient, ops.cast(gamma_gradient, gamma.dtype), ops.cast(beta_gradient, beta.dtype)

        factor = scale * ops.cast(gamma, "float32")
        result = ops.cast(x, "float32") * factor + (ops.cast(beta, "float32") - mean * factor)
        return ops.cast(result, x.dtype), gradient

    return normalize(x, ops.copy(gamma), ops.copy(beta))  # A custom gradient takes tensors, not variables.


def _portable_layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    axes = (-1,)  # OpenVINO fails on a scalar.
    difference = x - ops.mean(x, axis=axes, keepdims=True)
    variance = ops.mean(ops.power(difference, 2.0), axis=axes, keepdims=True)
    return difference / ops.sqrt(variance + epsilon) * gamma + beta


def _fused_layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """One operation of oneDNN on TensorFlow; the plain form, if this TensorFlow or this device does not have it."""
    if not _has_fused_kernel(x.dtype):
        return _layer_norm(x, gamma, beta, epsilon)
    return _emit_fused_layer_norm(x, gamma, beta, epsilon)


def _emit_fused_layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    inputs = [x, ops.cast(gamma, x.dtype), ops.cast(beta, x.dtype)]
    result = emit("_MklLayerNorm", inputs, x.dtype, T=x.dtype, epsilon=epsilon)
    result.set_shape(x.shape)
    return result


@functools.cache
def _has_fused_kernel(dtype: Any) -> bool:
    """Whether this TensorFlow and this machine run the operation in this dtype."""
    import tensorflow as tf

    if dtype not in (tf.float32, tf.bfloat16, tf.float16):
        return False

    def run(x: Any) -> Any:
        return _emit_fused_layer_norm(x, x[0], x[0], 1e-12)

    return can_run(run, np.ones((2, 384), dtype.as_numpy_dtype))
