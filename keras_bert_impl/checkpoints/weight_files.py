"""Reads and writes weights: every published format, and safetensors in one file or in several shards."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json, to_json, write_text
from keras_bert_impl.sources import WEIGHTS_DTYPES, Source
from keras_bert_impl.tensor_files import DTYPES, read_safetensors, write_safetensors

# The weights that transformers looks for in a directory, in this order.
TRANSFORMERS_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
WEIGHTS = (*TRANSFORMERS_WEIGHTS, "bert_model.ckpt.index")


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    from keras_bert_impl.checkpoints.torch_file import read_torch

    return read_torch(path)


def _read_tf1(path: Path) -> dict[str, np.ndarray]:
    from keras_bert_impl.checkpoints.tf1 import read_tf1

    return read_tf1(path.with_suffix(""))


# The formats of the files that `sources.WEIGHTS_SUFFIXES` lists.
READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": lambda path: read_safetensors(path).tensors,
    ".bin": _read_torch,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".ckpt": _read_torch,
    ".index": _read_tf1,
}

# Weights files that only transformers 4 can read, and the option of `from_pretrained` that reads them.
_OUTDATED = {"tf_model.h5": "from_tf=True", "flax_model.msgpack": "from_flax=True"}


def read_tensors(source: Source) -> dict[str, np.ndarray]:
    """Reads all tensors of a source, by their names in the file.

    Args:
        source: from ``open_source``. If it has several weights files, the first of ``WEIGHTS`` is read, unless the user
            named one. An adapter is merged into the tensors of its base.

    Returns:
        Read-only arrays, float32 if the file has 16-bit numbers. Most are views of the mapped file: they take memory
        when they are used, and change if the file changes.

    Raises:
        InputError: there are no weights; a file is truncated, damaged or unsafe; or a shard is missing.

    Example:
        >>> import numpy as np, tempfile
        >>> from keras_bert_impl.checkpoints.weight_files import write_tensors
        >>> from keras_bert_impl.sources import open_source
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     write_tensors(Path(directory) / "model.safetensors", {"pooler.dense.bias": np.zeros(3, np.float16)})
        ...     tensors = read_tensors(open_source(directory))
        >>> tensors["pooler.dense.bias"]
        array([0., 0., 0.], dtype=float32)
    """
    if source.base is not None:
        from keras_bert_impl.checkpoints.adapters import merge_adapter, read_adapter

        return merge_adapter(read_tensors(source.base), read_adapter(source), base=source.base.name)
    path = source.weights or _find_weights(source)
    tensors = _read_shards(path, source) if path.suffix == ".json" else _read_file(path, source)
    return {name: _to_float32(array) for name, array in tensors.items()}


def read_tensor_file(path: Path) -> dict[str, np.ndarray]:
    """Reads one file of tensors; for the result and the errors see `read_tensors`."""
    return {name: _to_float32(array) for name, array in READERS[path.suffix](path).items()}


def _to_float32(array: np.ndarray) -> np.ndarray:
    """Converts float16 and bfloat16 arrays to float32; other arrays are returned as they are."""
    return array.astype(np.float32) if array.dtype in (DTYPES["F16"], DTYPES["BF16"]) else array


def _find_weights(source: Source) -> Path:
    """Returns the weights file of a source."""
    for name in WEIGHTS:
        path = source.find_file(name)
        if path is not None:
            return path
    checkpoints = [name for name in source.list_files() if ".ckpt" in name and name.endswith(".index")]
    if len(checkpoints) == 1 and source.directory:
        return source.directory / checkpoints[0]
    if checkpoints:
        raise InputError(
            f"{source.name} contains several checkpoints: {', '.join(checkpoints)}. Name one of these files."
        )
    raise InputError(f"{source.name} has no weights: looked for {', '.join(WEIGHTS)}. {_give_advice(source)}")


def _give_advice(source: Source) -> str:
    """What a source without weights contains, and what to do."""
    if source.directory is None:
        return "The hub has none of these files, or they are not in the cache and the hub cannot be reached."
    listing = source.list_files()
    for name, option in _OUTDATED.items():
        if name in listing:
            return f"transformers 4 converts its {name}: AutoModel.from_pretrained(DIR, {option}).save_pretrained(OUT)."
    return f"It contains {', '.join(listing[:20]) or 'no files'}. Name the directory or the file with the weights."


def _read_file(path: Path, source: Source) -> dict[str, np.ndarray]:
    """Returns the tensors of one file."""
    if path.suffix == ".index":
        # The values are in a second file; this call downloads it if the source is on the hub.
        source.find_file(f"{path.stem}.data-00000-of-00001")
    return READERS[path.suffix](path)


def _read_shards(path: Path, source: Source) -> dict[str, np.ndarray]:
    """Returns the tensors of the files that an index names."""
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{path} has no object 'weight_map', which lists the file of each tensor.")
    tensors: dict[str, np.ndarray] = {}
    for shard in sorted(set(map(str, weight_map.values()))):
        names = {name for name, value in weight_map.items() if value == shard}
        of_shard = _read_file(_find_shard(shard, index=path, source=source), source)
        if missing := names - of_shard.keys():
            raise InputError(f"{shard} lacks {min(missing)!r}, which {path} lists. Download both again.")
        # Tensors that the index does not list are read too, so that the load report lists them.
        tensors |= {name: array for name, array in of_shard.items() if weight_map.get(name, shard) == shard}
    return tensors


def _find_shard(shard: str, *, index: Path, source: Source) -> Path:
    """Returns the file of a shard, which must be next to its index: an untrusted index must not name other files."""
    if Path(shard).name != shard or not shard.endswith((".safetensors", ".bin")):
        raise InputError(
            f"{index} names the shard {shard!r}; the bare name of a .safetensors or .bin file was expected."
        )
    path = source.find_file(shard)
    if path is None:
        raise InputError(f"{index} names the shard {shard}, which is missing. Download it into the same directory.")
    return path


# The dtypes that weights can be written in.
FILE_DTYPES = {name: DTYPES[code] for name, code in WEIGHTS_DTYPES.items()}
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
        max_shard_size: the maximum bytes of tensors in one file; a larger tensor is written to its own file.

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
