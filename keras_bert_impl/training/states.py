"""The states of a training on the disk: one file each, whole or not there, which tells whether it is damaged."""

import contextlib
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from keras_bert_impl.files import replacing

_PATTERN = "step-*.safetensors"


@dataclass(frozen=True)
class State:
    """What a training needs to go on.

    Attributes:
        step: how many steps were made.
        arrays: the variables, by names.
        notes: what else there is, as JSON.
    """

    step: int
    arrays: dict[str, np.ndarray]
    notes: str


def write_state(directory: Path, state: State, *, keep: int) -> Path:
    """Writes a state, and removes all but the newest ones.

    Args:
        directory: where to; made if it is absent.
        state: the state.
        keep: how many stay, this one included.

    Returns:
        the file.
    """
    path = directory / f"step-{state.step:012}.safetensors"
    metadata = {"notes": state.notes, "checksum": checksum(state.arrays, state.notes)}
    with replacing(path) as temporary:
        save_file(state.arrays, temporary, metadata=metadata)
    for old in sorted(directory.glob(_PATTERN))[:-keep]:
        old.unlink()
    return path


def newest_state(directory: Path) -> State | None:
    """The newest state that is whole; None if there is none.

    Warns:
        UserWarning: a newer one is damaged; it is named and passed over.
    """
    for path in sorted(directory.glob(_PATTERN), reverse=True):
        with contextlib.suppress(SafetensorError, KeyError):
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping.
            if metadata["checksum"] == checksum(arrays, metadata["notes"]):
                return State(int(path.stem.removeprefix("step-")), arrays, metadata["notes"])
        warnings.warn(f"{path} is damaged and is passed over.", stacklevel=2)
    return None


def has_states(directory: Path) -> bool:
    """Whether a directory holds states."""
    return any(directory.glob(_PATTERN))


def checksum(arrays: Mapping[str, np.ndarray], text: str = "") -> str:
    """CRC-32 of arrays, with their names, dtypes and shapes, and of a text: it tells damage, not deceit."""
    value = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        value = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), value)
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"
