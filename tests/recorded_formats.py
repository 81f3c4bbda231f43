"""Checkpoints that other libraries wrote, with the outputs of their models (``checkpoints/recorded/make.py``).

Also: files that are damaged at random, in a way that the seed decides.
"""

import functools
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.checkpoints.matching import match_tensors
from keras_bert_impl.checkpoints.names import find_path, to_torch_name
from keras_bert_impl.checkpoints.weight_files import read_tensor_file
from keras_bert_impl.errors import InputError

ARCHIVES = Path(__file__).parent / "checkpoints" / "recorded"
WEIGHTS = {"tensorflow": "tf_model.h5", "flax": "flax_model.msgpack"}

_temporary: list[Any] = []


@functools.cache
def extract(library: str) -> Path:
    """Returns the directory with the content of an archive, such as ``flax``. Do not change it."""
    directory = tempfile.TemporaryDirectory()
    _temporary.append(directory)  # It is removed when the process ends.
    with tarfile.open(ARCHIVES / f"{library}.tar.xz") as archive:
        archive.extractall(directory.name, filter="data")
    return Path(directory.name)


def load(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an ``.npz`` file."""
    with np.load(path) as arrays:
        return dict(arrays)


def arrange(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns copies of the tensors of BERT by the paths of the variables, in their layout."""
    found = {key: find_path(to_torch_name(key)) for key in tensors}
    return {
        row[1]: np.array(tensors[key].T if row[0].is_transposed(key) else tensors[key])
        for key, row in found.items()
        if row is not None
    }


def damage(content: bytes, seed: int) -> tuple[bytes, int]:
    """Damages a file: changes a bit, a byte or 16 bytes, cuts the end off, or inserts bytes.

    Returns the result, and the number of bytes that differ at the same position; 0 if bytes moved.
    """
    rng = np.random.default_rng(seed)
    position, result = int(rng.integers(len(content))), bytearray(content)
    match seed % 5:
        case 0:
            result[position] ^= 1 << int(rng.integers(8))
        case 1:
            result[position] = int(rng.integers(256))
        case 2:
            result[position : position + 16] = bytes(len(result[position : position + 16]))
        case 3:
            del result[position:]
        case 4:
            result[position:position] = rng.bytes(int(rng.integers(1, 9)))
    changed = sum(a != b for a, b in zip(result, content, strict=True)) if len(result) == len(content) else 0
    return bytes(result), changed


def count_errors(path: Path, directory: Path, *, count: int) -> int:
    """Reads a weights file that was damaged in ``count`` ways, and returns in how many an error was raised.

    Asserts that all others have at most as many other numbers as damaged bytes, and the same shapes.

    Args:
        path: the file.
        directory: an empty directory.
        count: how many.
    """
    expected = arrange(read_tensor_file(path))
    shapes = {name: array.shape for name, array in expected.items()}
    errors = 0
    for seed in range(count):
        content, changed = damage(path.read_bytes(), seed)
        (directory / path.name).write_bytes(content)
        try:
            arrays, report = match_tensors(read_tensor_file(directory / path.name), shapes, source="x")
        except InputError:
            errors += 1
            continue
        # The name of a tensor of a head may have changed: the report says so.
        missing = set(expected) - set(arrays)
        assert len(missing) <= changed
        assert len(report.list_names("newly initialized")) == len(missing)
        others = sum(int((arrays[name] != expected[name]).sum()) for name in arrays)
        assert others <= changed, (seed, others, changed)
    return errors
