"""Where a training runs: one device, several replicas on this machine, or workers on several."""

import contextlib
import dataclasses
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_bert_impl.data import Batches, Shares, for_evaluation, for_fit, summing
from keras_bert_impl.errors import InputError
from keras_bert_impl.training.accumulation import accumulate
from keras_bert_impl.training.optimizers import LossScaleOptimizer
from keras_bert_impl.training.settings import FineTuning, PreTraining

# Seconds in which all workers are to be there.
WAIT = 300.0
_LOST = (
    "another worker was lost: it ended, or its machine cannot be reached. Start all workers again, with --resume where "
    "states were saved."
)
# What errors of JAX say where another process is not there any more.
_SIGNS_OF_LOSS = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED")
# What is not there, and what to take instead.
_REFUSED = {
    "parameter_server": "Keras 3 does not support parameter servers. Use multiworker, whose workers hold all weights.",
}


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Where a training runs; `distributed` makes it.

    Args:
        replicas: over how many devices a batch is spread, all processes together.
        processes: how many processes train together.
        process: the number of this one; 0 is the chief, which alone writes.
        strategy: TensorFlow's, where there is one.
    """

    replicas: int = 1
    processes: int = 1
    process: int = 0
    strategy: Any = None

    @property
    def is_chief(self) -> bool:
        """Whether this process writes."""
        return self.process == 0

    def agreed(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether any process has it; all processes are to ask."""
        return flags if self.processes == 1 else _AGREED[keras.backend.backend()](self, flags)

    def all_have(self, number: int) -> bool:
        """Whether all processes give the same number, from 0 on; all are to ask."""
        bits = [bool(number >> place & 1) for place in range(64)]
        return sum(self.agreed(*bits, *(not bit for bit in bits))) == len(bits)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Where the model is made and compiled."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def compile(
        self, model: Any, optimizer: Any, arguments: dict[str, Any], *, settings: FineTuning | PreTraining
    ) -> None:
        """``model.compile`` for what `share` gives, with what the settings say of memory and precision.

        Args:
            model: made in `scope`.
            optimizer: made there too.
            arguments: the others of ``compile``.
            settings: precision, accumulation and rematerialisation are looked at.
        """
        if settings.precision == "float16":
            optimizer = LossScaleOptimizer(optimizer)
        if self.replicas * settings.accumulate > 1:
            arguments = summing(arguments)
        # With XLA, which Keras takes on GPUs, TensorFlow would compile for each length of rows.
        model.compile(optimizer=optimizer, jit_compile=keras.backend.backend() == "jax", **arguments)
        accumulate(model, settings.accumulate)
        model.gradient_checkpointing_enable(settings.remat)

    def share(self, batches: Batches, *, accumulate: int = 1, is_normal: bool = True) -> Batches:
        """The parts of batches of this process; with several replicas or parts losses are to be sums, see `Shares`.

        Raises:
            InputError: the batch size cannot be divided.
        """
        if self.replicas * accumulate == 1:
            return batches
        local = self.replicas // self.processes
        # TensorFlow takes an element for each replica. JAX takes one for each process, and cuts it itself.
        parts, devices = (self.replicas, 1) if self.strategy is not None else (self.processes, local)
        of_process = parts // self.processes
        mine = range(self.process * of_process, (self.process + 1) * of_process)
        return Shares(batches, parts, mine=mine, accumulate=accumulate, devices=devices, is_normal=is_normal)

    def feed(self, batches: Batches, *, start: int = 0, repeated: bool = False) -> Any:
        """What `share` gave, from batch ``start`` on, for ``fit``; see `keras_bert_impl.data.for_fit`."""
        if isinstance(batches, Shares):
            start *= len(batches.mine)
        if self.strategy is None:
            return for_fit(batches, start=start, repeated=repeated)
        return self.strategy.distribute_datasets_from_function(
            lambda _: for_fit(batches, start=start, repeated=repeated)
        )

    def validation(self, batches: Batches) -> dict[str, Any]:
        """Keywords for ``fit`` to validate with all of these batches; weighted metrics are those of one device."""
        if self.replicas == 1 and self.strategy is None:
            return {"validation_data": for_evaluation(batches)}
        return {
            "validation_data": self.feed(self.share(batches, is_normal=False), repeated=True),
            "validation_steps": len(batches),
        }

    def predict_on_batch(self, model: keras.Model) -> Callable[[Any], Any]:
        """``model.predict_on_batch``, which each process runs for itself on the whole batch."""
        return model.predict_on_batch if self.replicas == 1 else _PREDICT[keras.backend.backend()](model)


