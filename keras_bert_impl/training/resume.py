"""Exact resume of interrupted training."""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from keras_bert_impl.data import Batches
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.files import remove_partial_files
from keras_bert_impl.training.distribution import SINGLE_DEVICE, Distribution, current_backend
from keras_bert_impl.training.settings import Saving
from keras_bert_impl.training.states import State, newest_state, write_state

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stateful(Protocol):
    """An object with a state besides the variables, such as a callback that counts."""

    def state_dict(self) -> Any:
        """The state, which must be JSON serializable."""

    def load_state_dict(self, state: Any) -> None:
        """Restores a state."""


class Clock:
    """The duration of a training run, over all its sessions.

    >>> clock = Clock()
    >>> clock.load_state_dict(60.0)
    >>> 60 <= clock.seconds < 61
    True
    """

    def __init__(self) -> None:
        self.load_state_dict(0.0)

    @property
    def seconds(self) -> float:
        """The duration so far."""
        return self._before + time.perf_counter() - self._start

    def state_dict(self) -> float:
        """The seconds so far."""
        return self.seconds

    def load_state_dict(self, state: float) -> None:
        """Continues from these seconds."""
        self._before = state
        self._start = time.perf_counter()


class SaveStates(keras.callbacks.Callback):
    """Saves the state of a training run during training, in the background; for `resumable_fit`.

    A state holds everything that determines the following steps: weights, the optimizer's variables and step, the
    seeds of dropout, metrics, the number of steps done, which determines the next batch, and those of ``stateful``.

    Args:
        directory: directory of the states.
        saving: how often states are saved, and how many are kept.
        stateful: other objects with a state, by name: callbacks that count or keep a history.
        identity: what must be the same when the training is resumed; JSON serializable.
        identity_defaults: values of fields of the identity that states of older versions lack.
        distribution: devices and processes of the training. All processes take part in saving; the chief writes.

    Attributes:
        step: number of steps done.
        stopped_early: whether ``model.stop_training`` ended the training before its last step.

    >>> SaveStates("states", Saving(minutes=5)).step
    0
    """

    def __init__(
        self,
        directory: str | Path,
        saving: Saving | None = None,
        *,
        stateful: Mapping[str, Stateful] | None = None,
        identity: Mapping[str, Any] | None = None,
        identity_defaults: Mapping[str, Any] | None = None,
        distribution: Distribution = SINGLE_DEVICE,
    ) -> None:
        super().__init__()
        self.distribution = distribution
        self.directory = Path(directory)
        self.saving = saving or Saving()
        self.stateful = dict(stateful or {})
        self.identity = json.loads(json.dumps(identity or {}))  # As a state holds it.
        self.identity_defaults = json.loads(json.dumps(identity_defaults or {}))
        self.step = 0
        self.stopped_early = False
        self._metrics: dict[str, np.ndarray] = {}
        # Each state is copied into the arrays of the previous one: allocating takes longer than copying.
        self._copies: dict[str, np.ndarray] = {}
        self._signal: int | None = None
        self._saved = (0, time.perf_counter())

    def restore(self, model: keras.Model, batches: Batches) -> int:
        """Restores the newest state, if there is one.

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
        state = newest_state(self.directory)
        if not self.distribution.same_in_all_processes(state.step if state else 0):
            raise InputError(
                f"the processes see different states in {self.directory}. It must be one directory that all can read."
            )
        if state is None:
            return 0
        notes = json.loads(state.notes)
        self._check({**notes["identity"], "beside": sorted(notes["beside"])})
        model.test_on_batch(*batches[state.step % len(batches)])
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        variables = _named_variables(model)
        shapes = {name: variable.shape for name, variable in variables.items()}
        if shapes != {name: array.shape for name, array in state.arrays.items()}:
            raise InputError(
                f"{self.directory} holds states of a different model or optimizer: it has {len(state.arrays)} "
                f"variables, this one {len(variables)}, or they differ in shape. Continue with the same model, or use "
                "another directory."
            )
        for name, variable in variables.items():
            variable.assign(state.arrays[name])
        if notes["is_within_epoch"]:
            # Keras resets these at the start of `fit`.
            self._metrics = {name: array for name, array in state.arrays.items() if name.startswith("metrics")}
        for name, part in self.stateful.items():
            part.load_state_dict(notes["beside"][name])
        self.step = state.step
        self.stopped_early = notes["is_over"]
        self._saved = (self.step, time.perf_counter())
        return self.step

    def _check(self, saved: Mapping[str, Any]) -> None:
        saved = {**self.identity_defaults, **saved}
        own = {**self.identity, "beside": sorted(self.stateful)}
        differing = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
        if differing:
            name = differing[0]
            more = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
            raise InputError(
                f"{self.directory} holds states of a different training run: {name} is {saved.get(name)!r:.200} there "
                f"and {own.get(name)!r:.200} here{more}. Continue with the same settings, or use another directory."
            )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The duration of a training: states are written in the background, signals are handled after the step."""
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

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restores the metrics of an interrupted epoch."""
        self._epoch_start = self.step
        if self._metrics:
            for name, variable in _named_variables(self.model).items():
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
        is_due, has_signal = self.distribution.any_process(bool(by_step or by_time or self._signal), bool(self._signal))
        if is_due:
            self.save()
        if has_signal:
            self._wait_for_write()
            message = f"the state after step {self.step:,} was saved; --resume continues from it"
            raise Interrupted(self._signal or signal.SIGTERM, message)

    def save(self) -> None:
        """Saves the state: copies it now, writes it in the background."""
        self._wait_for_write()
        current_backend().sync_variables(self.model)
        for name, variable in _named_variables(self.model).items():
            array = _read(variable)  # In all processes, see `_save_if_due`.
            if self.distribution.is_chief:
                np.copyto(self._copies.setdefault(name, np.empty_like(array)), array)
        notes = {
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


def _named_variables(model: keras.Model) -> dict[str, Any]:
    """All variables of a compiled model, by names that are the same in each session."""
    groups = {"model": model.variables, "optimizer": model.optimizer.variables, "metrics": model.metrics_variables}
    return {f"{group}/{n:05}": variable for group, variables in groups.items() for n, variable in enumerate(variables)}


def _read(variable: Any) -> np.ndarray:
    """The value of a variable, without a copy where possible."""
    value = variable.value
    # TensorFlow copies a variable that is converted to an array, but not the tensor that was read from it.
    return np.asarray(value.read_value()) if hasattr(value, "read_value") else ops.convert_to_numpy(value)


def resumable_fit(
    model: keras.Model,
    batches: Batches,
    *,
    states: SaveStates,
    steps: int,
    steps_per_epoch: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **arguments: Any,
) -> None:
    """Plain ``fit`` that continues from the newest state, also within an epoch.

    Args:
        model: a compiled model.
        batches: batches such as `LengthBatches` or `PretrainingBatches`, where batch ``k`` depends on ``k`` and a seed
            only; already split for the distribution of ``states``.
        states: saves the states, and knows the distribution.
        steps: total number of steps, those of earlier sessions included.
        steps_per_epoch: number of steps in an epoch; the last epoch may be shorter.
        callbacks: other callbacks; those with a state must be in ``states`` as well. An incomplete epoch has a call of
            ``fit`` of its own, and so of their ``on_train_begin``.
        **arguments: other arguments of ``fit``.

    Raises:
        InputError: the states are those of a different training run, or the optimizer averages weights.
        OSError: a state cannot be written.
        Interrupted: SIGINT or SIGTERM arrived; the state was saved.

    >>> batches = LengthBatches(features, 32, seed=1, epochs=3)  # doctest: +SKIP
    >>> resumable_fit(model, batches, states=SaveStates("states", Saving(minutes=5)),
    ...               steps=len(batches), steps_per_epoch=batches.per_epoch)  # doctest: +SKIP
    """
    arguments = {**arguments, "callbacks": [*callbacks, states], "shuffle": False}
    step = states.restore(model, batches)
    with states.running():
        while step < steps and not states.stopped_early:
            epoch, within = divmod(step, steps_per_epoch)
            epoch_steps = min(steps_per_epoch - within, steps - step)
            model.fit(
                states.distribution.feed(batches, start=step),
                initial_epoch=epoch,
                epochs=steps // steps_per_epoch if epoch_steps == steps_per_epoch else epoch + 1,
                steps_per_epoch=epoch_steps,
                **arguments,
            )
            if model.stop_training or states.step == step:
                break
            step = states.step
