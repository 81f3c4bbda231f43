"""Reads files that `torch.save` wrote, zip archives and the older format, without torch and without executing anything.

Both formats contain a pickle that describes tensors, and the tensors' storages as raw bytes: as uncompressed members of
a zip archive, or in the older format one after another after the pickle (see `torch/serialization.py`).
"""

import io
import math
import mmap
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.checkpoints.torch_pickle import Storage, Tensor, read_pickle
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import map_file

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_ADVICE = "Save it again with torch.save(model.state_dict(), path)."

# Training scripts often save more than the weights; then the weights are under one of these keys.
_NESTED = ("state_dict", "model_state_dict", "model", "module")

# A pickle's value, and the bytes of each storage that it refers to.
_Content = tuple[Any, dict[str, memoryview]]


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Reads the state dict in a file that ``torch.save`` wrote: mapped and read-only, in the file's dtypes.

    Raises:
        InputError: the file is truncated or damaged, contains no state dict, or would run code if torch loaded it.
    """
    mapped = map_file(path)
    read = _read_zip if mapped[:4] == b"PK\x03\x04" else _read_legacy
    content, storages = read(mapped, path=path)
    return {
        name: _view_array(tensor, storages[tensor.storage.key], name=name, path=path)
        for name, tensor in _find_state_dict(content, path=path).items()
    }


def _find_state_dict(content: Any, *, path: Path) -> dict[str, Tensor]:
    """Returns the named tensors of a file, which may also contain other things."""
    if not isinstance(content, dict):
        raise InputError(
            f"{path} contains a {type(content).__name__}; a state dict (names to tensors) was expected. {_ADVICE}"
        )
    for part in (*(content.get(key) for key in _NESTED), content):
        if isinstance(part, dict) and (state := _select_tensors(part)):
            return state
    keys = ", ".join(repr(key) for key in list(content)[:8]) or "an empty dictionary"
    raise InputError(f"{path} contains no named tensors, only {keys}; a state dict was expected. {_ADVICE}")


def _select_tensors(values: dict[Any, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if isinstance(value, Tensor) and isinstance(name, str)}


def _view_array(tensor: Tensor, data: memoryview, *, name: str, path: Path) -> np.ndarray:
    """Returns the view of a storage's ``data`` that ``tensor`` describes; nothing is copied."""
    dtype, size = tensor.storage.dtype, math.prod(tensor.shape)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((length - 1) * stride for length, stride in steps)
    # A stride of 0 repeats numbers: harmless in a view, but a copy could fill the memory.
    if size and (last >= tensor.storage.size or size * dtype.itemsize > path.stat().st_size):
        raise InputError(f"{path} is damaged: the tensor {name!r} of shape {tensor.shape} reaches beyond its data.")
    try:
        if not size:
            return np.empty(tensor.shape, dtype)
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        return np.ndarray(tensor.shape, dtype, buffer=data, offset=tensor.offset * dtype.itemsize, strides=strides)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} is damaged: the tensor {name!r} has an impossible shape ({error}).") from error


def _read_legacy(mapped: mmap.mmap, *, path: Path) -> _Content:
    """Reads pickles (magic number, protocol, machine, content, keys of the storages), then the storages."""
    magic, protocol, machine = (read_pickle(mapped, path=path).value for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(machine, dict):
        raise InputError(f"{path} is a pickle, but not one that torch.save wrote. A state dict was expected. {_ADVICE}")
    _check_byte_order(bool(machine.get("little_endian")), path=path)
    content, storages = read_pickle(mapped, path=path)
    keys = read_pickle(mapped, path=path).value
    if not isinstance(keys, list) or any(type(key) is not str for key in keys) or set(keys) != set(storages):
        raise InputError(f"{path} is damaged: it does not list the storages that its tensors use. Download it again.")
    view, position = memoryview(mapped), mapped.tell()
    data = {}
    for key in keys:
        start = position + 8
        position = start + _count_bytes(storages[key])
        if int.from_bytes(view[start - 8 : start], "little") != storages[key].size or position > len(view):
            raise InputError(f"{path} is truncated or damaged: {storages[key].size} numbers were expected in {key!r}.")
        data[key] = view[start:position]
    return content, data


def _read_zip(mapped: mmap.mmap, *, path: Path) -> _Content:
    """Reads ``data.pkl`` (the pickle), ``byteorder`` and ``data/KEY`` (the storages) in one folder of the archive."""
    members = _list_members(path)
    folder = next((name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")), None)
    if folder is None:
        raise InputError(f"{path} is a zip archive without data.pkl; a file that torch.save wrote was expected.")
    if order := members.get(f"{folder}byteorder"):
        _check_byte_order(_read_member(mapped, order, path=path) == b"little", path=path)
    pickle = io.BytesIO(_read_member(mapped, members[f"{folder}data.pkl"], path=path))
    content, storages = read_pickle(pickle, path=path)
    data = {}
    for key, storage in storages.items():
        member = members.get(f"{folder}data/{key}")
        if member is None or member.file_size != _count_bytes(storage):
            problem = "is missing" if member is None else f"has {member.file_size} bytes"
            raise InputError(f"{path} is damaged: data/{key} {problem}; {_count_bytes(storage)} bytes were expected.")
        data[key] = _read_member(mapped, member, path=path)
    return content, data


def _check_byte_order(is_little_endian: bool, *, path: Path) -> None:
    if not is_little_endian:
        raise InputError(f"{path} was written on a big-endian machine. Save it again on a little-endian one.")


def _count_bytes(storage: Storage) -> int:
    return storage.size * storage.dtype.itemsize


def _list_members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Returns the members of a zip archive by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            is_repeated = len(members) < len(archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"{path} is truncated or damaged: {error}. Download it again.") from error
    if is_repeated:
        raise InputError(f"{path} is damaged: it contains two members with the same name. Download it again.")
    return members


def _read_member(mapped: mmap.mmap, member: zipfile.ZipInfo, *, path: Path) -> memoryview:
    """Returns the bytes of an uncompressed member, as a view of the file."""
    header = member.header_offset
    # A local header: 26 bytes, the lengths of the name and of the extra field, both of these, and then the data.
    name_size, extra_size = (int.from_bytes(mapped[header + i : header + i + 2], "little") for i in (26, 28))
    start = header + 30 + name_size + extra_size
    data = memoryview(mapped)[start : start + member.file_size]
    stored = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size == len(data)
    encrypted = member.flag_bits & 1
    if header < 0 or mapped[header : header + 4] != b"PK\x03\x04" or not stored or encrypted:
        raise InputError(f"{path} is damaged: {member.filename!r} is not stored as torch.save writes it.")
    # torch writes 0 if it is configured not to compute checksums.
    if member.CRC not in (0, zlib.crc32(data)):
        raise InputError(f"{path} is damaged: the checksum of {member.filename!r} is wrong. Download it again.")
    return data
