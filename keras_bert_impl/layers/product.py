"""The product that makes logits, whose sums are long and whose terms are large."""

from typing import Any

import keras
from keras import ops

# How many products torch adds up in a row on CPU. TensorFlow adds up to 384, and its logits of a vocabulary came out
# twice as far from float64, those of the next sentence three times.
_BLOCK = 128


def blocked_matmul(x: Any, kernel: Any) -> Any:
    """The matrix product, in float32 by blocks of the inner size, whose rounding errors stay small.

    Args:
        x: ``[..., size]``.
        kernel: ``[size, units]``.

    Returns:
        ``[..., units]``.
    """
    exact = keras.backend.standardize_dtype(x.dtype) == "float32"
    cuts = list(range(_BLOCK, x.shape[-1], _BLOCK)) if exact else []
    if not cuts:
        return ops.matmul(x, kernel)
    parts = zip(ops.split(x, cuts, axis=-1), ops.split(kernel, cuts, axis=0), strict=True)
    first, *others = [ops.matmul(part, rows) for part, rows in parts]
    return sum(others, first)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class LogitsDense(keras.layers.Dense):
    """``keras.layers.Dense`` without activation, by ``blocked_matmul``.

    >>> import numpy as np
    >>> tuple(LogitsDense(2)(np.ones((13, 256), "float32")).shape)
    (13, 2)
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """See the class."""
        logits = blocked_matmul(inputs, ops.convert_to_tensor(self.kernel))
        return logits if self.bias is None else logits + self.bias
