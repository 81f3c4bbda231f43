"""Training on TensorFlow: strategies, gradient accumulation, gradients of replicas, and AdamW's fused update."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.ops.trimming import cut_padding
from keras_bert_impl.training.distribution import LOST_WORKER, Distribution
from keras_bert_impl.training.distribution.base import (
    Backend,
    Filling,
    average_over_entries,
    get_values,
    join_rows,
    map_arrays,
    split_rows,
    update_metrics,
)


@contextlib.contextmanager
def start_mirrored(devices: int | None) -> Iterator[Distribution]:
    """``tf.distribute.MirroredStrategy`` over the GPUs of this machine, or over logical devices of its CPU."""
    strategy = tf.distribute.MirroredStrategy(_find_devices(devices))
    yield Distribution(replicas=strategy.num_replicas_in_sync, strategy=strategy)


def _find_devices(devices: int | None) -> list[str]:
    """Returns the names of the first devices: GPUs, or where there are none logical devices of the CPU."""
    gpus, cpus = (tf.config.list_physical_devices(kind) for kind in ("GPU", "CPU"))
    if devices is not None and gpus and devices > len(gpus):
        raise InputError(f"devices is {devices}, but this machine has {len(gpus)} GPUs. Choose at most {len(gpus)}.")
    if devices is not None and not gpus:
        logical = [tf.config.LogicalDeviceConfiguration()] * devices
        try:
            if tf.config.get_logical_device_configuration(cpus[0]) != logical:
                tf.config.set_logical_device_configuration(cpus[0], logical)
        except RuntimeError as error:
            raise InputError(
                f"TensorFlow has already started with other devices, so the CPU cannot be split into {devices}. Call "
                "`start_strategy` before any other operation of the process."
            ) from error
    return [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")][:devices]


@contextlib.contextmanager
def start_multiworker(devices: int | None) -> Iterator[Distribution]:
    """``tf.distribute.MultiWorkerMirroredStrategy`` over the workers that ``TF_CONFIG`` names."""
    if devices is not None:
        raise InputError("devices was given for multiworker, whose workers use all GPUs of their machine. Omit it.")
    from keras_bert_impl.training.distribution.workers import read_tf_config, wait_for_workers

    workers, index = read_tf_config(os.environ.get("TF_CONFIG", ""))
    wait_for_workers(workers, index)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"TensorFlow cannot join the workers: {error}. Call `start_strategy` before any other operation of the "
            "process."
        ) from error
    replicas = strategy.num_replicas_in_sync
    try:
        distribution = Distribution(replicas=replicas, processes=len(workers), process=index, strategy=strategy)
        yield distribution
        distribution.reduce_any(True)  # A barrier: a worker that leaves early looks lost to the others.
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise InputError(LOST_WORKER) from error


class TensorFlowBackend(Backend):
    """TensorFlow: embeddings have sparse gradients, and strategies distribute a step over replicas."""

    has_fused_adam = True
    strategies: ClassVar = {"mirrored": start_mirrored, "multiworker": start_multiworker}

    def choose_jit(self, jit: bool | None, *, is_plain: bool) -> bool:
        """By default plain steps are compiled on a GPU; on CPUs, oneDNN's own operations are faster."""
        if jit and not is_plain:
            raise InputError(
                "jit (--jit) was given with accumulate or a strategy, whose steps TensorFlow runs without XLA only. "
                "Omit jit, or set KERAS_BACKEND=jax."
            )
        return is_plain and bool(tf.config.list_physical_devices("GPU")) if jit is None else jit

    def reduce_any(self, distribution: Distribution, flags: tuple[bool, ...]) -> tuple[bool, ...]:
        """Returns a sum over the replicas of the strategy."""
        total = distribution.strategy.reduce("SUM", tf.constant(flags, tf.float32), axis=None)
        return tuple((total.numpy() > 0).tolist())

    def make_accumulation_step(self, model: keras.Model, parts: int) -> Callable[..., Any]:
        """Returns a loop over the parts inside one step."""
        _refuse_xla(model)
        return functools.partial(_run_accumulation_step, model, parts)

    def make_whole_batch_step(self, model: keras.Model, parts: int, *, replicas: int) -> Callable[..., Any] | None:
        """Returns two loops over the parts; between them the outputs of all replicas are gathered."""
        if parts > 1:
            _refuse_xla(model)
        return functools.partial(_run_whole_batch_step, model, parts) if parts * replicas > 1 else None

    def sum_gradients(self, gradients: Sequence[Any], *, is_dense: bool) -> Sequence[Any]:
        """``all_reduce`` over the replicas; duplicate rows of embeddings are merged before and after it."""
        prepare = _to_dense if is_dense else merge_duplicate_rows
        gradients = [prepare(gradient) for gradient in gradients]
        return [prepare(gradient) for gradient in _all_reduce(gradients)] if _has_replicas() else gradients

    def reduce_all(self, is_true: Any) -> Any:
        """Counts the replicas on which it is false."""
        if not _has_replicas():
            return is_true
        [false_count] = _all_reduce([1.0 - ops.cast(is_true, "float32")])
        return false_count == 0

    def clip_by_global_norm(self, gradients: Sequence[Any], norm: float) -> Sequence[Any]:
        """TensorFlow's own, which takes sparse gradients."""
        return tf.clip_by_global_norm(gradients, norm)[0]

    def apply_adamw(
        self, variable: Any, momentum: Any, velocity: Any, gradient: Any, *, step: Any, learning_rate: Any, **rates: Any
    ) -> None:
        """TensorFlow's one operation for Adam, after the decay."""
        rate = tf.cast(learning_rate, variable.dtype)
        if rates["weight_decay"] is not None:
            variable.assign(variable * (1 - rate * rates["weight_decay"]))
        step = tf.cast(step, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=tf.pow(rates["beta_1"], step),
            beta2_power=tf.pow(rates["beta_2"], step),
            lr=rate,
            beta1=rates["beta_1"],
            beta2=rates["beta_2"],
            epsilon=rates["epsilon"],
            grad=tf.convert_to_tensor(gradient),
        )


