"""Batches whose parts go through the model one after the other: the memory of a part, the step of the whole."""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_bert_impl.errors import InputError


def accumulate(model: keras.Model, parts: int) -> None:
    """Makes ``fit`` cut each batch into parts, whose gradients are averaged for the one step of the optimizer.

    Only the memory of one part's activations is needed, and one more copy of the weights for the sum. Steps, epochs,
    the learning rate and the number of rows in a batch stay what they were. Call it before ``fit``.

    Unlike ``gradient_accumulation_steps`` of Keras' optimizers it works under a ``tf.distribute`` strategy, with one
    exchange of gradients a step. The mean is over the parts: where weights or padding make their losses unequal, use
    losses that are sums and weights that sum to the number of parts, as `keras_bert_impl.data.Shares` makes them.

    Args:
        model: a model of this package.
        parts: how many; each batch, and each replica's share of it, must have a multiple of it in rows. 1 for Keras'
            own step.

    Raises:
        InputError: the number is below 1, or there is no such step for the backend.

    >>> accumulate(model, 8)  # doctest: +SKIP
    >>> model.fit(inputs, labels, batch_size=256)  # doctest: +SKIP
    """
    if parts < 1:
        raise InputError(f"accumulate is {parts}; a whole number above 0 was expected.")
    backend = keras.backend.backend()
    if parts > 1 and backend not in _STEPS:
        raise InputError(f"Gradients are accumulated on {' and '.join(_STEPS)}, not on {backend}.")
    model.custom_train_step = functools.partial(_STEPS[backend], model, parts) if parts > 1 else None
    model.train_function = None  # `fit` makes it anew.


def _cut(data: Any, parts: int) -> Any:
    """``[rows, ...]`` to ``[parts, rows / parts, ...]``: with a stride, so that sharded rows stay where they are."""

    def cut(values: Any) -> Any:
        shape = tuple(ops.shape(values))
        return ops.swapaxes(ops.reshape(values, (shape[0] // parts, parts, *shape[1:])), 0, 1)

    return _each(cut, keras.utils.unpack_x_y_sample_weight(data))


def _each(function: Callable[[Any], Any], data: Any) -> Any:
    """A function of each array; absent weights and inputs are None, and stay."""
    return keras.tree.map_structure(lambda array: None if array is None else function(array), data)


def _noted(model: keras.Model, part: Any, loss: Any, outputs: Any) -> None:
    """Updates loss and metrics with a part."""
    x, y, weights = part
    rows = next(ops.shape(array)[0] for array in keras.tree.flatten(x) if array is not None)
    model._loss_tracker.update_state(loss, sample_weight=rows)
    model.compute_metrics(x, y, outputs, sample_weight=weights)


def _values(scope: keras.StatelessScope, variables: list[Any]) -> list[Any]:
    return [scope.get_current_value(variable) for variable in variables]


def _tensorflow_step(model: keras.Model, parts: int, data: Any) -> dict[str, Any]:
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    cut = _cut(data, parts)
    weights = model.trainable_weights
    # What changes but not by gradients: the states of dropout, and metrics. It goes through the loop as values, for
    # inside of a loop a strategy cannot exchange anything.
    still = {id(variable) for variable in model.weights}
    with tf.init_scope():  # Metrics make their variables when they are first used, which is too late in a loop.
        model._symbolic_build(data_batch=_each(lambda array: keras.KerasTensor(array.shape[1:], array.dtype), cut))
    changing = [variable for variable in model.variables if id(variable) not in still] + model.metrics_variables

    untouched: set[int] = set()  # Which weights have no gradient: known once the loop's body is traced.

    def one_part(k: Any, sums: list[Any], values: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        part = _each(lambda array: array[k], cut)
        x, y, sample_weight = part
        with keras.StatelessScope(state_mapping=list(zip(changing, values, strict=True))) as scope:
            with tf.GradientTape() as tape:
                outputs = model(x, training=True)
                loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True)
                scaled = model.optimizer.scale_loss(loss)
            _noted(model, part, loss * strategy.num_replicas_in_sync, outputs)
        gradients = tape.gradient(scaled, [weight.value for weight in weights])
        untouched.update(n for n, gradient in enumerate(gradients) if gradient is None)
        return k + 1, [_added(*pair) for pair in zip(sums, gradients, strict=True)], _values(scope, changing)

    _, sums, values = tf.while_loop(
        lambda k, *_: k < parts,
        one_part,
        [0, [tf.zeros(weight.shape, weight.dtype) for weight in weights], [ops.copy(one) for one in changing]],
        parallel_iterations=1,
    )
    for variable, value in zip(changing, values, strict=True):
        variable.assign(value)
    means = [None if n in untouched else total / parts for n, total in enumerate(sums)]
    model.optimizer.apply_gradients(list(zip(means, weights, strict=True)))
    return model.get_metrics_result()


def _added(total: Any, gradient: Any) -> Any:
    import tensorflow as tf

    if isinstance(gradient, tf.IndexedSlices):
        return tf.tensor_scatter_nd_add(total, gradient.indices[:, None], gradient.values)
    return total if gradient is None else total + gradient


def _jax_step(model: keras.Model, parts: int, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    import jax

    weights, changing, slots, metrics = state
    of_part = jax.value_and_grad(model.compute_loss_and_updates, has_aux=True)

    def one_part(carried: Any, part: Any) -> Any:
        sums, changing, metrics = carried
        (_, (loss, outputs, changing, metrics)), gradients = of_part(
            weights, changing, metrics, *part, training=True, optimizer_variables=slots
        )
        with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics, strict=True))) as scope:
            _noted(model, part, loss, outputs)
        sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
        return (sums, changing, _values(scope, model.metrics_variables)), None

    begin = ([ops.zeros_like(weight) for weight in weights], changing, metrics)
    (sums, changing, metrics), _ = jax.lax.scan(one_part, begin, _cut(data, parts))
    weights, slots = model.optimizer.stateless_apply(slots, [total / parts for total in sums], weights)
    with keras.StatelessScope(state_mapping=list(zip(model.metrics_variables, metrics, strict=True))):
        logs = model.get_metrics_result()
    return logs, (weights, changing, slots, metrics)


_STEPS: dict[str, Callable[..., Any]] = {"tensorflow": _tensorflow_step, "jax": _jax_step}
