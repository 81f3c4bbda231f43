"""Writes tensors as safetensors, in one file or in shards with the names that transformers uses."""

from pathlib import Path

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import to_json, write_text
from keras_bert_impl.tensor_files import DTYPES, write_safetensors

# The dtypes that weights can be written in.
FILE_DTYPES = {"float32": DTYPES["F32"], "float16": DTYPES["F16"], "bfloat16": DTYPES["BF16"]}
MAX_SHARD_SIZE = 5_000_000_000
# transformers requires this in a file's metadata.
_FORMAT = {"format": "pt"}


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


def write_tensors(path: Path, tensors: dict[str, np.ndarray], max_shard_size: int = MAX_SHARD_SIZE) -> None:
    """Writes ``model.safetensors``, or ``model-00001-of-0000N.safetensors`` and ``model.safetensors.index.json``.

    Args:
        path: the path of the single file, ``…/model.safetensors``; shards and index are named after it.
        tensors: arrays by name; consecutive ones share a shard.
        max_shard_size: the maximum bytes of tensors in one file; a single larger tensor gets a file of its own.

    Raises:
        OSError: a file cannot be written. The unfinished file is removed.
    """
    shards = _split_shards(tensors, max_shard_size)
    if len(shards) == 1:
        write_safetensors(path, shards[0], metadata=_FORMAT)
        return
    names = [f"{path.stem}-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        write_safetensors(path.with_name(name), shard, metadata=_FORMAT)
    # Written last, so that the files in an index always exist.
    index = {
        "metadata": {"total_size": sum(array.nbytes for array in tensors.values())},
        "weight_map": {key: name for name, shard in zip(names, shards, strict=True) for key in shard},
    }
    write_text(path.with_name(f"{path.name}.index.json"), to_json(index))


def _split_shards(tensors: dict[str, np.ndarray], max_size: int) -> list[dict[str, np.ndarray]]:
    """Splits ``tensors``, in their order, into shards of at most ``max_size`` bytes or one tensor."""
    shards: list[dict[str, np.ndarray]] = [{}]
    size = 0
    for name, array in tensors.items():
        if shards[-1] and size + array.nbytes > max_size:
            shards.append({})
            size = 0
        shards[-1][name] = array
        size += array.nbytes
    return shards
