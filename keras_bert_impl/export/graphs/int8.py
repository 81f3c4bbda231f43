"""Weights that stand in an export as 8-bit integers."""

import uuid
from typing import Any

import numpy as np
import tensorflow as tf

_LARGEST = 127
# Smaller weights are not worth it.
_LEAST = 1 << 12


class Int8Weight(tf.Module):
    """A matrix that is kept as integers with a scale for each column or row, and becomes float32 once, on loading.

    So an export is small, and its answers take as long as those of float32.

    Args:
        values: float ``[rows, columns]``.
        axis: what shares a scale: 0 for each column, as in kernels; 1 for each row, as in embeddings.
    """

    def __init__(self, values: np.ndarray, axis: int) -> None:
        super().__init__()
        scale = np.maximum(np.abs(values).max(axis, keepdims=True), np.finfo(np.float32).tiny) / _LARGEST
        self.integers = tf.Variable(np.rint(values / scale).astype(np.int8), trainable=False)
        self.scale = tf.Variable(scale.astype(np.float32), trainable=False)
        self.loaded = _Loaded(self.integers, self.scale)

    def value(self) -> Any:
        """The matrix in float32."""
        values = tf.raw_ops.ReadVariableOp(resource=self.loaded.resource_handle, dtype=tf.float32)
        return tf.ensure_shape(values, self.integers.shape)


class _Loaded(tf.saved_model.experimental.TrackableResource):
    """The variable that the integers are unpacked into when an export is loaded."""

    def __init__(self, integers: tf.Variable, scale: tf.Variable) -> None:
        super().__init__()
        self._packed = integers, scale
        # The handle's name is all that the graph knows of it. It is never destroyed, because an export that is loaded
        # twice in a process shares it.
        self._shared_name = f"int8_weight_{uuid.uuid4().hex}"

    def _create_resource(self) -> Any:
        shape = self._packed[0].shape
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=shape, shared_name=self._shared_name)

    def _initialize(self) -> None:
        integers, scale = self._packed
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=tf.cast(integers, tf.float32) * scale)


def stored(values: np.ndarray, axis: int = 0) -> Any:
    """A variable, of integers where that is worth it."""
    return Int8Weight(values, axis) if values.ndim == 2 and values.size >= _LEAST else tf.Variable(values)
