"""Rematerialization: computing values again in the backward pass instead of storing them."""

from typing import Any

import keras
from keras import ops


def rematerialize(layer: keras.layers.Layer, *inputs: Any, training: bool | None) -> Any:
    """Calls a built layer with one output; for its gradient only the inputs are stored, and the layer runs again.

    Keras' own ``RematScope`` draws other dropout masks the second time on TensorFlow. Here the states of the random
    generators are passed in as values. ``training`` is passed on, since the second call cannot inherit it from a
    caller.
    """
    weights, others = layer.trainable_variables, layer.non_trainable_variables
    weight_ids = {id(weight) for weight in layer.weights}
    states = [variable for variable in others if id(variable) not in weight_ids]
    before = [ops.copy(variable) for variable in others]

    def run_stateless(*arguments: Any) -> tuple[Any, ...]:
        values = zip([*weights, *others], [*arguments[len(inputs) :], *before], strict=True)
        with keras.StatelessScope(state_mapping=list(values)) as scope:
            output = layer(*arguments[: len(inputs)], training=training)
        return (output, *(scope.get_current_value(state) for state in states))

    output, *after = keras.remat(run_stateless)(*inputs, *(ops.copy(weight) for weight in weights))
    for state, value in zip(states, after, strict=True):
        state.assign(value)
    return output


def recompute_in_backward(array: Any, upstream: Any) -> Any:
    """Returns ``array`` with a control dependency on ``upstream``.

    TensorFlow then recomputes what is derived from it in the backward pass instead of storing it.
    """
    import tensorflow as tf

    with tf.control_dependencies([upstream]):
        return tf.identity(array)
