"""Matrix product for logits, summed in blocks to limit float32 rounding error."""

from typing import Any

import keras
from keras import ops

# How many products torch adds up in a row on CPU. TensorFlow adds up 384; its logits of a vocabulary then came out
# twice as far from float64, and those of the next sentence three times.
_BLOCK = 128


def matmul_in_blocks(x: Any, kernel: Any) -> Any:
    """Multiplies ``x`` ``[..., size]`` by ``kernel`` ``[size, units]``; in float32 as a sum over blocks of ``size``."""
    is_float32 = keras.backend.standardize_dtype(x.dtype) == "float32"
    cuts = list(range(_BLOCK, x.shape[-1], _BLOCK)) if is_float32 else []
    if not cuts:
        return ops.matmul(x, kernel)
    blocks = zip(ops.split(x, cuts, axis=-1), ops.split(kernel, cuts, axis=0), strict=True)
    first, *others = [ops.matmul(columns, rows) for columns, rows in blocks]
    return sum(others, first)
