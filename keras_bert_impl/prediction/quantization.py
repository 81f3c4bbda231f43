"""Quantized vectors: int8 by ranges, and binary by sign (https://huggingface.co/blog/embedding-quantization)."""

import warnings
from typing import Any

import numpy as np

from keras_bert_impl.errors import InputError, join_names

# The precisions of vectors, with the dtype of each.
PRECISIONS = {"float32": np.float32, "int8": np.int8, "uint8": np.uint8, "binary": np.int8, "ubinary": np.uint8}
_BY_RANGES = ("int8", "uint8")
# Ranges of fewer vectors are not reliable.
_FEW = 100


def quantize_embeddings(
    embeddings: Any, precision: str, ranges: Any = None, calibration_embeddings: Any = None
) -> np.ndarray:
    """Quantizes vectors, with the results of sentence-transformers.

    ``int8`` and ``uint8`` divide the range of each dimension into 256 steps. ``binary`` and ``ubinary`` keep one bit
    per dimension, whether it is above 0, and pack 8 bits in a number, the first one highest; ``binary`` subtracts 128.

    Args:
        embeddings: float vectors ``[rows, dimensions]``, or one vector ``[dimensions]``.
        precision: ``float32``, ``int8``, ``uint8``, ``binary`` or ``ubinary``.
        ranges: for ``int8`` and ``uint8``, minimum and maximum of each dimension ``[2, dimensions]``; values outside
            get the first or last step. None: those of ``calibration_embeddings``.
        calibration_embeddings: vectors ``[rows, dimensions]`` whose ranges are used; None: ``embeddings``.

    Returns:
        ``[rows, dimensions]``, or ``[rows, ceil(dimensions / 8)]`` of packed bits, int8 or uint8; one vector gives one
        vector.

    Raises:
        InputError: the precision is unknown, the vectors are not float, or the ranges would be those of one vector.

    Warns:
        UserWarning: the ranges are those of fewer than 100 vectors.

    >>> vectors = np.array([[0.5, -1.0, 0.0], [-0.5, 0.75, 0.25]], np.float32)
    >>> quantize_embeddings(vectors, "int8", ranges=[[-1, -1, -1], [1, 1, 1]])
    array([[  63, -128,   -1],
           [ -65,   95,   31]], dtype=int8)
    >>> quantize_embeddings(vectors, "ubinary")
    array([[128],
           [ 96]], dtype=uint8)
    """
    check_precision(precision, PRECISIONS)
    vectors = np.asarray(embeddings)
    if not np.issubdtype(vectors.dtype, np.floating):
        raise InputError(f"the vectors are {vectors.dtype}; float vectors were expected, not quantized ones.")
    if precision == "float32":
        return vectors.astype(np.float32, copy=False)
    if precision in _BY_RANGES:
        if ranges is None and vectors.size == 0:
            return vectors.astype(PRECISIONS[precision])
        if ranges is None:
            ranges = compute_ranges(vectors if calibration_embeddings is None else calibration_embeddings, precision)
        starts, ends = np.asarray(ranges, np.float32)
        steps = (ends - starts) / 255
        steps = np.where(steps == 0, np.float32(1), steps)
        levels = np.clip(np.floor((vectors - starts) / steps), 0, 255)
        return levels.astype(np.uint8) if precision == "uint8" else (levels - 128).astype(np.int8)
    bits = np.packbits(vectors > 0, axis=-1)
    return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)


def needs_ranges(precision: str) -> bool:
    """Whether a precision is relative to the range of each dimension."""
    return precision in _BY_RANGES


def compute_ranges(vectors: Any, precision: str = "int8") -> np.ndarray:
    """Computes the minimum and maximum of each dimension of vectors ``[rows, dimensions]``: ``[2, dimensions]``.

    Args:
        vectors: the vectors.
        precision: what the ranges are for, for messages.

    Raises:
        InputError: there is only one vector.

    Warns:
        UserWarning: there are fewer than 100 vectors.

    >>> compute_ranges(np.arange(303.0).reshape(101, 3))
    array([[  0.,   1.,   2.],
           [300., 301., 302.]])
    """
    vectors = np.asarray(vectors)
    check_number_of_vectors(len(vectors) if vectors.ndim == 2 else 1, precision)
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


def check_number_of_vectors(count: int, precision: str) -> None:
    """Checks that there are enough vectors for ranges; see `compute_ranges`."""
    if count < 2:
        raise InputError(
            f"{precision} needs the ranges of many vectors, and there is one. Use float32 or binary, or compute the "
            "vectors of many texts together."
        )
    if count < _FEW:
        warnings.warn(
            f"the ranges for {precision} come from {count} vectors only; at least {_FEW} were expected. Use more "
            "vectors, or float32 or binary.",
            stacklevel=4,
        )


def check_precision(precision: Any, precisions: Any) -> None:
    """Raises ``InputError`` if ``precision`` is not one of ``precisions``."""
    if precision not in precisions:
        raise InputError(f"precision is {precision!r}; {join_names(precisions)} was expected.")
