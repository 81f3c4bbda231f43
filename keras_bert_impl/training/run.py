"""``Run``: a training run, its directory, and exact resume of interrupted training."""

import contextlib
import dataclasses
import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_bert_impl
from keras_bert_impl.data.feed import Batches
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.files import (
    create_directory,
    partial_path,
    read_json,
    remove_partial_files,
    require_empty,
    to_json,
    write_text,
)
from keras_bert_impl.training.distribution import SINGLE_DEVICE, Distribution, get_backend
from keras_bert_impl.training.optimizers import make_optimizer
from keras_bert_impl.training.settings import SavingSettings, TrainingSettings
from keras_bert_impl.training.states import SaveStates, Stateful, compute_checksum, has_states, remove_states

# The directory of the states, inside that of the run.
STATES = "states"
# The number of steps of a run that a callback ends: more than any run reaches.
ENDLESS = 1 << 40


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
        """Returns the seconds so far."""
        return self.seconds

    def load_state_dict(self, state: float) -> None:
        """Continues from these seconds."""
        self._before = state
        self._start = time.perf_counter()


class Run:
    """A training run: its directory, its lock, its states, and what is written at its end.

    The directory has a temporary name, and is renamed when the run is complete. Until then it is locked, so
    that no other process writes the same run, and contains the states from which an interrupted run is resumed.

    Args:
        output: the directory; must be new or empty.
        settings: the training settings.
        request: the other arguments of the run, under their names in ``metrics.json``.
        resume: whether an interrupted run is continued.

    Attributes:
        directory: the directory under its temporary name, inside the ``with`` block of `open`.
        distribution: the devices and processes that train together, inside the ``with`` block of `open`.

    >>> settings = FineTuningSettings(epochs=2)  # doctest: +SKIP
    >>> run = Run("runs/sentiment", settings=settings, request={"source": "bert-base-uncased"})  # doctest: +SKIP
    >>> with run.open():  # doctest: +SKIP
    ...     run.train(model, batches, ...)
    ...     run.finish({"accuracy": 0.9}, tokenizer=tokenizer, card=make_card)
    """

    def __init__(
        self, output: str | Path, *, settings: TrainingSettings, request: Mapping[str, Any], resume: bool = False
    ) -> None:
        self.output = Path(output)
        self.settings = settings
        self.request = {**request, "settings": dataclasses.asdict(settings)}
        self.resume = resume
        self.directory = partial_path(self.output)
        self.distribution = SINGLE_DEVICE

    @property
    def name(self) -> str:
        """The name of the model: that of the directory."""
        return self.output.absolute().name

    def load_finished(self) -> dict[str, Any] | None:
        """Returns the content of ``metrics.json`` if the run is resumed and already complete, else None.

        Raises:
            InputError: the directory contains a finished run of a different request.
        """
        path = self.output / "metrics.json"
        if not (self.resume and path.is_file()):
            return None
        metrics = read_json(path)
        for name, value in json.loads(json.dumps(self.request)).items():
            # Runs of older versions have no record of options if the task had none.
            recorded = metrics.get(name, {} if name == "options" else None)
            if name == "settings":
                recorded = {**self._get_default_settings(), **(recorded or {})}
            elif name == "options":  # Older versions do not record them for all tasks.
                recorded = recorded or {}
            if recorded == value:
                continue
            if isinstance(recorded, dict) and isinstance(value, dict):
                key = next(key for key in {**recorded, **value} if recorded.get(key) != value.get(key))
                name, recorded, value = f"{key} ({name})", recorded.get(key), value.get(key)
            raise InputError(
                f"{self.output} is a finished run with a different {name}: {recorded!r:.400} there, {value!r:.400} "
                "here. Name another directory, or remove this one."
            )
        remove_states(self.output / STATES)
        return metrics

    def _get_default_settings(self) -> dict[str, Any]:
        """Returns the values of settings that runs of older versions do not record."""
        return dataclasses.asdict(type(self.settings)())

    @contextlib.contextmanager
    def open(self, distribution: Distribution = SINGLE_DEVICE) -> Iterator[Path]:
        """Creates and locks the directory, which is kept if the run is interrupted after a state was saved.

        Args:
            distribution: the devices and processes; those other than the chief get a directory that is removed.

        Yields:
            the directory under its temporary name.

        Raises:
            InputError: the run was interrupted and is not to be resumed; or see `create_directory`.
            Interrupted: SIGINT came after a state was saved.
        """
        self.distribution = distribution
        if not self.resume and _has_states(self.directory):
            raise InputError(
                f"{self.directory} contains the states of an interrupted run. Resume it (--resume), or remove that "
                "directory to start again."
            )
        if not distribution.is_chief:
            require_empty(self.output)
            with tempfile.TemporaryDirectory() as name:
                self.directory = Path(name)
                yield self.directory
            return
        with create_directory(self.output, keep=_has_states) as self.directory:
            remove_partial_files(self.directory)
            try:
                yield self.directory
            except KeyboardInterrupt as error:
                if isinstance(error, Interrupted) or not _has_states(self.directory):
                    raise
                message = f"the saved states remain in {self.directory}; --resume continues from them"
                raise Interrupted(signal.SIGINT, message) from error
        remove_states(self.output / STATES)

    def train(
        self,
        model: Any,
        batches: Batches,
        *,
        losses: dict[str, Any],
        steps: int | None,
        steps_per_epoch: int,
        identity: Mapping[str, Any],
        checksums: Mapping[str, str],
        stateful: Mapping[str, Stateful],
        callbacks: Sequence[keras.callbacks.Callback],
        saving: SavingSettings | None,
        rate_factors: Mapping[int, float] | None = None,
        **arguments: Any,
    ) -> None:
        """Compiles the model and trains it, starting from the newest state if there is one. Call it inside `open`.

        Args:
            model: created in the scope of the distribution, with the weights that training starts from.
            batches: see `fit_with_resume`; not split yet.
            losses: losses and metrics, as arguments of ``model.compile``.
            steps: total number of steps, over which the learning rate follows its schedule; None trains with a constant
                rate until a callback sets ``model.stop_training``.
            steps_per_epoch: number of steps in an epoch.
            identity: what must be the same in a resumed run, besides settings and model.
            checksums: checksums of the data, by name, which must be the same too.
            stateful: callbacks and others whose state is saved, by name.
            callbacks: callbacks, see `fit_with_resume`.
            saving: how often states are saved.
            rate_factors: factors of the learning rate by the ``id`` of the variable; None: all have the same rate.
            **arguments: other arguments of ``fit``.

        Raises:
            InputError: the states are those of a different run.
            Interrupted: SIGINT or SIGTERM arrived; the state was saved.
        """
        settings, distribution = self.settings, self.distribution
        with distribution.scope():
            optimizer = make_optimizer(settings, steps=steps, rate_factors=rate_factors)
            distribution.compile(model, optimizer, losses, settings=settings)
        states = SaveStates(
            partial_path(self.output) / STATES,
            saving,
            stateful=stateful,
            identity={**identity, **self._fingerprint(model, checksums)},
            identity_defaults=self._get_default_settings(),
            distribution=distribution,
        )
        fit_with_resume(
            model,
            distribution.split(batches, accumulate=settings.accumulate),
            states=states,
            steps=steps or ENDLESS,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks,
            **arguments,
        )

    def _fingerprint(self, model: Any, checksums: Mapping[str, str]) -> dict[str, Any]:
        """Fingerprint of a training run, to refuse resuming a different one."""
        checksums = {"first weights": compute_checksum(model.state_dict()), **checksums}
        return {
            **dataclasses.asdict(self.settings),
            **{f"{name} of the model": value for name, value in model.config.to_dict().items()},
            **{f"checksum of {name}": value for name, value in checksums.items()},
            **{f"version of {name}": value for name, value in list_versions().items()},
        }

    def finish(self, metrics: Mapping[str, Any], *, tokenizer: Any, card: Callable[..., str]) -> dict[str, Any]:
        """Writes the tokenizer, ``metrics.json`` and the model card; inside `open`, in the chief.

        Args:
            metrics: the content of ``metrics.json``, without versions.
            tokenizer: the model's tokenizer.
            card: the function that writes the model card, `make_model_card` or `make_pretraining_card`.

        Returns:
            the content of ``metrics.json``.
        """
        metrics = {**metrics, "versions": list_versions()}
        tokenizer.save_pretrained(self.directory)
        write_text(self.directory / "metrics.json", to_json(metrics))
        write_text(self.directory / "README.md", card(metrics, name=self.name))
        return metrics


