"""Layers whose inside is computed again for the gradient instead of being kept."""

from typing import Any

import keras
from keras import ops


def rematerialized(layer: keras.layers.Layer, *inputs: Any, training: bool | None) -> Any:
    """What a layer makes of its inputs; for the gradient the inputs alone are kept.

    Keras' own ``RematScope`` lets dropout draw other numbers the second time on TensorFlow. Here the states that they
    are drawn from go in as values.

    Args:
        layer: a built layer with one output, whose ``call`` takes ``training``.
        *inputs: tensors.
        training: whether dropout acts; the second time there is no caller to take it from.
    """
    weights, others = layer.trainable_variables, layer.non_trainable_variables
    still = {id(weight) for weight in layer.weights}
    states = [variable for variable in others if id(variable) not in still]
    before = [ops.copy(variable) for variable in others]

    def stateless(*arguments: Any) -> tuple[Any, ...]:
        values = zip([*weights, *others], [*arguments[len(inputs) :], *before], strict=True)
        with keras.StatelessScope(state_mapping=list(values)) as scope:
            output = layer(*arguments[: len(inputs)], training=training)
        return (output, *(scope.get_current_value(state) for state in states))

    output, *after = keras.remat(stateless)(*inputs, *(ops.copy(weight) for weight in weights))
    for state, value in zip(states, after, strict=True):
        state.assign(value)
    return output