def _has_replicas() -> bool:
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def _all_reduce(gradients: Sequence[Any]) -> list[Any]:
    """Sums over the replicas; None, such as the gradient of a variable without one, is not changed."""
    present = [gradient for gradient in gradients if gradient is not None]
    sums = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, present))
    return [None if gradient is None else next(sums) for gradient in gradients]


def merge_duplicate_rows(gradient: Any) -> Any:
    """Returns the gradient with each row once, if it is sparse (``tf.IndexedSlices``), as those of embeddings are."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, row_of_slice = tf.unique(gradient.indices)
    return tf.IndexedSlices(
        tf.math.unsorted_segment_sum(gradient.values, row_of_slice, tf.size(rows)), rows, gradient.dense_shape
    )


def _to_dense(gradient: Any) -> Any:
    return None if gradient is None else tf.convert_to_tensor(gradient)


def _refuse_xla(model: keras.Model) -> None:
    if model.jit_compile:
        raise InputError(
            "the model was compiled with jit_compile=True, Keras' default on GPUs; TensorFlow accumulates gradients "
            "without XLA only. Pass jit_compile=False to compile."
        )


def _run_accumulation_step(model: keras.Model, parts: int, data: Any) -> dict[str, Any]:
    strategy = tf.distribute.get_strategy()
    x, y, sample_weight = complete = keras.utils.unpack_x_y_sample_weight(data)
    filling = Filling.create(x, parts)
    batch = split_rows(filling.fill(complete), parts)
    loss_weights = split_rows(filling.make_loss_weights(model, y, sample_weight), parts)
    weights = model.trainable_weights
    with tf.init_scope():  # Metrics create their variables at first use, which must be before the loop.
        model._symbolic_build(
            data_batch=map_arrays(lambda array: keras.KerasTensor(array.shape[1:], array.dtype), batch)
        )
    # Variables that change without gradients. The loop carries their values, because a strategy cannot exchange
    # anything inside a loop.
    changing = _list_dropout_states(model) + model.metrics_variables

    without_gradient: set[int] = set()  # Indices into `weights`, complete after the loop's body is traced.

    def run_part(k: Any, sums: list[Any], values: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        part, weights_of_part = map_arrays(lambda array: array[k], (batch, loss_weights))
        x, y, _ = part
        with keras.StatelessScope(state_mapping=list(zip(changing, values, strict=True))) as scope:
            with tf.GradientTape() as tape, average_over_entries(model):
                outputs = model(x, training=True)
                loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weights_of_part, training=True)
                scaled = model.optimizer.scale_loss(loss)
            if filling.is_needed:  # Metrics may have no weights, so the copied rows are removed.
                own_rows = (filling.rows - k + parts - 1) // parts
                part, outputs = map_arrays(lambda array: array[:own_rows], (part, outputs))
            unscaled, rows = loss * strategy.num_replicas_in_sync, ops.cast(filling.rows, "float32") / parts
            update_metrics(model, part, unscaled, outputs, rows=rows)
        gradients = tape.gradient(scaled, [weight.value for weight in weights])
        without_gradient.update(n for n, gradient in enumerate(gradients) if gradient is None)
        sums = [_add_gradient(*pair) for pair in zip(sums, gradients, strict=True)]
        return k + 1, sums, get_values(scope, changing)

    _, sums, values = tf.while_loop(
        lambda k, *_: k < parts,
        run_part,
        [0, [tf.zeros(weight.shape, weight.dtype) for weight in weights], [ops.copy(value) for value in changing]],
        parallel_iterations=1,
    )
    for variable, value in zip(changing, values, strict=True):
        variable.assign(value)
    means = [None if n in without_gradient else total / parts for n, total in enumerate(sums)]
    model.optimizer.apply_gradients(list(zip(means, weights, strict=True)))
    return model.get_metrics_result()


def _list_dropout_states(model: keras.Model) -> list[Any]:
    """Returns the variables that are not weights: the states of dropout's random generators."""
    weight_ids = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weight_ids]


