"""Reads HDF5 files: ``tf_model.h5`` of transformers 4, and the weights of Keras 3 and of KerasHub.

Tensors are found by their names: those of TFBert are in the name table, those of Keras are made of the layers' names.
Reading executes nothing, and no other file is opened, although HDF5 has links to other files.
"""

import io
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_bert_impl.checkpoints.names import ROWS, remove_scopes
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import map_file
from keras_bert_impl.keras_formats import TASK_WEIGHTS, find_layer, read_archive, rename_old_layer

_ADVICE = "Copy or download it again."
# Files of Keras have about ten levels.
_MAX_DEPTH = 32
# Where a file says how long it is: the version of the format, and the position of the number.
_END_POSITIONS = {0: 40, 1: 44, 2: 28, 3: 28}


def read_h5(path: Path) -> dict[str, np.ndarray]:
    """Reads all tensors of an HDF5 file; most are views of the mapped file, all are read-only.

    Returns:
        the tensors by their names: in ``tf_model.h5`` without the names of groups and of the model, such as
        ``bert/pooler/dense/kernel``; in files of Keras 3 by the path of the variable, such as ``pooler/dense/kernel``.

    Raises:
        InputError: the file is truncated or damaged, contains no tensors, or links to other files.
    """
    return _read(map_file(path, advice=_ADVICE), path, path)


def read_keras(path: Path) -> dict[str, np.ndarray]:
    """Reads the weights in a ``.keras`` file; for the result and the errors see `read_h5`."""
    content = read_archive(path, "model.weights.h5")
    return _read(content, io.BytesIO(content), path)


