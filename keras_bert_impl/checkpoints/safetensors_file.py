"""Reads the safetensors format: the safetensors library judges the file, NumPy maps its tensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from keras_bert_impl.checkpoints.arrays import BFLOAT16, map_file
from keras_bert_impl.errors import InputError

DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a ``.safetensors`` file, mapped and read-only, in the file's own dtypes.

    Raises:
        InputError: the file is truncated, its header lies, a name stands twice, or a dtype is not supported.
    """
    mapped = map_file(path)
    try:
        # Checks the header's length and JSON, and that the tensors' shapes and offsets fill the file without overlap.
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise InputError(f"{path} is truncated or damaged: {error}. Download it again.") from error
    start = 8 + int.from_bytes(mapped[:8], "little")
    # The library silently takes the last of two tensors of the same name.
    header = json.loads(mapped[8:start], object_pairs_hook=lambda pairs: _unique(pairs, path=path))
    header.pop("__metadata__", None)
    return {
        name: np.ndarray(
            entry["shape"],
            dtype=_dtype(entry["dtype"], name=name, path=path),
            buffer=memoryview(mapped),
            offset=start + entry["data_offsets"][0],
        )
        for name, entry in header.items()
    }


def _unique(pairs: list[tuple[str, Any]], *, path: Path) -> dict[str, Any]:
    """The JSON object of ``pairs``; an ``InputError`` if a name stands twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in value if names.count(name) > 1)
        raise InputError(f"{path} holds {twice!r} twice, and cannot be trusted. Download it again.")
    return value


def _dtype(code: str, *, name: str, path: Path) -> np.dtype:
    """The NumPy dtype that a header's ``code`` means."""
    if code not in DTYPES:
        raise InputError(
            f"{path}: the tensor {name!r} is {code}; supported are {', '.join(DTYPES)}. Convert it to F32 first."
        )
    return DTYPES[code]