def _run_whole_batch_step(model: keras.Model, parts: int, data: Any) -> dict[str, Any]:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    run = _run_at_once if parts == 1 else functools.partial(_run_in_parts, parts=parts)
    outputs, compute_vjp = run(model, x)
    # Each replica computes the same loss of all rows, and the gradients of the weights for its own rows; the optimizer
    # sums these over the replicas.
    all_y, all_outputs, all_weights = _gather((y, outputs, sample_weight))
    with tf.GradientTape() as tape:
        tape.watch(all_outputs)
        loss = model.compute_loss(x=x, y=all_y, y_pred=all_outputs, sample_weight=all_weights, training=True)
        scaled = model.optimizer.scale_loss(loss)
    gradients = compute_vjp(map_arrays(_take_own_rows, tape.gradient(scaled, all_outputs)))
    model.optimizer.apply_gradients(list(zip(gradients, model.trainable_weights, strict=True)))
    update_metrics(model, (x, y, sample_weight), loss, outputs)
    return model.get_metrics_result()


def _gather(data: Any) -> Any:
    """Concatenates the rows of all replicas, which have the same number of rows.

    It is a sum of arrays that are 0 at the rows of others: TensorFlow's ``all_gather`` fails on workers with one
    replica each.
    """
    if not _has_replicas():
        return data
    context = tf.distribute.get_replica_context()
    number, last = context.replica_id_in_sync_group, context.num_replicas_in_sync - 1

    def pad(array: Any) -> Any:
        rows = tf.shape(array)[0]
        return tf.pad(array, [[number * rows, (last - number) * rows], *[[0, 0]] * (array.shape.rank - 1)])

    padded = map_arrays(pad, data)
    return keras.tree.pack_sequence_as(padded, _all_reduce(keras.tree.flatten(padded)))