def check_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Checks the callbacks of a user.

    Raises:
        InputError: one of them is not a Keras callback.
    """
    expected = "Pass a list of objects such as keras.callbacks.CSVLogger('log.csv')."
    if not isinstance(callbacks, list | tuple):
        raise InputError(f"callbacks is {callbacks!r:.200}; a list of Keras callbacks was expected. {expected}")
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(f"callbacks contains {callback!r:.200}, which is not a Keras callback. {expected}")


class SessionCallbacks(keras.callbacks.CallbackList):
    """Callbacks of a session of training, which begin and end once, although the session calls ``fit`` several times.

    The arguments are those of ``keras.callbacks.CallbackList``.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Does nothing: ``fit`` calls it, but the session has already begun."""

    def on_train_end(self, logs: Any = None) -> None:
        """Does nothing: ``fit`` calls it, but the session may continue."""

    @contextlib.contextmanager
    def begin(self) -> Iterator[None]:
        """Context of the session. A signal ends it too; other errors do not call ``on_train_end``, as in Keras."""
        super().on_train_begin()
        try:
            yield
        except Interrupted:
            self._end()
            raise
        self._end()

    def _end(self) -> None:
        # The logs that `fit` passes lack what the callbacks added.
        super().on_train_end({name: values[-1] for name, values in self.model.history.history.items()})


def fit_with_resume(
    model: keras.Model,
    batches: Batches,
    *,
    states: SaveStates,
    steps: int,
    steps_per_epoch: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
    **arguments: Any,
) -> None:
    """Plain ``fit`` that continues from the newest state, also within an epoch.

    Callbacks see a session as one call of ``fit``: ``on_train_begin`` and ``on_train_end`` are called once, the latter
    also after Ctrl-C or SIGTERM. A session that continues within an epoch calls ``on_epoch_begin`` again for this
    epoch, and counts its remaining batches from 0. The state of callbacks that have the methods ``state_dict`` and
    ``load_state_dict`` is part of the saved state; it is loaded after ``on_train_begin``. Callbacks whose attribute
    ``chief_only`` is true are called by the first process only.

    Args:
        model: a compiled model.
        batches: batches such as `LengthBatches` or `PretrainingBatches`, where batch ``k`` depends on ``k`` and a seed
            only; already split for the distribution of ``states``.
        states: saves the states, and knows the distribution.
        steps: total number of steps, those of earlier sessions included.
        steps_per_epoch: number of steps in an epoch; the last epoch may be shorter.
        callbacks: other callbacks.
        verbose: see ``fit``.
        **arguments: other arguments of ``fit``.

    Raises:
        InputError: the states are those of a different training run, the optimizer averages weights, or a callback is
            not a Keras callback.
        OSError: a state cannot be written.
        Interrupted: SIGINT or SIGTERM arrived; the state was saved.

    >>> batches = LengthBatches(features, 32, seed=1, epochs=3)  # doctest: +SKIP
    >>> fit_with_resume(model, batches, states=SaveStates("states", SavingSettings(minutes=5)),
    ...               steps=len(batches), steps_per_epoch=batches.per_epoch)  # doctest: +SKIP
    """
    check_callbacks(callbacks)
    if not states.distribution.is_chief:
        callbacks = [callback for callback in callbacks if not getattr(callback, "chief_only", False)]
    states.add_stateful(callbacks)
    step = states.restore(model, batches)
    session = SessionCallbacks(
        [*callbacks, states],
        model=model,
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=-(-steps // steps_per_epoch),
        steps=steps_per_epoch,
    )
    with states.start_session(), session.begin():
        while step < steps and not states.stopped_early:
            epoch, within = divmod(step, steps_per_epoch)
            epoch_steps = min(steps_per_epoch - within, steps - step)
            # An incomplete epoch is a separate call of `fit`, which has one number of steps for all its epochs.
            session.set_params({**session.params, "steps": epoch_steps})
            model.fit(
                states.distribution.feed(batches, start=step),
                initial_epoch=epoch,
                epochs=steps // steps_per_epoch if epoch_steps == steps_per_epoch else epoch + 1,
                steps_per_epoch=epoch_steps,
                callbacks=session,
                shuffle=False,
                **arguments,
            )
            if model.stop_training or states.step == step:
                break
            step = states.step


def _has_states(directory: Path) -> bool:
    return has_states(directory / STATES)


def list_versions() -> dict[str, str]:
    """Returns the versions of this package and of the libraries that determine the results."""
    return {
        "keras_bert_impl": keras_bert_impl.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "backend": get_backend().describe_version(),
    }
