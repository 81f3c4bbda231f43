"""Exact resume: a training that was ended in any way goes on as if it had not been."""

import contextlib
import dataclasses
import json
import signal
import tempfile
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
from keras_bert_impl.files import new_directory, partial_path, read_json, remove_partial_files, require_empty
from keras_bert_impl.training.distribution import ONE, Distribution
from keras_bert_impl.training.settings import Saving
from keras_bert_impl.training.states import (
    State,
    checksum,
    has_states,
    newest_state,
    remove_states,
    write_state,
)
from keras_bert_impl.training.versions import versions

# Their directory in that of a run.
STATES = "states"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Resumable(Protocol):
    """What has a state beside the variables, such as a callback that counts."""

    def state_dict(self) -> Any:
        """The state, as JSON holds it."""

    def load_state_dict(self, state: Any) -> None:
        """Takes a state up."""


class Clock:
    """The time that a training took, over all its sessions.

    >>> clock = Clock()
    >>> clock.load_state_dict(60.0)
    >>> 60 <= clock.seconds < 61
    True
    """

    def __init__(self) -> None:
        self.load_state_dict(0.0)

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return self._before + time.perf_counter() - self._begin

    def state_dict(self) -> float:
        """The seconds."""
        return self.seconds

    def load_state_dict(self, state: float) -> None:
        """Goes on from so many seconds."""
        self._before = state
        self._begin = time.perf_counter()


@contextlib.contextmanager
def run_directory(output: Path, *, resume: bool, where: Distribution = ONE) -> Iterator[Path]:
    """`new_directory` for a training, which stays when the training is ended and holds its states in ``states``.

    Args:
        output: the directory of the run.
        resume: whether to go on with what was ended.
        where: where the training runs; processes but the chief get a directory that is removed.

    Raises:
        InputError: there is something to go on with, and ``resume`` is false; or see `new_directory`.
    """
    work = partial_path(output)
    if not resume and _has_states(work):
        raise InputError(
            f"{work} holds the states of a training that was ended. Resume it (--resume), or remove that directory to "
            "begin anew."
        )
    if not where.is_chief:
        require_empty(output)
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    with new_directory(output, keep=_has_states) as directory:
        remove_partial_files(directory)
        try:
            yield directory
        except KeyboardInterrupt as error:
            if isinstance(error, Interrupted) or not _has_states(directory):
                raise
            raise Interrupted(
                signal.SIGINT, f"what was saved stays in {directory}; resume goes on from there"
            ) from error
    remove_states(output / STATES)


def finished_run(output: Path, **facts: Any) -> dict[str, Any] | None:
    """What ``metrics.json`` of a run says that is whole; None if there is none.

    Args:
        output: the directory of the run.
        **facts: what it has to say.

    Raises:
        InputError: it says something else.
    """
    if not (output / "metrics.json").is_file():
        return None
    metrics = read_json(output / "metrics.json")
    for name, value in json.loads(json.dumps(facts)).items():
        if metrics.get(name) != value:
            raise InputError(
                f"{output} is a run that is whole, with other {name}: there {metrics.get(name)!r:.400}, here "
                f"{value!r:.400}. Name another directory, or remove this one."
            )
    remove_states(output / STATES)
    return metrics


def identity_of(model: Any, data: Mapping[str, str], *, settings: Any, **facts: Any) -> dict[str, Any]:
    """What a training is, to tell another one.

    Args:
        model: with the weights that it begins with.
        data: checksums, by names.
        settings: a dataclass.
        **facts: others, as JSON holds them.
    """
    sums = {"first weights": checksum(model.state_dict()), **data}
    return {
        **facts,
        **dataclasses.asdict(settings),
        **{f"{name} of the model": value for name, value in model.config.to_dict().items()},
        **{f"checksum of {name}": value for name, value in sums.items()},
        **{f"version of {name}": value for name, value in versions().items()},
    }


def _has_states(directory: Path) -> bool:
    return has_states(directory / STATES)


