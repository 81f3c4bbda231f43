"""Conversion between float32 and the 16-bit dtypes of weights files."""

import ml_dtypes
import numpy as np

from keras_bert_impl.errors import InputError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_16_BIT = (BFLOAT16, np.dtype(np.float16))
# The dtypes that weights can be written in.
FILE_DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": BFLOAT16}


def to_float32(array: np.ndarray) -> np.ndarray:
    """Converts float16 and bfloat16 arrays to float32; other arrays are returned as they are."""
    return array.astype(np.float32) if array.dtype in _16_BIT else array


def cast_checked(array: np.ndarray, dtype: str, *, name: str) -> np.ndarray:
    """Casts an array to one of `FILE_DTYPES`.

    Args:
        array: the array.
        dtype: the name of the dtype.
        name: the name of the array, for messages.

    Raises:
        InputError: a number is too large for the dtype.
    """
    with np.errstate(over="ignore"):
        result = array.astype(FILE_DTYPES[dtype])
    if not np.isfinite(result.astype(np.float32)).all() and np.isfinite(array).all():
        raise InputError(f"{name} contains {np.abs(array).max():.3g}, which is too large for {dtype}. Use bfloat16.")
    return result