ONE = Distribution()


@contextlib.contextmanager
def distributed(strategy: str | None = None, *, devices: int | None = None) -> Iterator[Distribution]:
    """Picks and makes the strategy of a training.

    Args:
        strategy: None for one device; ``mirrored`` for all GPUs of this machine, or logical devices of its CPU;
            ``multiworker`` for the workers that the environment's ``TF_CONFIG`` names; on JAX ``data_parallel`` for all
            devices, also of several processes where ``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``…_NUM_PROCESSES`` and
            ``…_PROCESS_ID`` stand in the environment.
        devices: how many devices of this process to take; a CPU is cut into as many. None for those that there are.

    Yields:
        the distribution, while it holds.

    Raises:
        InputError: the backend has no such strategy, or the environment names no workers.

    >>> with distributed("mirrored", devices=2) as where, where.scope():  # doctest: +SKIP
    ...     model = BertForPreTraining(BertConfig.preset("tiny"))
    """
    if strategy is None:
        if devices is not None:
            raise InputError("devices was given without a strategy; name one, such as mirrored.")
        yield ONE
        return
    if devices is not None and devices < 1:
        raise InputError(f"devices is {devices}; a whole number above 0 was expected.")
    name = strategy.replace("-", "_")
    if name in _REFUSED:
        raise InputError(_REFUSED[name])
    backend = keras.backend.backend()
    if name not in _STRATEGIES:
        raise InputError(f"No strategy is named {strategy!r}; there are {', '.join(_STRATEGIES)}.")
    needed, make = _STRATEGIES[name]
    if needed != backend:
        own = [other for other, (where, _) in _STRATEGIES.items() if where == backend]
        raise InputError(
            f"The strategy {strategy} is one of {needed}, and the backend is {backend}, which has "
            f"{' and '.join(own) or 'none'}. KERAS_BACKEND={needed} changes the backend."
        )
    with make(devices) as made:
        yield made


@contextlib.contextmanager
def _mirrored(devices: int | None) -> Iterator[Distribution]:
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(_tensorflow_devices(devices))
    yield Distribution(replicas=strategy.num_replicas_in_sync, strategy=strategy)


def _tensorflow_devices(devices: int | None) -> list[str]:
    """The names of the devices to take, GPUs where there are any."""
    import tensorflow as tf

    gpus, cpus = (tf.config.list_physical_devices(kind) for kind in ("GPU", "CPU"))
    if devices is not None and gpus and devices > len(gpus):
        raise InputError(f"devices is {devices}; there are {len(gpus)} here.")
    if devices is not None and not gpus:
        logical = [tf.config.LogicalDeviceConfiguration()] * devices
        try:
            if tf.config.get_logical_device_configuration(cpus[0]) != logical:
                tf.config.set_logical_device_configuration(cpus[0], logical)
        except RuntimeError as error:
            raise InputError(
                f"TensorFlow has begun with other devices, and so the CPU cannot be cut into {devices}. Do it first in "
                "the process."
            ) from error
    return [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")][:devices]


@contextlib.contextmanager
def _multiworker(devices: int | None) -> Iterator[Distribution]:
    if devices is not None:
        raise InputError(
            "devices was given for multiworker, whose workers take all GPUs of their machine. Leave it out."
        )
    import tensorflow as tf

    workers, index = _workers(os.environ.get("TF_CONFIG", ""))
    _meet(workers, index, seconds=WAIT)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"TensorFlow cannot join the workers: {error}. Call `distributed` before any "
            "other operation of the process."
        ) from error
    replicas = strategy.num_replicas_in_sync
    try:
        made = Distribution(replicas=replicas, processes=len(workers), process=index, strategy=strategy)
        yield made
        made.agreed(True)  # All wait for all: to the others a worker that has left is one that was lost.
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise InputError(_LOST) from error


def _meet(workers: list[str], index: int, *, seconds: float) -> None:
    """Waits until all workers can be reached, for TensorFlow would wait for ever.

    While one waits it listens itself; when it goes on, TensorFlow listens at the same address.
    """
    port = workers[index].rpartition(":")[2]
    deadline = time.monotonic() + seconds
    try:
        listening = socket.create_server(("", int(port)))
    except OSError as error:
        raise InputError(
            f"worker {index} is to listen at {workers[index]}, as TF_CONFIG says, and cannot: {error.strerror}."
        ) from error
    with listening:
        for number, address in enumerate(workers):
            host, _, port = address.rpartition(":")
            while number != index:
                try:
                    socket.create_connection((host, int(port)), timeout=1).close()
                    break
                except (OSError, UnicodeError) as error:
                    if time.monotonic() > deadline:
                        raise InputError(
                            f"worker {number} cannot be reached at {address}, where TF_CONFIG has it ({error}); waited "
                            f"{seconds:.0f} seconds."
                        ) from error
                    time.sleep(0.2)


