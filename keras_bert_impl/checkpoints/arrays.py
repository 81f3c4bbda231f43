"""Conversion between float32 and the 16-bit dtypes of weights files."""

import ml_dtypes
import numpy as np

from keras_bert_impl.errors import InputError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_HALVES = (BFLOAT16, np.dtype(np.float16))
# What numbers can be written as.
FILE_DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": BFLOAT16}


def to_float32(array: np.ndarray) -> np.ndarray:
    """``array``, as float32 if it is float16 or bfloat16; anything else is returned as it is, not copied."""
    return array.astype(np.float32) if array.dtype in _HALVES else array


def cast_checked(array: np.ndarray, dtype: str, *, name: str) -> np.ndarray:
    """``array`` as one of `FILE_DTYPES`.

    Raises:
        InputError: ``dtype`` cannot hold a number; ``name`` begins the message.
    """
    with np.errstate(over="ignore"):
        result = array.astype(FILE_DTYPES[dtype])
    if not np.isfinite(result.astype(np.float32)).all() and np.isfinite(array).all():
        raise InputError(f"{name} holds {np.abs(array).max():.3g}, which is too large for {dtype}. Use bfloat16.")
    return result
