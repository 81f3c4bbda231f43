"""Training on JAX: data parallelism by ``keras.distribution``, and gradient accumulation."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import jax
import keras
import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.training.distribution import LOST_WORKER, Distribution
from keras_bert_impl.training.distribution.base import (
    Backend,
    Filling,
    average_over_entries,
    get_values,
    join_rows,
    split_rows,
    update_metrics,
)

# Words in JAX's error messages that show that another process has ended.
_LOST_SIGNS = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED")


@contextlib.contextmanager
def start_data_parallel(devices: int | None) -> Iterator[Distribution]:
    """``keras.distribution.DataParallel`` over the devices of this process, or of several processes."""
    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
        if devices is not None:
            raise InputError("devices was given for several processes, which use all their devices. Omit it.")
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise InputError(
                "the processes that KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and "
                f"KERAS_DISTRIBUTION_PROCESS_ID name cannot connect: {error}"
            ) from error
    if devices is not None:
        with contextlib.suppress(RuntimeError):  # JAX has already started: the devices are counted below.
            jax.config.update("jax_num_cpu_devices", devices)
    available = keras.distribution.list_devices()
    if devices is not None and devices > len(available):
        raise InputError(
            f"devices is {devices}, but this process has {len(available)}. Choose at most {len(available)}."
        )
    parallel = keras.distribution.DataParallel(devices=available[:devices], auto_shard_dataset=False)
    processes = jax.process_count()
    distribution = Distribution(replicas=parallel.num_model_replicas, processes=processes, process=jax.process_index())
    try:
        with parallel.scope():
            yield distribution
        distribution.reduce_any(True)  # A barrier: a process that leaves early looks lost to the others.
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if processes == 1 or not any(sign in str(error) for sign in _LOST_SIGNS):
            raise
        raise InputError(LOST_WORKER) from error


class JaxBackend(Backend):
    """JAX, whose training state is outside the variables during ``fit``."""

    strategies: ClassVar = {"data_parallel": start_data_parallel}

    def choose_jit(self, jit: bool | None, *, is_plain: bool) -> bool:
        """By default all steps are compiled, because JAX is slow without."""
        return jit is not False

    def sync_variables(self, model: keras.Model) -> None:
        """Copies the training state to the variables."""
        model.jax_state_sync()

    def reduce_any(self, distribution: Distribution, flags: tuple[bool, ...]) -> tuple[bool, ...]:
        """Gathers the flags of all processes."""
        from jax.experimental import multihost_utils

        return tuple(multihost_utils.process_allgather(np.array(flags)).any(axis=0).tolist())

    def make_accumulation_step(self, model: keras.Model, parts: int) -> Callable[..., Any]:
        """Returns a scan over the parts inside one step."""
        return functools.partial(_run_accumulation_step, model, parts)

    def make_whole_batch_step(self, model: keras.Model, parts: int, *, replicas: int) -> Callable[..., Any] | None:
        """Returns two scans over the parts. A compiled step has the rows of all replicas, so nothing is gathered."""
        return functools.partial(_run_whole_batch_step, model, parts) if parts > 1 else None


def _run_accumulation_step(model: keras.Model, parts: int, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    weights, changing, slots, metrics = state
    loss_and_gradients = jax.value_and_grad(model.compute_loss_and_updates, has_aux=True)
    x, y, sample_weight = batch = keras.utils.unpack_x_y_sample_weight(data)
    filling = Filling.create(x, parts)
    # Copied rows have no weight, but metrics may have no weights: those of a filled batch are computed at its end.
    measure_parts = not filling.is_needed

    def run_part(carried: Any, part: Any) -> Any:
        sums, changing, metrics = carried
        x, y, own_weights, loss_weights = part
        with average_over_entries(model):
            (_, (loss, outputs, changing, metrics)), gradients = loss_and_gradients(
                weights, changing, metrics, x, y, loss_weights, training=True, optimizer_variables=slots
            )
        if measure_parts:
            with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics, strict=True))) as scope:
                update_metrics(model, (x, y, own_weights), loss, outputs)
            metrics = get_values(scope, model.metrics_variables)
        sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
        return (sums, changing, metrics), None if measure_parts else (loss, outputs)

    start = ([ops.zeros_like(weight) for weight in weights], changing, metrics)
    filled = (*filling.fill(batch), filling.make_loss_weights(model, y, sample_weight))
    (sums, changing, metrics), results = jax.lax.scan(run_part, start, split_rows(filled, parts))
    weights, slots = model.optimizer.stateless_apply(slots, [total / parts for total in sums], weights)
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics, strict=True))) as scope:
        if not measure_parts:
            losses, outputs = results
            update_metrics(model, batch, ops.mean(losses), filling.cut(join_rows(outputs)))
        logs = model.get_metrics_result()
    return logs, (weights, changing, slots, get_values(scope, model.metrics_variables))


def _run_whole_batch_step(model: keras.Model, parts: int, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    weights, before, slots, metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    filling = Filling.create(x, parts)
    x_parts = split_rows(filling.fill(x), parts)

    def run_part(weights: Any, changing: Any, part: Any) -> tuple[Any, Any]:
        return model.stateless_call(weights, changing, part, training=True)

    def embed_part(changing: Any, part: Any) -> tuple[Any, Any]:
        outputs, changing = run_part(weights, changing, part)
        return changing, outputs

    _, output_parts = jax.lax.scan(embed_part, before, x_parts)
    outputs = filling.cut(join_rows(output_parts))

    def compute_loss(outputs: Any) -> tuple[Any, Any]:
        loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True)
        with keras.StatelessScope(state_mapping=list(zip(model.optimizer.variables, slots, strict=True))):
            return model.optimizer.scale_loss(loss), loss

    output_gradients, loss = jax.grad(compute_loss, has_aux=True)(outputs)

    def add_gradient(carried: Any, part: Any) -> Any:
        sums, changing = carried
        x_part, gradients = part
        # `changing` starts with the same values as in the first scan, so that dropout is the same.
        _, compute_vjp, changing = jax.vjp(lambda weights: run_part(weights, changing, x_part), weights, has_aux=True)
        [weight_gradients] = compute_vjp(gradients)
        return ([total + gradient for total, gradient in zip(sums, weight_gradients, strict=True)], changing), None

    start = ([ops.zeros_like(weight) for weight in weights], before)
    gradient_parts = split_rows(filling.fill_with_zeros(output_gradients), parts)
    (sums, changing), _ = jax.lax.scan(add_gradient, start, (x_parts, gradient_parts))
    weights, slots = model.optimizer.stateless_apply(slots, sums, weights)
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics, strict=True))) as scope:
        update_metrics(model, (x, y, sample_weight), loss, outputs)
        logs = model.get_metrics_result()
    return logs, (weights, changing, slots, get_values(scope, model.metrics_variables))
