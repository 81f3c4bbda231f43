"""Writes tensors as safetensors, in one file or in shards as transformers cuts them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.checkpoints.safetensors_file import DTYPES
from keras_bert_impl.files import replacing, to_json, write_pieces, write_text

MAX_SHARD_SIZE = 5_000_000_000
# transformers refuses a file that does not name its format.
_FORMAT = {"format": "pt"}
_CODES = {dtype: code for code, dtype in DTYPES.items()}


def write_tensors(path: Path, tensors: dict[str, np.ndarray], max_shard_size: int = MAX_SHARD_SIZE) -> None:
    """Writes ``model.safetensors``, or ``model-00001-of-0000N.safetensors`` and ``model.safetensors.index.json``.

    Args:
        path: the name of the whole file, ``…/model.safetensors``; shards and index are named after it.
        tensors: arrays by name; their order decides what shares a shard.
        max_shard_size: bytes of tensors in one file; a single larger tensor gets a file of its own.

    Raises:
        OSError: a file cannot be written. The one being written is removed.
    """
    shards = _shards(tensors, max_shard_size)
    if len(shards) == 1:
        write_safetensors(path, shards[0], metadata=_FORMAT)
        return
    names = [f"{path.stem}-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        write_safetensors(path.with_name(name), shard, metadata=_FORMAT)
    # Last, so that an index never names a file that is not there.
    index = {
        "metadata": {"total_size": sum(array.nbytes for array in tensors.values())},
        "weight_map": {key: name for name, shard in zip(names, shards, strict=True) for key in shard},
    }
    write_text(path.with_name(f"{path.name}.index.json"), to_json(index))


def _shards(tensors: dict[str, np.ndarray], max_size: int) -> list[dict[str, np.ndarray]]:
    """Cuts ``tensors``, in their order, into parts of at most ``max_size`` bytes or one tensor."""
    shards: list[dict[str, np.ndarray]] = [{}]
    size = 0
    for name, array in tensors.items():
        if shards[-1] and size + array.nbytes > max_size:
            shards.append({})
            size = 0
        shards[-1][name] = array
        size += array.nbytes
    return shards


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], *, metadata: dict[str, str]) -> None:
    """Writes one file, whole or not at all.

    The library's own writer leaves all of it to the system at once, see `write_pieces`.

    Args:
        path: where to.
        tensors: arrays by name.
        metadata: texts by name, for its head.

    Raises:
        OSError: it cannot be written.
    """
    # Large numbers first, so that each lies at a multiple of its size; then by name, as the library has it.
    arrays = dict(sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
    head: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        head[name] = {"dtype": _CODES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    try:
        with replacing(path) as temporary:
            write_pieces(temporary, [len(text).to_bytes(8, "little"), text, *map(_bytes_of, arrays.values())])
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}.") from error


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
