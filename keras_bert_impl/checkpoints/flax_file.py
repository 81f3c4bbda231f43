"""Reads ``flax_model.msgpack``: nested maps of names, in MessagePack, with arrays as its extension type 1.

Reading executes nothing: every other extension type is refused.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import map_file
from keras_bert_impl.tensor_files import DTYPES

_ADVICE = "Copy or download it again."
_ARRAY = 1
_DTYPES = {dtype.name: dtype for dtype in DTYPES.values()}
# Flax splits arrays above one gigabyte, and writes a map with this key instead.
_CHUNKED = "__msgpack_chunked_array__"


def read_flax(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of a file of Flax, by their names joined with slashes; read-only, in the file's dtypes.

    Raises:
        InputError: the file is truncated or damaged, or contains something else than maps of arrays.
    """
    import msgpack

    def read_extension(code: int, data: bytes) -> np.ndarray:
        if code != _ARRAY:
            raise InputError(
                f"{path} contains the extension type {code}; arrays, of type {_ARRAY}, were expected. "
                "Save it again with save_pretrained."
            )
        return _read_array(msgpack.unpackb(data, raw=False), path)

    try:
        tree = msgpack.unpackb(
            map_file(path, advice=_ADVICE),
            raw=False,
            ext_hook=read_extension,
            object_pairs_hook=lambda pairs: _make_map(pairs, path),
        )
    except InputError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise InputError(f"{path} is truncated, damaged or not a file of Flax: {error}. {_ADVICE}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path} contains a {type(tree).__name__}; a map of arrays was expected. {_ADVICE}")
    # The state of a training script has the weights under this key, next to others.
    tree = tree["params"] if isinstance(tree.get("params"), dict) else tree
    tensors = dict(_list_arrays(tree, (), path))
    if not tensors:
        raise InputError(f"{path} contains no arrays. Name a file that save_pretrained wrote.")
    return tensors


def _make_map(pairs: list[tuple[Any, Any]], path: Path) -> dict[str, Any]:
    """Returns the map of ``pairs``, whose keys must be different names."""
    value = dict(pairs)
    if len(value) < len(pairs) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{path} is damaged: a map has a key twice, or one that is not a name. {_ADVICE}")
    return value


def _read_array(content: Any, path: Path) -> np.ndarray:
    """Returns the array of an extension: its shape, the name of its dtype, and its bytes."""
    match content:
        case [[*shape], str(name), bytes(data)] if all(type(length) is int and length >= 0 for length in shape):
            dtype = _DTYPES.get(name)
            if dtype is not None and math.prod(shape) * dtype.itemsize == len(data):
                return np.frombuffer(data, dtype).reshape(shape)
    raise InputError(f"{path} is damaged: an array's shape, dtype and bytes do not belong together. {_ADVICE}")


def _list_arrays(tree: dict[str, Any], parts: tuple[str, ...], path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name of each array in nested maps, and the array."""
    for key, value in tree.items():
        name = (*parts, key)
        if isinstance(value, dict):
            is_chunked = _CHUNKED in value
            yield from [("/".join(name), _join_chunks(value, path))] if is_chunked else _list_arrays(value, name, path)
        elif isinstance(value, np.ndarray):
            yield "/".join(name), value
        else:
            raise InputError(f"{path}: {'/'.join(name)} is a {type(value).__name__}; an array was expected. {_ADVICE}")


def _join_chunks(value: dict[str, Any], path: Path) -> np.ndarray:
    """Returns the array of a map with its shape and its chunks, each a map from ``0``, ``1`` … to a part."""
    match value:
        case {"shape": dict(shape), "chunks": dict(chunks)}:
            lengths, parts = ([part[str(i)] for i in range(len(part)) if str(i) in part] for part in (shape, chunks))
            if (
                all(type(length) is int and length >= 0 for length in lengths)
                and parts
                and all(isinstance(part, np.ndarray) and part.dtype == parts[0].dtype for part in parts)
                and math.prod(lengths) == sum(part.size for part in parts)
            ):
                return np.concatenate([part.reshape(-1) for part in parts]).reshape(lengths)
    raise InputError(f"{path} is damaged: the chunks of an array do not belong together. {_ADVICE}")
