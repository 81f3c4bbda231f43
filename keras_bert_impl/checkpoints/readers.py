"""Reads the weights of a source, in whatever format it has them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_bert_impl.checkpoints.arrays import to_float32
from keras_bert_impl.checkpoints.tf1 import read_tf1
from keras_bert_impl.checkpoints.torch_file import read_torch
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json
from keras_bert_impl.sources import Source
from keras_bert_impl.tensor_files import read_safetensors

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "bert_model.ckpt.index",
)

_READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": lambda path: read_safetensors(path).tensors,
    ".bin": read_torch,
    ".pt": read_torch,
    ".pth": read_torch,
    ".index": lambda path: read_tf1(path.with_suffix("")),
}

# Formats that nothing reads any more but transformers 4, and how that does it.
_OUTDATED = {"tf_model.h5": "from_tf=True", "flax_model.msgpack": "from_flax=True"}


def read_tensors(source: Source) -> dict[str, np.ndarray]:
    """All tensors of a source, by the names that they have there.

    Args:
        source: from ``open_source``. Of several weights files the first of ``WEIGHTS`` is read, unless the user named
            one.

    Returns:
        Read-only arrays, float32 where the file has 16-bit numbers. Most are views of the file: they take memory
        when looked at, and changing the file changes them.

    Raises:
        InputError: there are no weights, a file is truncated, damaged or unsafe, or a shard is missing.

    Example:
        >>> import numpy as np, tempfile
        >>> from keras_bert_impl.checkpoints.writers import write_tensors
        >>> from keras_bert_impl.sources import open_source
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     write_tensors(Path(directory) / "model.safetensors", {"pooler.dense.bias": np.zeros(3, np.float16)})
        ...     tensors = read_tensors(open_source(directory))
        >>> tensors["pooler.dense.bias"]
        array([0., 0., 0.], dtype=float32)
    """
    path = source.weights or _find(source)
    tensors = _read_shards(path, source) if path.suffix == ".json" else _read_file(path, source)
    return {name: to_float32(array) for name, array in tensors.items()}


def _find(source: Source) -> Path:
    """The weights file that a source has."""
    for name in WEIGHTS:
        path = source.file(name)
        if path is not None:
            return path
    checkpoints = [name for name in source.listing() if ".ckpt" in name and name.endswith(".index")]
    if len(checkpoints) == 1 and source.directory:
        return source.directory / checkpoints[0]
    if checkpoints:
        raise InputError(f"{source.name} holds several checkpoints: {', '.join(checkpoints)}. Name one of these files.")
    raise InputError(f"{source.name} has no weights: looked for {', '.join(WEIGHTS)}. {_hint(source)}")


def _hint(source: Source) -> str:
    """What is there instead of weights, and what to do."""
    if source.directory is None:
        return "The hub has none of these for it, or they are not in the cache and the hub cannot be reached."
    listing = source.listing()
    for name, option in _OUTDATED.items():
        if name in listing:
            return f"transformers 4 converts its {name}: AutoModel.from_pretrained(DIR, {option}).save_pretrained(OUT)."
    return f"It holds {', '.join(listing[:20]) or 'no files'}. Name the directory or the file that has the weights."


def _read_file(path: Path, source: Source) -> dict[str, np.ndarray]:
    """The tensors of one file."""
    if path.suffix == ".index":
        # TensorFlow keeps the numbers in a second file, which a model on the hub has on this machine only once asked.
        source.file(f"{path.stem}.data-00000-of-00001")
    return _READERS[path.suffix](path)


def _read_shards(path: Path, source: Source) -> dict[str, np.ndarray]:
    """The tensors of the files that an index names."""
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{path} has no object 'weight_map' that tells in which file each tensor is.")
    tensors: dict[str, np.ndarray] = {}
    for shard in sorted(set(map(str, weight_map.values()))):
        names = {name for name, value in weight_map.items() if value == shard}
        found = _read_file(_shard_path(shard, index=path, source=source), source)
        if absent := names - found.keys():
            raise InputError(f"{shard} lacks {min(absent)!r}, which {path} says is there. Download both again.")
        # A tensor that the index does not mention is read too: that it is there is for the report to tell.
        tensors |= {name: array for name, array in found.items() if weight_map.get(name, shard) == shard}
    return tensors


def _shard_path(shard: str, *, index: Path, source: Source) -> Path:
    """The file of a shard; an index from elsewhere must not make us read files from anywhere."""
    if Path(shard).name != shard or not shard.endswith((".safetensors", ".bin")):
        raise InputError(
            f"{index} names the shard {shard!r}; the bare name of a .safetensors or .bin file was expected."
        )
    path = source.file(shard)
    if path is None:
        raise InputError(f"{index} names the shard {shard}, which is missing beside it. Download it too.")
    return path
