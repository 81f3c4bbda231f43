"""The devices and processes that train together: one device, several replicas, or workers on several machines."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from keras_bert_impl.data.batch_splitter import BatchSplitter, use_sum_reduction
from keras_bert_impl.data.feed import Batches, make_evaluation_data, make_fit_data
from keras_bert_impl.errors import InputError
from keras_bert_impl.training.distribution.base import (
    LossScaleOptimizer,
    ReplicaSummedOptimizer,
    get_backend,
    has_whole_batch_loss,
)
from keras_bert_impl.training.settings import TrainingSettings

# The backend of each strategy.
_STRATEGIES = {"mirrored": "tensorflow", "multiworker": "tensorflow", "data_parallel": "jax"}
# Strategies that are not supported: the reason, and the alternative.
REFUSED_STRATEGIES = {
    "parameter_server": "Keras 3 does not support parameter servers. Use multiworker: each worker has all weights.",
}
LOST_WORKER = (
    "another worker was lost: it ended, or its machine cannot be reached. Start all workers again, with --resume if "
    "states were saved."
)


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The devices and processes that train together; `start_strategy` makes it.

    Args:
        replicas: number of devices that process a batch together, over all processes.
        processes: number of processes.
        process: index of this process; 0 is the chief, the only one that writes files.
        strategy: TensorFlow's strategy, if there is one.
    """

    replicas: int = 1
    processes: int = 1
    process: int = 0
    strategy: Any = None

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files."""
        return self.process == 0

    def reduce_any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns for each flag whether it is true in any process. All processes must call this together."""
        return flags if self.processes == 1 else get_backend().reduce_any(self, flags)

    def is_same_in_all_processes(self, number: int) -> bool:
        """Whether a non-negative number is the same in all processes, which must call this together."""
        bits = [bool(number >> place & 1) for place in range(64)]
        return sum(self.reduce_any(*bits, *(not bit for bit in bits))) == len(bits)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the scope in which model and optimizer are created."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def uses_jit(self, settings: TrainingSettings) -> bool:
        """Whether training steps are compiled with XLA.

        Raises:
            InputError: the settings ask for it, but the backend cannot compile such steps.
        """
        is_plain = self.replicas * settings.accumulate == 1 and self.strategy is None
        return get_backend().choose_jit(settings.jit, is_plain=is_plain)

    def compile(self, model: Any, optimizer: Any, arguments: dict[str, Any], *, settings: TrainingSettings) -> None:
        """Compiles a model for the batches that `split` returns.

        Args:
            model: created in `scope`.
            optimizer: created in `scope`.
            arguments: the other arguments of ``model.compile``.
            settings: their precision, gradient accumulation, rematerialization and use of XLA are applied.
        """
        if settings.precision == "float16":
            optimizer = LossScaleOptimizer(optimizer)
        if self.replicas * settings.accumulate > 1:
            arguments = use_sum_reduction(arguments)
        model.compile(optimizer=optimizer, jit_compile=self.uses_jit(settings), **arguments)
        _set_step(model, settings.accumulate, replicas=self.replicas)
        model.gradient_checkpointing_enable(settings.remat)

    def split(self, batches: Batches, *, accumulate: int = 1, normalize_weights: bool = True) -> Batches:
        """Returns the parts of each batch that this process trains on, see `keras_bert_impl.data.BatchSplitter`.

        Raises:
            InputError: the batch size is not divisible by the number of parts.
        """
        if self.replicas * accumulate == 1:
            return batches
        local = self.replicas // self.processes
        # TensorFlow takes one element for each replica; JAX takes one for each process and splits it itself.
        parts, devices = (self.replicas, 1) if self.strategy is not None else (self.processes, local)
        of_process = parts // self.processes
        local_parts = range(self.process * of_process, (self.process + 1) * of_process)
        return BatchSplitter(
            batches,
            parts,
            local_parts=local_parts,
            accumulate=accumulate,
            devices=devices,
            normalize_weights=normalize_weights,
        )

    def feed(self, batches: Batches, *, start: int = 0, repeated: bool = False) -> Any:
        """Feeds the batches of `split` to ``fit``, from batch ``start`` on; see `make_fit_data`."""
        if isinstance(batches, BatchSplitter):
            start *= len(batches.local_parts)
        if self.strategy is None:
            return make_fit_data(batches, start=start, repeated=repeated)
        return self.strategy.distribute_datasets_from_function(
            lambda _: make_fit_data(batches, start=start, repeated=repeated)
        )

    def make_validation_arguments(self, batches: Batches) -> dict[str, Any]:
        """Arguments for ``fit`` to validate on all these batches, with the weighted metrics of a single device."""
        if self.replicas == 1 and self.strategy is None:
            return {"validation_data": make_evaluation_data(batches)}
        return {
            "validation_data": self.feed(self.split(batches, normalize_weights=False), repeated=True),
            "validation_steps": len(batches),
        }


