"""The states of a training run: one safetensors file each, and the callback that saves and restores them."""

import contextlib
import json
import signal
import threading
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np
from keras import ops

from keras_bert_impl.data.feed import Batches
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.files import remove_partial_files
from keras_bert_impl.tensor_files import read_safetensors, write_safetensors
from keras_bert_impl.training.distribution import SINGLE_DEVICE, Distribution, get_backend
from keras_bert_impl.training.settings import SavingSettings

_PATTERN = "step-*.safetensors"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
        keep: max. number of states on disk, including this one.

    Returns:
        the file.

    Raises:
        OSError: it cannot be written.
    """
    path = directory / f"step-{state.step:012}.safetensors"
    metadata = {"notes": state.notes, "checksum": compute_checksum(state.arrays, state.notes)}
    write_safetensors(path, state.arrays, metadata=metadata)
    others = sorted(other for other in directory.glob(_PATTERN) if other != path)
    # Newer states are damaged, otherwise training would have continued from them.
    newer = [other for other in others if other > path]
    older = [other for other in others if other < path]
    for other in newer + older[: max(0, len(older) + 1 - keep)]:
        other.unlink()
    return path


def read_newest_state(directory: Path) -> State | None:
    """Reads the newest undamaged state; None if there is none.

    Warns:
        UserWarning: a newer state is damaged and skipped.
    """
    for path in sorted(directory.glob(_PATTERN), reverse=True):
        with contextlib.suppress(InputError, KeyError):
            file = read_safetensors(path)
            # Copies, because the file may be removed while they are used.
            arrays = {name: np.array(tensor) for name, tensor in file.tensors.items()}
            if file.metadata["checksum"] == compute_checksum(arrays, file.metadata["notes"]):
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


def compute_checksum(arrays: Mapping[str, np.ndarray], text: str = "") -> str:
    """CRC-32 of arrays, with their names, dtypes and shapes, and of a text. It detects damage, but not manipulation."""
    value = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        value = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), value)
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"


@runtime_checkable
class Stateful(Protocol):
    """An object with a state besides the variables, such as a callback that counts."""

    def state_dict(self) -> Any:
        """Returns the state, which must be JSON serializable."""

    def load_state_dict(self, state: Any) -> None:
        """Restores a state."""


class SaveStates(keras.callbacks.Callback):
    """Saves the state of a training run during training, in the background; for `fit_with_resume`.

    A state contains everything that determines the following steps: weights, the optimizer's variables and step, the
    seeds of dropout, metrics, the number of steps done, which determines the next batch, and those of ``stateful``.

    Args:
        directory: directory of the states.
        saving: how often states are saved, and the max. number on disk.
        stateful: other objects with a state, by name; `fit_with_resume` adds the callbacks that have one.
        identity: values that must be the same when the run is resumed; JSON serializable.
        identity_defaults: values of fields of the identity that states of older versions lack.
        distribution: devices and processes of the run. All processes take part in saving; the chief writes.

    Attributes:
        step: number of steps done.
        stopped_early: whether ``model.stop_training`` ended training before its last step.

    >>> SaveStates("states", SavingSettings(minutes=5)).step
    0
    """

    def __init__(
        self,
        directory: str | Path,
        saving: SavingSettings | None = None,
        *,
        stateful: Mapping[str, Stateful] | None = None,
        identity: Mapping[str, Any] | None = None,
        identity_defaults: Mapping[str, Any] | None = None,
        distribution: Distribution = SINGLE_DEVICE,
    ) -> None:
        super().__init__()
        self.distribution = distribution
        self.directory = Path(directory)
        self.saving = saving or SavingSettings()
        self.stateful = dict(stateful or {})
        self.identity = json.loads(json.dumps(identity or {}))  # As a state contains it.
        self.identity_defaults = json.loads(json.dumps(identity_defaults or {}))
        self.step = 0
        self.stopped_early = False
        self._metrics: dict[str, np.ndarray] = {}
        # Each state is copied into the arrays of the previous one: allocating takes longer than copying.
        self._copies: dict[str, np.ndarray] = {}
        # The states of `stateful` in the state that was restored.
        self._restored: dict[str, Any] = {}
        self._signal: int | None = None
        self._saved = (0, time.perf_counter())

    def add_stateful(self, callbacks: Iterable[Any]) -> None:
        """Adds the callbacks that have a state, unless they are already among ``stateful``."""
        known = [id(part) for part in self.stateful.values()]
        for callback in callbacks:
            if isinstance(callback, Stateful) and id(callback) not in known:
                self.stateful[f"{type(callback).__name__} {len(self.stateful)}"] = callback

    def restore(self, model: keras.Model, batches: Batches) -> int:
        """Restores the newest state, if there is one; those of ``stateful`` at the start of training.

        Args:
            model: a compiled model.
            batches: its training data; one batch is evaluated, to create the variables of metrics.

        Returns:
            the number of steps done.

        Raises:
            InputError: the state is that of a different training run.
        """
        if getattr(getattr(model.optimizer, "inner_optimizer", model.optimizer), "use_ema", False):
            raise InputError("the optimizer averages weights (use_ema), which cannot be resumed exactly. Turn it off.")
        if self.distribution.is_chief:
            remove_partial_files(self.directory)
        state = read_newest_state(self.directory)
        if not self.distribution.is_same_in_all_processes(state.step if state else 0):
            raise InputError(
                f"the processes see different states in {self.directory}. It must be one directory that all can read."
            )
        if state is None:
            return 0
        notes = json.loads(state.notes)
        self._check({**notes["identity"], "list of callbacks with a state": sorted(notes["beside"])})
        model.test_on_batch(*batches[state.step % len(batches)])
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        variables = _name_variables(model)
        shapes = {name: variable.shape for name, variable in variables.items()}
        if shapes != {name: array.shape for name, array in state.arrays.items()}:
            raise InputError(
                f"{self.directory} contains states of a different model or optimizer: it has {len(state.arrays)} "
                f"variables, this one {len(variables)}, or they differ in shape. Continue with the same model, or use "
                "another directory."
            )
        for name, variable in variables.items():
            variable.assign(state.arrays[name])
        if notes["is_within_epoch"]:
            # Keras resets these at the start of `fit`.
            self._metrics = {name: array for name, array in state.arrays.items() if name.startswith("metrics")}
        self._restored = notes["beside"]
        self.step = state.step
        self.stopped_early = notes["is_over"]
        self._saved = (self.step, time.perf_counter())
        return self.step

    def _check(self, saved: Mapping[str, Any]) -> None:
        saved = {**self.identity_defaults, **saved}
        own = {**self.identity, "list of callbacks with a state": sorted(self.stateful)}
        differing = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
        if differing:
            name = differing[0]
            more = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
            raise InputError(
                f"{self.directory} contains states of a different training run: {name} is {saved.get(name)!r:.200} "
                f"there and {own.get(name)!r:.200} here{more}. Continue with the same settings, or use another "
                "directory."
            )

    @contextlib.contextmanager
    def start_session(self) -> Iterator[None]:
        """Context of training: states are written in the background, and signals are handled after the step."""
        with ThreadPoolExecutor(1, thread_name_prefix="states") as self._writer, self._handle_signals():
            self._writing: Future[Any] | None = None
            yield
            self._wait_for_write()

    @contextlib.contextmanager
    def _handle_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # Only the main thread gets signals.
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number
            # A second signal ends the process at once.
            signal.signal(number, before[signal.Signals(number)])

        for number in _SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal:
            signal.raise_signal(self._signal)  # It arrived after the last step, with nothing left to save.

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores the states of ``stateful``: after the other callbacks have begun, which may reset their counts."""
        for name, state in self._restored.items():
            self.stateful[name].load_state_dict(state)
        self._restored = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restores the metrics of an interrupted epoch."""
        self._epoch_start = self.step
        if self._metrics:
            for name, variable in _name_variables(self.model).items():
                if name in self._metrics:
                    variable.assign(self._metrics[name])
            self._metrics = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Saves if a state is due; in an epoch's last step `on_epoch_end` does, after the other callbacks."""
        self.step = self._epoch_start + batch + 1
        if batch + 1 < self.params["steps"] and not self.model.stop_training:
            self._save_if_due()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Saves if a state is due."""
        self._epoch_start = self.step
        self._save_if_due()

    def _save_if_due(self) -> None:
        (step, moment), saving = self._saved, self.saving
        by_step = saving.steps and self.step // saving.steps > step // saving.steps
        by_time = saving.minutes and time.perf_counter() - moment >= 60 * saving.minutes
        # All processes must agree, because all of them take part in reading the variables.
        is_due, has_signal = self.distribution.reduce_any(bool(by_step or by_time or self._signal), bool(self._signal))
        if is_due:
            self.save()
        if has_signal:
            self._wait_for_write()
            message = f"the state after step {self.step:,} was saved; --resume continues from it"
            raise Interrupted(self._signal or signal.SIGTERM, message)

    def save(self) -> None:
        """Saves the state: copies it now, writes it in the background."""
        self._wait_for_write()
        get_backend().sync_variables(self.model)
        for name, variable in _name_variables(self.model).items():
            array = _read(variable)  # In all processes, see `_save_if_due`.
            if self.distribution.is_chief:
                np.copyto(self._copies.setdefault(name, np.empty_like(array)), array)
        notes = {  # "is_over" and "beside" are names on disk, of `stopped_early` and `stateful`.
            "identity": self.identity,
            "is_within_epoch": self.step > self._epoch_start,
            "is_over": bool(self.model.stop_training),
            "beside": {name: part.state_dict() for name, part in self.stateful.items()},
        }
        # Training continues meanwhile, because the state is a copy.
        if self.distribution.is_chief:
            state = State(self.step, self._copies, json.dumps(notes))
            self._writing = self._writer.submit(write_state, self.directory, state, keep=self.saving.keep)
        self._saved = (self.step, time.perf_counter())

    def _wait_for_write(self) -> None:
        """Waits until the state is written; raises the error of the writing thread."""
        if self._writing:
            self._writing.result()
            self._writing = None


def _name_variables(model: keras.Model) -> dict[str, Any]:
    """Returns all variables of a compiled model, by names that are the same in each session."""
    groups = {"model": model.variables, "optimizer": model.optimizer.variables, "metrics": model.metrics_variables}
    return {f"{group}/{n:05}": variable for group, variables in groups.items() for n, variable in enumerate(variables)}


def _read(variable: Any) -> np.ndarray:
    """Returns the value of a variable, without a copy where possible."""
    value = variable.value
    # TensorFlow copies a variable that is converted to an array, but not the tensor that was read from it.
    return np.asarray(value.read_value()) if hasattr(value, "read_value") else ops.convert_to_numpy(value)