def _workers(text: str) -> tuple[list[str], int]:
    """The addresses in a ``TF_CONFIG``, and which of them is this process."""
    example = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'
    if not text:
        raise InputError(f"multiworker needs the environment's TF_CONFIG, such as\n{example}")
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        kinds, kind, index = sorted(cluster), task["type"], int(task["index"])
        workers = [*cluster.get("chief", []), *cluster.get("worker", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"TF_CONFIG is {text!r:.200}; something like this was expected:\n{example}") from error
    if "ps" in kinds:
        raise InputError(f"TF_CONFIG names parameter servers (ps). {_REFUSED['parameter_server']}")
    if kind not in ("chief", "worker") or kind not in kinds or not 0 <= index < len(cluster[kind]):
        raise InputError(f"TF_CONFIG says that this is {kind} {index}; its cluster has {len(workers)} workers.")
    wrong = [address for address in workers if not _is_address(address)]
    if wrong:
        raise InputError(f"TF_CONFIG names the worker {wrong[0]!r}; HOST:PORT was expected.")
    if len(set(workers)) < len(workers):
        raise InputError(f"TF_CONFIG names a worker twice: {', '.join(workers)}. Each needs an address of its own.")
    if len(workers) == 1:
        raise InputError("TF_CONFIG names one worker, this one. Leave the strategy out, or take mirrored.")
    return workers, index + (len(cluster.get("chief", [])) if kind == "worker" else 0)


def _is_address(value: Any) -> bool:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 1 << 16


@contextlib.contextmanager
def _data_parallel(devices: int | None) -> Iterator[Distribution]:
    import jax

    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
        if devices is not None:
            raise InputError("devices was given for several processes, which take all of theirs. Leave it out.")
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise InputError(
                "the processes that KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and "
                f"KERAS_DISTRIBUTION_PROCESS_ID name do not meet: {error}"
            ) from error
    if devices is not None:
        with contextlib.suppress(RuntimeError):  # JAX has begun: what there is is looked at below.
            jax.config.update("jax_num_cpu_devices", devices)
    there = keras.distribution.list_devices()
    if devices is not None and devices > len(there):
        raise InputError(f"devices is {devices}; there are {len(there)} here.")
    parallel = keras.distribution.DataParallel(devices=there[:devices], auto_shard_dataset=False)
    processes = jax.process_count()
    made = Distribution(replicas=parallel.num_model_replicas, processes=processes, process=jax.process_index())
    try:
        with parallel.scope():
            yield made
        if processes > 1:
            made.agreed(True)  # All wait for all: to the others a process that has left is one that was lost.
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if processes == 1 or not any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            raise
        raise InputError(_LOST) from error


def _tensorflow_predict(model: keras.Model) -> Callable[[Any], Any]:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def run(inputs: Any) -> Any:
        return model(inputs, training=False)

    return lambda inputs: keras.tree.map_structure(keras.ops.convert_to_numpy, run(inputs))


def _jax_predict(model: keras.Model) -> Callable[[Any], Any]:
    import jax

    @jax.jit
    def run(values: list[Any], inputs: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return model(inputs, training=False)

    return lambda inputs: keras.tree.map_structure(
        keras.ops.convert_to_numpy, run([variable.value for variable in model.variables], inputs)
    )


def _tensorflow_agreed(where: Distribution, flags: tuple[bool, ...]) -> tuple[bool, ...]:
    import tensorflow as tf

    summed = where.strategy.reduce("SUM", tf.constant(flags, tf.float32), axis=None)
    return tuple((summed.numpy() > 0).tolist())


def _jax_agreed(where: Distribution, flags: tuple[bool, ...]) -> tuple[bool, ...]:
    import numpy as np
    from jax.experimental import multihost_utils

    return tuple(multihost_utils.process_allgather(np.array(flags)).any(axis=0).tolist())


_AGREED = {"tensorflow": _tensorflow_agreed, "jax": _jax_agreed}
_PREDICT = {"tensorflow": _tensorflow_predict, "jax": _jax_predict}
# The strategies: their backend, and what makes them.
_STRATEGIES = {
    "mirrored": ("tensorflow", _mirrored),
    "multiworker": ("tensorflow", _multiworker),
    "data_parallel": ("jax", _data_parallel),
}