SINGLE_DEVICE = Distribution()


@contextlib.contextmanager
def start_strategy(strategy: str | None = None, *, devices: int | None = None) -> Iterator[Distribution]:
    """Starts the strategy of a training run.

    Args:
        strategy: None for one device; ``mirrored`` for all GPUs of this machine, or logical devices of its CPU;
            ``multiworker`` for the workers that the environment variable ``TF_CONFIG`` names; on JAX ``data_parallel``
            for all devices, also of several processes where the environment variables
            ``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``…_NUM_PROCESSES`` and ``…_PROCESS_ID`` are set.
        devices: number of devices of this process; a CPU is split into as many. None: all.

    Yields:
        the distribution; it is valid inside the ``with`` block.

    Raises:
        InputError: the backend has no such strategy, or the environment names no workers.

    >>> with start_strategy("mirrored", devices=2) as distribution, distribution.scope():  # doctest: +SKIP
    ...     model = BertForPreTraining(BertConfig.preset("tiny"))
    """
    if strategy is None:
        if devices is not None:
            raise InputError("devices was given without a strategy; name one, such as mirrored.")
        yield SINGLE_DEVICE
        return
    if devices is not None and devices < 1:
        raise InputError(f"devices is {devices}; an integer above 0 was expected.")
    name = strategy.replace("-", "_")
    if name in REFUSED_STRATEGIES:
        raise InputError(REFUSED_STRATEGIES[name])
    if name not in _STRATEGIES:
        raise InputError(f"{strategy!r} is not a strategy; the strategies are {', '.join(_STRATEGIES)}.")
    backend, needed = get_backend(), _STRATEGIES[name]
    if backend.name != needed:
        raise InputError(
            f"The strategy {strategy} needs the backend {needed}, but Keras runs on {backend.name}, which has "
            f"{' and '.join(backend.strategies) or 'none'}. Set KERAS_BACKEND={needed} to change the backend."
        )
    with backend.strategies[name](devices) as distribution:
        yield distribution


def accumulate(model: keras.Model, parts: int) -> None:
    """Turns on gradient accumulation inside one training step; call it after each ``compile``.

    ``fit`` then splits each batch into parts, runs them one after the other, and applies the mean of their gradients
    once. It needs the memory for the activations of one part, and one more copy of the weights for the sum. Steps,
    epochs, the learning rate and the batch size do not change.

    Unlike ``gradient_accumulation_steps`` of Keras' optimizers it works under a ``tf.distribute`` strategy, with one
    exchange of gradients in each step. The update is that of the complete batch, also for weights that differ, and for
    a last batch whose rows do not divide into equal parts: copies of a row with weight 0 fill it up. Losses that are
    sums need weights that sum to the number of parts, as `BatchSplitter` makes them.

    A loss that compares the rows of a batch with each other, such as multiple negatives ranking, remains that of the
    complete batch: each part runs twice, as in GradCache.

    Args:
        model: a compiled model of this package; the step depends on its loss.
        parts: number of parts. 1 turns it off.

    Raises:
        InputError: the number is below 1, the model is not compiled, or is compiled with XLA on TensorFlow; or the
            backend has no such step.

    >>> accumulate(model, 8)  # doctest: +SKIP
    >>> model.fit(inputs, labels, batch_size=256)  # doctest: +SKIP
    """
    if parts < 1:
        raise InputError(f"accumulate is {parts}; an integer above 0 was expected.")
    if not model.compiled:
        raise InputError("the model is not compiled; accumulate needs its loss. Call compile first.")
    _set_step(model, parts, replicas=1)


def _set_step(model: keras.Model, parts: int, *, replicas: int) -> None:
    backend = get_backend()
    if has_whole_batch_loss(model):
        step = backend.make_whole_batch_step(model, parts, replicas=replicas)
    else:
        step = backend.make_accumulation_step(model, parts) if parts > 1 else None
    model.custom_train_step = step
    model.train_function = None  # `fit` builds it again.


__all__ = [
    "LOST_WORKER",
    "REFUSED_STRATEGIES",
    "SINGLE_DEVICE",
    "Distribution",
    "LossScaleOptimizer",
    "ReplicaSummedOptimizer",
    "accumulate",
    "get_backend",
    "start_strategy",
]
