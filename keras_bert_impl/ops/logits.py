"""Matrix product for logits, summed in blocks to limit float32 rounding error."""

from typing import Any

import keras
from keras import ops

# The number of consecutive products that torch sums on CPU. TensorFlow sums 384, which increased the error to float64
# by a factor of 2 for the logits of a vocabulary, and of 3 for those of the next sentence.
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
