"""A dense layer together with what follows it: an activation, or dropout and a residual connection."""

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_bert_impl.ops.activations import ACTIVATIONS, FUSED_ACTIVATIONS
from keras_bert_impl.ops.onednn import can_run, emit, is_enabled
from keras_bert_impl.ops.variants import choose, find_prepared


class Int8Kernel(NamedTuple):
    """The weights of a dense layer for products in integers: ``(x * scale + shift) @ kernel + bias``.

    Attributes:
        integers: int8 ``[inputs, outputs]``.
        largest: float32 ``[outputs]``, the absolute value of each output's weights that 127 stands for.
        bias: float32 ``[outputs]``.
        scale: float32 ``[inputs]``, which makes the ranges of the inputs similar; the kernel is divided by it.
        shift: float32 ``[inputs]``, which makes all inputs positive, so that they have 256 levels; None: they have a
            sign. The bias compensates for it.
    """

    integers: Any
    largest: Any
    bias: Any
    scale: Any
    shift: Any = None


def dense(
    layer: keras.layers.Dense, x: Any, *, activation: Any = None, residual: Any = None, dropout: Any = None
) -> Any:
    """Applies a dense layer, then an activation, or dropout and a residual connection.

    Args:
        layer: a layer without activation. For exports its prepared weights are used: a kernel and a
            bias, or an `Int8Kernel`.
        x: ``[..., inputs]``.
        activation: a function, such as `keras_bert_impl.ops.activations.gelu`; None: the identity.
        residual: ``[..., outputs]``, what is added at the end; None: nothing.
        dropout: the dropout layer before the addition; needed for a residual.

    Returns:
        ``[..., outputs]``.
    """
    variants = {
        "calibration": _recording_dense,
        "int8": _int8_dense,
        "fused": _fused_dense,
        "inference": _inference_dense,
    }
    return choose(_dense, variants)(layer, x, activation, residual, dropout)


def _dense(layer: keras.layers.Dense, x: Any, activation: Any, residual: Any, dropout: Any) -> Any:
    outputs = layer(x)
    if activation is not None:
        outputs = activation(outputs)
    return outputs if residual is None else dropout(outputs) + residual


def _inference_dense(layer: keras.layers.Dense, x: Any, activation: Any, residual: Any, dropout: Any) -> Any:
    """Without dropout, and with the prepared weights if there are some; TensorFlow fuses a part of it."""
    import tensorflow as tf

    kernel, bias = _get_weights(layer, x.dtype)
    outputs = tf.nn.bias_add(ops.matmul(x, kernel), bias)
    if activation is not None:
        outputs = activation(outputs)
    return outputs if residual is None else outputs + residual


def _get_weights(layer: keras.layers.Dense, dtype: Any) -> tuple[Any, Any]:
    prepared = find_prepared(layer)
    weights = [weight.value() for weight in prepared] if prepared else [layer.kernel, layer.bias]
    kernel, bias = (ops.cast(ops.convert_to_tensor(weight), dtype) for weight in weights)
    return kernel, bias


def _fused_dense(layer: keras.layers.Dense, x: Any, activation: Any, residual: Any, dropout: Any) -> Any:
    """One operation of oneDNN on TensorFlow, if this TensorFlow and this machine have it."""
    if len(x.shape) != 2 or not _has_fused_kernel(x.dtype):
        return _inference_dense(layer, x, activation, residual, dropout)
    return _emit_fused(x, *_get_weights(layer, x.dtype), activation, residual)


def _emit_fused(x: Any, kernel: Any, bias: Any, activation: Any, residual: Any) -> Any:
    fused, more, activation = _list_fused(activation, residual)
    inputs = [x, kernel, bias, *more]
    outputs = emit("_FusedMatMul", inputs, x.dtype, T=x.dtype, num_args=len(inputs) - 2, fused_ops=fused)
    outputs.set_shape([x.shape[0], kernel.shape[1]])
    return outputs if activation is None else activation(outputs)