def _read(content: Any, file: Any, path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a file with these bytes; ``file`` is what h5py opens, ``path`` is for messages."""
    import h5py

    _check_end(content, path)
    tensors: dict[str, np.ndarray] = {}
    ends: dict[int, int] = {}
    try:
        with h5py.File(file, "r", locking=False) as root:
            is_keras_3 = "layers" in root or "vars" in root
            for parts, dataset in _walk(root, (), {root}, path):
                array = _view_array(dataset, content, ends, path)
                name = _name_variable(root, parts, path) if is_keras_3 else remove_scopes("/".join(parts))
                if is_keras_3 and name.startswith(("embeddings/", "encoder/", "pooler/")):
                    array = _merge_heads(array, name)
                # TFBert writes the embeddings again with the head that is tied to them.
                if name in tensors and not _is_same(tensors[name], array):
                    raise InputError(f"{path} contains {name} twice, with different values. Save it again.")
                tensors[name] = array
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is truncated, damaged or not an HDF5 file: {error}. {_ADVICE}") from error
    if not tensors:
        raise InputError(f"{path} contains no weights. Name a file that save_pretrained or save_weights wrote.")
    starts = sorted(ends)
    if any(ends[start] > following for start, following in itertools.pairwise(starts)):
        raise InputError(f"{path} is damaged: two tensors share bytes. {_ADVICE}")
    return tensors


def _is_same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def _check_end(content: Any, path: Path) -> None:
    """Raises ``InputError`` unless the file has the length that its first bytes say: HDF5 accepts longer files."""
    if content[:8] != b"\x89HDF\r\n\x1a\n":
        raise InputError(f"{path} is not an HDF5 file. {_ADVICE}")
    position = _END_POSITIONS.get(content[8], 0)
    end = int.from_bytes(content[position : position + 8], "little")
    if position and end != len(content):
        raise InputError(f"{path} is truncated or damaged: it has {len(content)} bytes instead of {end}. {_ADVICE}")


def _walk(group: Any, parts: tuple[str, ...], seen: set[Any], path: Path) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the path and the object of each data set in a group and in those inside it."""
    import h5py

    if len(parts) > _MAX_DEPTH:
        raise InputError(f"{path} is damaged: its groups are nested too deeply. {_ADVICE}")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise InputError(
                f"{path}: {'/'.join((*parts, name))} is a link, which may read another file. Save it without links."
            )
        member = group[name]
        if member in seen:
            raise InputError(f"{path} is damaged: {'/'.join((*parts, name))} is in it twice. {_ADVICE}")
        seen.add(member)
        if isinstance(member, h5py.Group):
            yield from _walk(member, (*parts, name), seen, path)
        else:
            yield (*parts, name), member


def _view_array(dataset: Any, content: Any, ends: dict[int, int], path: Path) -> np.ndarray:
    """Returns the array of a data set, and adds where it begins and ends in the file to ``ends``."""
    dtype = _find_dtype(dataset)
    if dtype is None:
        raise InputError(
            f"{path}: {dataset.name} has the type {dataset.dtype}; floating-point numbers or integers were expected. "
            "Save it in float32."
        )
    shape = dataset.shape or ()
    size = math.prod(shape) * dtype.itemsize
    offset = dataset.id.get_offset()
    if size == 0:
        return np.empty(shape, dtype)
    is_here = dataset.external is None and not dataset.is_virtual and dataset.id.get_storage_size() == size
    if not is_here or (offset is None and dataset.chunks is None):
        raise InputError(
            f"{path}: the values of {dataset.name} are compressed, missing or in another file. Save it again, without "
            "compression, in one file."
        )
    if offset is None:
        return dataset[()]
    if offset + size > len(content) or offset in ends:
        raise InputError(f"{path} is damaged: the values of {dataset.name} are not where it says. {_ADVICE}")
    ends[offset] = offset + size
    return np.ndarray(shape, dtype, buffer=memoryview(content), offset=offset)


def _find_dtype(dataset: Any) -> np.dtype | None:
    """Returns the dtype of a data set, or None if tensors do not have it."""
    from h5py import h5t

    file_type = dataset.id.get_type()
    dtypes = {
        "<f4": h5t.IEEE_F32LE,
        "<f2": h5t.IEEE_F16LE,
        "<f8": h5t.IEEE_F64LE,
        "<i4": h5t.STD_I32LE,
        "<i8": h5t.STD_I64LE,
        "<u4": h5t.STD_U32LE,
    }
    found = next((np.dtype(name) for name, known in dtypes.items() if file_type.equal(known)), None)
    # Keras 3 writes bfloat16 as two bytes without a meaning.
    is_bfloat16 = found is None and dataset.attrs.get("dtype") == "bfloat16" and file_type.get_size() == 2
    return np.dtype(ml_dtypes.bfloat16) if is_bfloat16 else found


# The variables of each layer, in the order in which Keras numbers them.
_VARIABLES: dict[str, list[str]] = {}
for _row in ROWS:
    _layer, _, _variable = _row.path.rpartition("/")
    _VARIABLES.setdefault(_layer, []).append(_variable)


def _name_variable(root: Any, parts: tuple[str, ...], path: Path) -> str:
    """Returns the path of the variable here for a data set of Keras 3: ``layers/…/vars/0``.

    Files name a layer by its class or by the attribute that contains it, and have its own name as an attribute of
    ``vars``, since Keras 3.10. Data sets that belong to no layer of BERT keep their names.
    """
    name = "/".join(parts)
    if parts[0] != "layers" or len(parts) < 3 or parts[-2] != "vars" or not parts[-1].isdecimal():
        return name
    # The BERT can be a layer of another model; its layers are inside that layer.
    begin = len(parts) - parts[::-1].index("layers")
    is_task = path.name == TASK_WEIGHTS and begin == 1
    names = []
    for end in range(begin + 1, len(parts) - 1):
        group = root["/".join(parts[:end])]
        if "vars" not in group:  # A list of layers.
            continue
        own = group["vars"].attrs.get("name")
        names.append(own if isinstance(own, str) else rename_old_layer(parts[end - 1], is_task=is_task))
    layer = "/".join(names)
    layer = find_layer(layer) or layer
    variables = _VARIABLES.get(_to_template(layer), [])
    number = int(parts[-1])
    return f"{layer}/{variables[number]}" if number < len(variables) else name


def _to_template(layer: str) -> str:
    """Replaces the number of a layer."""
    first, *others = layer.split("/")
    if first != "encoder" or not others:
        return layer
    return "/".join((first, "layer_{i}", *others[1:]))


def _merge_heads(array: np.ndarray, name: str) -> np.ndarray:
    """Merges the axis for the heads, which KerasHub's attention has, with the one next to it."""
    if name.endswith("/bias") and array.ndim == 2:
        return array.reshape(-1)
    if name.endswith("/kernel") and array.ndim == 3:
        shape = (-1, array.shape[-1]) if name.endswith("output/dense/kernel") else (array.shape[0], -1)
        return array.reshape(shape)
    return array
