"""Reads and writes weights: every published format, and safetensors in one file or in several shards."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from keras_bert_impl.checkpoints.names import find_path, remove_scopes, to_torch_names
from keras_bert_impl.errors import InputError, join_names
from keras_bert_impl.files import read_json, to_json, write_text
from keras_bert_impl.keras_formats import TASK_WEIGHTS, find_archive
from keras_bert_impl.sources import WEIGHTS_DTYPES, Source
from keras_bert_impl.tensor_files import DTYPES, read_safetensors, write_safetensors

# The weights that transformers looks for in a directory, in this order.
TRANSFORMERS_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# All files that are looked for in a directory, in this order: those of transformers 4 follow, then those of KerasHub's
# presets and of Keras, then Google's.
_KERAS_WEIGHTS, _KERAS_INDEX = "model.weights.h5", "model.weights.json"
WEIGHTS = (
    *TRANSFORMERS_WEIGHTS,
    *("tf_model.h5", "tf_model.h5.index.json", "flax_model.msgpack", "flax_model.msgpack.index.json"),
    _KERAS_WEIGHTS,
    "bert_model.ckpt.index",
)


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    from keras_bert_impl.checkpoints.torch_file import read_torch

    return read_torch(path)


def _read_tf1(path: Path) -> dict[str, np.ndarray]:
    from keras_bert_impl.checkpoints.tf1 import read_tf1

    return read_tf1(path.with_suffix(""))


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    from keras_bert_impl.checkpoints.h5_file import read_h5

    return read_h5(path)


def _read_keras(path: Path) -> dict[str, np.ndarray]:
    from keras_bert_impl.checkpoints.h5_file import read_keras

    return read_keras(path)


def _read_flax(path: Path) -> dict[str, np.ndarray]:
    from keras_bert_impl.checkpoints.flax_file import read_flax

    return read_flax(path)


# The formats of the files that `sources.WEIGHTS_SUFFIXES` lists.
READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": lambda path: read_safetensors(path).tensors,
    ".bin": _read_torch,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".ckpt": _read_torch,
    ".h5": _read_h5,
    ".keras": _read_keras,
    ".msgpack": _read_flax,
    ".index": _read_tf1,
}
# The formats of shards.
_SHARD_SUFFIXES = (".safetensors", ".bin", ".h5", ".msgpack")


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

    Warns:
        UserWarning: a directory has weights in several files that differ.

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
    if source.weights is not None:
        return _read(source.weights, source)
    path = _find_weights(source)
    tensors = _read(path, source)
    _compare_others(tensors, path, source)
    return tensors


def _read(path: Path, source: Source) -> dict[str, np.ndarray]:
    """Returns the tensors of a file, or of the shards that an index names."""
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
    if (archive := find_archive(source)) is not None:
        return archive
    files = source.list_files()
    if _KERAS_INDEX in files:
        raise InputError(
            f"{source.name} has its weights in several files of Keras ({_KERAS_INDEX}), which are not read. Save them "
            "in one: save_to_preset(…, max_shard_size=None)."
        )
    for checkpoints in (
        [name for name in files if ".ckpt" in name and name.endswith(".index")],
        [name for name in files if name.endswith((".weights.h5", ".keras")) and name != TASK_WEIGHTS],
    ):
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
        return (
            "The hub has none of these files, or they are not in the cache and the hub cannot be reached. "
            "If the weights have another name, download the repository and name the file."
        )
    listing = ", ".join(source.list_files()[:20]) or "no files"
    return f"It contains {listing}. Name the directory or the file with the weights."


# The relative difference of numbers that were rounded to 16 bits in one of two files.
_ROUNDING = 2.0**-8


def _compare_others(tensors: Mapping[str, np.ndarray], path: Path, source: Source) -> None:
    """Warns if a directory has other weights files that differ from the one that was read.

    Compared are the shapes of all tensors with the same names, and the values of vectors: training changes all biases.
    Google's files are not compared, because they need TensorFlow, which takes seconds to start.
    """
    for name in WEIGHTS if source.directory is not None else ():
        other = source.find_file(name)
        if other is None or other == path or READERS.get(other.suffix) is _read_tf1:
            continue
        difference = _find_difference(tensors, other, source)
        if difference is not None:
            warnings.warn(
                f"{source.name} has weights in {path.name} and in {other.name}, which differ ({difference}): "
                f"{path.name} is used. Remove the other, or name the file to read.",
                stacklevel=2,
            )


def _find_difference(tensors: Mapping[str, np.ndarray], other: Path, source: Source) -> str | None:
    """Returns the name of a tensor that differs in another file; None if there is none, or if it cannot be read."""
    try:
        expected, arranged = _arrange(_read(other, source)), _arrange(tensors)
    except (InputError, OSError):
        return None
    for name, array in arranged.items():
        if name in expected and array.shape != expected[name].shape:
            return name
        if name in expected and array.ndim == 1 and not np.allclose(array, expected[name], rtol=_ROUNDING, atol=1e-6):
            return name
    return None


def _arrange(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the tensors of BERT by their PyTorch names, in the layout of this package."""
    names = to_torch_names(tensors.keys())
    return {
        name: tensors[key].T if found[0].is_transposed(key) else tensors[key]
        for key, name in names.items()
        if (found := find_path(name))
    }


def _read_file(path: Path, source: Source) -> dict[str, np.ndarray]:
    """Returns the tensors of one file."""
    if path.suffix == ".index":
        # The values are in a second file; this call downloads it if the source is on the hub.
        source.find_file(f"{path.stem}.data-00000-of-00001")
    tensors = READERS[path.suffix](path)
    # A preset of KerasHub has the head in a second file.
    task = source.find_file(TASK_WEIGHTS) if path.name == _KERAS_WEIGHTS else None
    return tensors if task is None else {**READERS[task.suffix](task), **tensors}


def _read_shards(path: Path, source: Source) -> dict[str, np.ndarray]:
    """Returns the tensors of the files that an index names."""
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{path} has no object 'weight_map', which lists the file of each tensor. Download it again.")
    weight_map = {remove_scopes(name): shard for name, shard in weight_map.items()}
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
    if Path(shard).name != shard or not shard.endswith(_SHARD_SUFFIXES):
        raise InputError(
            f"{index} names the shard {shard!r}; the bare name of a {join_names(_SHARD_SUFFIXES)} file was expected."
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
