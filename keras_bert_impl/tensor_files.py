"""Reads and writes safetensors files; no other module depends on the format.

A safetensors file consists of eight bytes with the length of its header, the header (JSON: dtype, shape and position
of each tensor, and texts as metadata), and the tensors' bytes. Reading executes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import atomic_write, map_file, write_chunks

# The dtypes that files may have, under the names of the format.
DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
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
_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class TensorFile:
    """The content of a safetensors file.

    Attributes:
        tensors: read-only arrays by name, in the file's dtypes. They are views of the mapped file: a page takes
            memory only when it is read.
        metadata: texts by name.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]


def read_safetensors(path: Path, *, advice: str = "Download it again.") -> TensorFile:
    """Maps a safetensors file into memory.

    Args:
        path: the file.
        advice: what the user should do about a damaged file, for messages.

    Raises:
        InputError: the file is empty or truncated, its header contradicts its content, it contains a name twice, or a
            dtype is not supported.
        OSError: the file cannot be opened.
    """
    mapped = map_file(path, advice=advice)
    try:
        # The library checks the header's length and JSON, and that the tensors fill the file without gap or overlap.
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise InputError(f"{path} is truncated or damaged: {error}. {advice}") from error
    start = 8 + int.from_bytes(mapped[:8], "little")
    # The library silently takes the last of two tensors with the same name.
    header = json.loads(mapped[8:start], object_pairs_hook=lambda pairs: _check_unique_keys(pairs, path, advice))
    metadata = header.pop("__metadata__", None) or {}
    tensors = {
        name: np.ndarray(
            entry["shape"],
            dtype=_find_dtype(entry["dtype"], name=name, path=path),
            buffer=memoryview(mapped),
            offset=start + entry["data_offsets"][0],
        )
        for name, entry in header.items()
    }
    return TensorFile(tensors, metadata)


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], *, metadata: dict[str, str]) -> None:
    """Writes a safetensors file completely or not at all.

    The library's own writer passes the complete file to the system at once, which doubles the memory; see
    `write_chunks`.

    Args:
        path: the file to write.
        tensors: arrays by name.
        metadata: texts by name, for the header.

    Raises:
        OSError: the file cannot be written.
    """
    # Large dtypes first, so that each tensor starts at a multiple of its item size; then by name, as the library does.
    arrays = dict(sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _DTYPE_NAMES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    try:
        with atomic_write(path) as temporary:
            write_chunks(temporary, [len(text).to_bytes(8, "little"), text, *map(_view_bytes, arrays.values())])
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}.") from error


def to_safetensors(tensors: Mapping[str, np.ndarray], *, metadata: dict[str, str]) -> bytes:
    """Serializes tensors as a safetensors file, for file systems that need another library to write.

    Args:
        tensors: arrays by name.
        metadata: texts by name, for the header.
    """
    return save(dict(tensors), metadata=metadata)


def _check_unique_keys(pairs: list[tuple[str, Any]], path: Path, advice: str) -> dict[str, Any]:
    """Returns the JSON object of ``pairs``; raises ``InputError`` if a key occurs twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in value if keys.count(key) > 1)
        raise InputError(f"{path} is damaged: it contains {repeated!r} twice. {advice}")
    return value


def _find_dtype(dtype_name: str, *, name: str, path: Path) -> np.dtype:
    """Returns the NumPy dtype of the format's ``dtype_name``."""
    if dtype_name not in DTYPES:
        raise InputError(
            f"{path}: the tensor {name!r} is {dtype_name}; supported are {', '.join(DTYPES)}. Convert it to F32 first."
        )
    return DTYPES[dtype_name]


def _view_bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
