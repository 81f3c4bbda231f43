"""Weights stored as 8-bit integers."""

import uuid
from typing import Any

import numpy as np
import tensorflow as tf

_LARGEST = 127
# Smaller weights are kept in float32.
_MIN_SIZE = 1 << 12


class Int8Weight(tf.Module):
    """A matrix stored as integers with a scale per column or row; it is converted to float32 once, when it is loaded.

    The export is small, and inference is as fast as in float32.

    Args:
        values: float ``[rows, columns]``.
        axis: the axis over which the maximum is taken: 0 gives one scale per column, for kernels; 1 gives one per row,
            for embeddings.
    """

    def __init__(self, values: np.ndarray, axis: int) -> None:
        super().__init__()
        scale = np.maximum(np.abs(values).max(axis, keepdims=True), np.finfo(np.float32).tiny) / _LARGEST
        self.integers = tf.Variable(np.rint(values / scale).astype(np.int8), trainable=False)
        self.scale = tf.Variable(scale.astype(np.float32), trainable=False)
        self.loaded = _Float32Weight(self.integers, self.scale)

    def value(self) -> Any:
        """Returns the matrix in float32."""
        values = tf.raw_ops.ReadVariableOp(resource=self.loaded.resource_handle, dtype=tf.float32)
        return tf.ensure_shape(values, self.integers.shape)


class _Float32Weight(tf.saved_model.experimental.TrackableResource):
    """The float32 variable that is computed from the integers when an export is loaded."""

    def __init__(self, integers: tf.Variable, scale: tf.Variable) -> None:
        super().__init__()
        self._packed = integers, scale
        # The graph refers to the handle by this name. The variable is never destroyed, because two loaded copies of an
        # export share it.
        self._shared_name = f"int8_weight_{uuid.uuid4().hex}"

    def _create_resource(self) -> Any:
        shape = self._packed[0].shape
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=shape, shared_name=self._shared_name)

    def _initialize(self) -> None:
        integers, scale = self._packed
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=tf.cast(integers, tf.float32) * scale)


def store(values: np.ndarray, axis: int = 0) -> Any:
    """Returns a variable; large matrices are stored as integers."""
    return Int8Weight(values, axis) if values.ndim == 2 and values.size >= _MIN_SIZE else tf.Variable(values)