class SaveStates(keras.callbacks.Callback):
    """Saves the state of a training while it runs, in the background; for `resumable_fit`.

    A state holds all that decides on what comes next: weights, the optimizer's slots and step, the states of dropout,
    metrics, the number of steps made, which tells the next batch, and what other callbacks noted.

    Args:
        directory: where the states are kept.
        saving: how often, and how many are kept.
        beside: what else has a state, by names: callbacks that count or keep a history.
        identity: what must be the same when the training goes on, as JSON holds it.
        where: where the training runs; of several processes all take part in saving, and the chief writes.

    Attributes:
        step: how many steps were made.
        is_over: whether the training ended before its last step, by ``model.stop_training``.

    >>> SaveStates("states", Saving(minutes=5)).step
    0
    """

    def __init__(
        self,
        directory: str | Path,
        saving: Saving | None = None,
        *,
        beside: Mapping[str, Resumable] | None = None,
        identity: Mapping[str, Any] | None = None,
        where: Distribution = ONE,
    ) -> None:
        super().__init__()
        self.where = where
        self.directory = Path(directory)
        self.saving = saving or Saving()
        self.beside = dict(beside or {})
        self.identity = json.loads(json.dumps(identity or {}))  # As it comes back from the disk.
        self.step = 0
        self.is_over = False
        self._metrics: dict[str, np.ndarray] = {}
        # Each state is copied to where the last one was: new memory takes longer than the copying.
        self._copies: dict[str, np.ndarray] = {}
        self._signal: int | None = None
        self._saved = (0, time.perf_counter())

    def restore(self, model: keras.Model, batches: Batches) -> int:
        """Takes up the newest state, where there is one.

        Args:
            model: compiled.
            batches: what it is trained with; one makes the metrics' variables.

        Returns:
            how many steps were made.

        Raises:
            InputError: the state is of another training.
        """
        if getattr(getattr(model.optimizer, "inner_optimizer", model.optimizer), "use_ema", False):
            raise InputError(
                "the optimizer averages the weights (use_ema), which is not resumed exactly. Leave it out."
            )
        if self.where.is_chief:
            remove_partial_files(self.directory)
        state = newest_state(self.directory)
        if not self.where.all_have(state.step if state else 0):
            raise InputError(
                f"the processes do not see the same states in {self.directory}. It must be one directory, which all of "
                "them can read."
            )
        if state is None:
            return 0
        notes = json.loads(state.notes)
        self._check({**notes["identity"], "beside": sorted(notes["beside"])})
        model.test_on_batch(*batches[state.step % len(batches)])
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        shapes = {name: variable.shape for name, variable in variables.items()}
        if shapes != {name: array.shape for name, array in state.arrays.items()}:
            raise InputError(
                f"{self.directory} holds states of another model or optimizer: it has {len(state.arrays)} variables, "
                f"this one {len(variables)}, or they differ in shape. Go on with the same, or name another directory."
            )
        for name, variable in variables.items():
            variable.assign(state.arrays[name])
        if notes["is_within_epoch"]:
            # Keras resets these when `fit` begins.
            self._metrics = {name: array for name, array in state.arrays.items() if name.startswith("metrics")}
        for name, part in self.beside.items():
            part.load_state_dict(notes["beside"][name])
        self.step = state.step
        self.is_over = notes["is_over"]
        self._saved = (self.step, time.perf_counter())
        return self.step

    def _check(self, known: Mapping[str, Any]) -> None:
        own = {**self.identity, "beside": sorted(self.beside)}
        differing = [name for name in {**known, **own} if known.get(name) != own.get(name)]
        if differing:
            name = differing[0]
            more = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
            raise InputError(
                f"{self.directory} holds states of another training: there {name} is {known.get(name)!r:.200}, here "
                f"{own.get(name)!r:.200}{more}. Go on with the same, or begin anew elsewhere."
            )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While a training runs: writes in the background, and answers signals after the step that is under way."""
        with ThreadPoolExecutor(1, thread_name_prefix="states") as self._writer, self._answering_signals():
            self._writing: Future[Any] | None = None
            yield
            self._written()

    @contextlib.contextmanager
    def _answering_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # Only the main thread gets signals.
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number
            # The second time it ends at once.
            signal.signal(number, before[signal.Signals(number)])

        for number in _SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal:
            signal.raise_signal(self._signal)  # It came when there was nothing left to save.

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Puts the metrics of a begun epoch back."""
        self._epoch_begin = self.step
        if self._metrics:
            for name, variable in _variables(self.model).items():
                if name in self._metrics:
                    variable.assign(self._metrics[name])
            self._metrics = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Saves, where it is time; at an epoch's end only after what the others do there."""
        self.step = self._epoch_begin + batch + 1
        if batch + 1 < self.params["steps"] and not self.model.stop_training:
            self._save_if_due()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Saves, where it is time."""
        self._epoch_begin = self.step
        self._save_if_due()

    def _save_if_due(self) -> None:
        (step, moment), saving = self._saved, self.saving
        by_step = saving.steps and self.step // saving.steps > step // saving.steps
        by_time = saving.minutes and time.perf_counter() - moment >= 60 * saving.minutes
        # Reading the variables of several processes is work for all of them.
        is_due, is_leaving = self.where.agreed(bool(by_step or by_time or self._signal), bool(self._signal))
        if is_due:
            self.save()
        if is_leaving:
            self._written()
            message = f"the state after step {self.step:,} was saved; resume goes on from there"
            raise Interrupted(self._signal or signal.SIGTERM, message)

    def save(self) -> None:
        """Saves the state: copies it now, and writes it in the background."""
        self._written()
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        for name, variable in _variables(self.model).items():
            array = _read(variable)  # On all processes, see `_save_if_due`.
            if self.where.is_chief:
                np.copyto(self._copies.setdefault(name, np.empty_like(array)), array)
        beside = {name: part.state_dict() for name, part in self.beside.items()}
        # All of it is a copy, which nobody touches before it is written: the training goes on.
        notes = {
            "identity": self.identity,
            "is_within_epoch": self.step > self._epoch_begin,
            "is_over": bool(self.model.stop_training),
            "beside": beside,
        }
        if self.where.is_chief:
            state = State(self.step, self._copies, json.dumps(notes))
            self._writing = self._writer.submit(write_state, self.directory, state, keep=self.saving.keep)
        self._saved = (self.step, time.perf_counter())

    def _written(self) -> None:
        """Waits for the state that is being written; raises what hindered it."""
        if self._writing:
            self._writing.result()
            self._writing = None


def states_of(output: Path, saving: Saving | None, *, where: Distribution, **arguments: Any) -> SaveStates:
    """The `SaveStates` of the run that makes a directory; of several processes the chief's alone writes.

    Args:
        output: the directory of the run.
        saving: how often, and how many are kept.
        where: where the training runs.
        **arguments: the others of `SaveStates`.
    """
    return SaveStates(partial_path(output) / STATES, saving, where=where, **arguments)


def _variables(model: keras.Model) -> dict[str, Any]:
    """All variables of a compiled model, by names that are the same in each session."""
    kinds = {"model": model.variables, "optimizer": model.optimizer.variables, "metrics": model.metrics_variables}
    return {f"{kind}/{n:05}": variable for kind, variables in kinds.items() for n, variable in enumerate(variables)}


def _read(variable: Any) -> np.ndarray:
    """The array in a variable, not copied where that can be."""
    value = variable.value
    # TensorFlow copies a variable that becomes an array, and not the tensor that is read of it.
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
    """Plain ``fit``, which goes on from the newest of ``states``, also within an epoch.

    Args:
        model: compiled.
        batches: such as `LengthBatches` or `PretrainingBatches`: batch ``k`` depends on ``k`` and a seed alone.
        states: saves states while the training runs, and knows where it runs: ``batches`` are what is shared out there.
        steps: how many in all, those of earlier sessions included.
        steps_per_epoch: steps in an epoch; the last may be shorter.
        callbacks: others; those that count belong in ``states`` as well. Where an epoch is not whole, ``fit`` is called
            for it alone, and so is their ``on_train_begin``.
        **arguments: more for ``fit``.

    Raises:
        InputError: the states are of another training, or the optimizer averages weights.
        OSError: a state cannot be written.
        Interrupted: SIGINT or SIGTERM came; the state was saved.

    >>> batches = LengthBatches(features, 32, seed=1, epochs=3)  # doctest: +SKIP
    >>> resumable_fit(model, batches, states=SaveStates("states", Saving(minutes=5)),
    ...               steps=len(batches), steps_per_epoch=batches.per_epoch)  # doctest: +SKIP
    """
    arguments = {**arguments, "callbacks": [*callbacks, states], "shuffle": False}
    step = states.restore(model, batches)
    with states.running():
        while step < steps and not states.is_over:
            epoch, within = divmod(step, steps_per_epoch)
            of_epoch = min(steps_per_epoch - within, steps - step)
            model.fit(
                states.where.feed(batches, start=step),
                initial_epoch=epoch,
                epochs=steps // steps_per_epoch if of_epoch == steps_per_epoch else epoch + 1,
                steps_per_epoch=of_epoch,
                **arguments,
            )
            if model.stop_training or states.step == step:
                break
            step = states.step
