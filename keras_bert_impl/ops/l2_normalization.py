"""L2 normalization over the last axis."""

from typing import Any

from keras import ops


def l2_normalize(vectors: Any) -> Any:
    """Divides vectors ``[..., dimensions]`` by their L2 norm, or by 1e-12 if the norm is less.

    A vector of zeros remains, and has a finite gradient: Keras' own function takes the square root of 0 in its
    gradient, which gives NaN.

    >>> [round(float(value), 2) for value in l2_normalize(ops.array([3.0, 4.0]))]
    [0.6, 0.8]
    """
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, 1e-24))