def _take_own_rows(gathered: Any) -> Any:
    """Returns the rows of this replica among those of `_gather`."""
    if not _has_replicas():
        return gathered
    context = tf.distribute.get_replica_context()
    rows = tf.shape(gathered)[0] // context.num_replicas_in_sync
    begin = context.replica_id_in_sync_group * rows
    return gathered[begin : begin + rows]


# The vector-Jacobian product: from the gradient with respect to the outputs to the gradients of the weights, None for
# those without.
_ComputeVjp = Callable[[Any], list[Any]]


def _run_at_once(model: keras.Model, x: Any) -> tuple[Any, _ComputeVjp]:
    """Runs a model; returns its outputs, and the vector-Jacobian product."""
    weights = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
    return outputs, lambda gradients: tape.gradient(outputs, weights, output_gradients=gradients)


def _run_in_parts(model: keras.Model, x: Any, *, parts: int) -> tuple[Any, _ComputeVjp]:
    """Runs a model on one part of the rows after the other; the vector-Jacobian product runs each part again."""
    weights = [weight.value for weight in model.trainable_weights]
    filling = Filling.create(x, parts)
    x_parts, states = split_rows(filling.fill(x), parts), _list_dropout_states(model)
    before = [ops.copy(state) for state in states]

    def run_part(k: Any, values: list[Any]) -> tuple[Any, list[Any]]:
        with keras.StatelessScope(state_mapping=list(zip(states, values, strict=True))) as scope:
            outputs = model(cut_padding(map_arrays(lambda array: array[k], x_parts)), training=True)
        return outputs, get_values(scope, states)

    def loop(body: Callable[..., tuple[Any, list[Any]]], start: Any) -> Any:
        """Runs ``body(k, carried, values)`` for each part."""

        def run(k: Any, carried: Any, values: list[Any]) -> tuple[Any, Any, list[Any]]:
            return k + 1, *body(k, carried, values)

        return tf.while_loop(lambda k, *_: k < parts, run, [0, start, before], parallel_iterations=1)[1:]

    structure: list[Any] = []  # That of the outputs, known after the loop's body is traced.

    def write_output(k: Any, array: Any, values: list[Any]) -> tuple[Any, list[Any]]:
        outputs, values = run_part(k, values)
        structure[:] = [outputs]
        [output] = keras.tree.flatten(outputs)
        return array.write(k, output), values

    without_gradient: set[int] = set()  # Indices into `weights`, complete after the loop's body is traced.

    def compute_vjp(gradients: Any) -> list[Any]:
        gradient_parts = split_rows(filling.fill_with_zeros(gradients), parts)

        def add_gradients(k: Any, sums: list[Any], values: list[Any]) -> tuple[Any, list[Any]]:
            with tf.GradientTape() as tape:
                outputs, values = run_part(k, values)
            part = map_arrays(lambda array: array[k], gradient_parts)
            of_part = tape.gradient(outputs, weights, output_gradients=part)
            without_gradient.update(n for n, gradient in enumerate(of_part) if gradient is None)
            return [_add_gradient(*pair) for pair in zip(sums, of_part, strict=True)], values

        # The states of dropout start with the same values as in the first loop, so that the masks are the same.
        sums, after = loop(add_gradients, [tf.zeros(weight.shape, weight.dtype) for weight in weights])
        for state, value in zip(states, after, strict=True):
            state.assign(value)
        return [None if n in without_gradient else total for n, total in enumerate(sums)]

    array, _ = loop(write_output, tf.TensorArray(tf.float32, parts))
    return keras.tree.pack_sequence_as(structure[0], [filling.cut(join_rows(array.stack()))]), compute_vjp


def _add_gradient(total: Any, gradient: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.tensor_scatter_nd_add(total, gradient.indices[:, None], gradient.values)
    return total if gradient is None else total + gradient
