"""The states of a training run on disk: one safetensors file each, written atomically, with a checksum."""

import contextlib
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import remove_partial_files
from keras_bert_impl.tensor_files import read_safetensors, write_safetensors

_PATTERN = "step-*.safetensors"


@dataclass(frozen=True)
class State:
    """The state of a training run after a step.

    Attributes:
        step: number of steps done.
        arrays: the variables, by name.
        notes: everything else, as JSON.
    """

    step: int
    arrays: dict[str, np.ndarray]
    notes: str


def write_state(directory: Path, state: State, *, keep: int) -> Path:
    """Writes a state and removes older ones.

    Args:
        directory: the directory of the states; created if it does not exist.
        state: the state.
        keep: number of states that are kept, this one included.

    Returns:
        the file.

    Raises:
        OSError: it cannot be written.
    """
    path = directory / f"step-{state.step:012}.safetensors"
    metadata = {"notes": state.notes, "checksum": checksum(state.arrays, state.notes)}
    write_safetensors(path, state.arrays, metadata=metadata)
    others = sorted(other for other in directory.glob(_PATTERN) if other != path)
    # Newer states are damaged, else training would have continued from them.
    newer = [other for other in others if other > path]
    older = [other for other in others if other < path]
    for other in newer + older[: max(0, len(older) + 1 - keep)]:
        other.unlink()
    return path


def newest_state(directory: Path) -> State | None:
    """Reads the newest undamaged state; None if there is none.

    Warns:
        UserWarning: a newer state is damaged and skipped.
    """
    for path in sorted(directory.glob(_PATTERN), reverse=True):
        with contextlib.suppress(InputError, KeyError):
            file = read_safetensors(path)
            # Copies, because the file may be removed while they are used.
            arrays = {name: np.array(tensor) for name, tensor in file.tensors.items()}
            if file.metadata["checksum"] == checksum(arrays, file.metadata["notes"]):
                return State(int(path.stem.removeprefix("step-")), arrays, file.metadata["notes"])
        warnings.warn(f"{path} is damaged and is skipped.", stacklevel=2)
    return None


def has_states(directory: Path) -> bool:
    """Whether a directory contains states."""
    return any(directory.glob(_PATTERN))


def remove_states(directory: Path) -> None:
    """Removes the states of a directory, and the directory if nothing else is in it."""
    remove_partial_files(directory)
    for path in directory.glob(_PATTERN):
        path.unlink()
    with contextlib.suppress(OSError):
        directory.rmdir()  # It does not exist, or is not empty.


def checksum(arrays: Mapping[str, np.ndarray], text: str = "") -> str:
    """CRC-32 of arrays, with their names, dtypes and shapes, and of a text. It detects damage, not manipulation."""
    value = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        value = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), value)
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"