@functools.cache
def _has_fused_kernel(dtype: Any) -> bool:
    """Whether this TensorFlow and this machine run the fused product in this dtype."""
    import tensorflow as tf

    if dtype not in (tf.float32, tf.bfloat16, tf.float16) or not is_enabled():
        return False

    def run(x: Any) -> Any:
        outputs = _emit_fused(x, x, x[0], ACTIVATIONS["gelu"], None)
        return _emit_fused(outputs, x, x[0], None, x)

    return can_run(run, np.ones((16, 16), dtype.as_numpy_dtype))


def _int8_dense(layer: keras.layers.Dense, x: Any, activation: Any, residual: Any, dropout: Any) -> Any:
    """In integers, if the weights were prepared as such; the activations get the range of the whole batch."""
    kernel = find_prepared(layer)
    if not isinstance(kernel, Int8Kernel):
        return _fused_dense(layer, x, activation, residual, dropout)
    return multiply_int8(x, kernel, activation=activation, residual=residual)


def multiply_int8(x: Any, kernel: Int8Kernel, *, activation: Any = None, residual: Any = None) -> Any:
    """Multiplies ``x`` ``[rows, inputs]`` by a kernel in integers, with results in the dtype of ``x``."""
    import tensorflow as tf

    dtype = x.dtype
    fused, more, activation = _list_fused(activation, residual)
    x = tf.cast(x, tf.float32) * kernel.scale.value()
    if kernel.shift is not None:
        x += kernel.shift.value()
    # The maximum of an empty batch is minus infinity.
    largest_x = tf.maximum(tf.reduce_max(tf.abs(x) if kernel.shift is None else x), np.float32(1e-6))
    integers, *x_range = tf.raw_ops.QuantizeV2(
        input=x,
        min_range=-largest_x if kernel.shift is None else tf.zeros([]),
        max_range=largest_x,
        T=tf.qint8 if kernel.shift is None else tf.quint8,
        mode="SCALED",
        narrow_range=kernel.shift is None,
        round_mode="HALF_TO_EVEN",
    )
    largest = kernel.largest.value()
    device = [integers, tf.bitcast(kernel.integers.value(), tf.qint8), kernel.bias.value(), *more]
    host = [*x_range, -largest, largest]
    outputs = emit(
        "_QuantizedMatMul",
        [*device, *host],
        dtype,
        Tdevice_inputs=[tensor.dtype for tensor in device],
        Thost_inputs=[tf.float32] * len(host),
        Tdevice_outputs=[dtype],
        Thost_outputs=[],
        T1=integers.dtype,
        T2=tf.qint8,
        Tbias=tf.float32,
        U=dtype if more else tf.float32,
        Tout=dtype,
        fused_ops=[*fused, "Dequantize"],
    )
    outputs.set_shape([x.shape[0], kernel.bias.shape[0]])
    return outputs if activation is None else activation(outputs)


@functools.cache
def has_int8_kernel() -> bool:
    """Whether this TensorFlow and this machine run the product in integers."""
    import tensorflow as tf

    kernel = Int8Kernel(*map(tf.Variable, (np.ones((16, 16), np.int8), *np.ones((4, 16), np.float32))))

    def run(x: Any) -> Any:
        return multiply_int8(x, kernel, activation=ACTIVATIONS["gelu"])

    return can_run(run, np.ones((2, 16), np.float32))


def _recording_dense(layer: keras.layers.Dense, x: Any, *arguments: Any) -> Any:
    """Calls the function that was prepared for the layer with its inputs."""
    find_prepared(layer)(ops.convert_to_numpy(x))
    return _dense(layer, x, *arguments)


def _list_fused(activation: Any, residual: Any) -> tuple[list[str], list[Any], Any]:
    """Returns the names of the operations after the product, their inputs, and an activation that is not among them."""
    name = FUSED_ACTIVATIONS.get(activation)
    names = ["BiasAdd", *([name] if name else []), *([] if residual is None else ["Add"])]
    return names, [] if residual is None else [residual], None if name else activation
