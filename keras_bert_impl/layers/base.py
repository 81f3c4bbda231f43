"""What all layers here share: a complete ``get_config``, initializers and activations by their published names."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import keras

from keras_bert_impl.errors import InputError


def _normal(x: Any) -> Any:
    """The normal distribution up to x."""
    return 0.5 * (1 + keras.ops.erf(x * math.sqrt(0.5)))


@keras.ops.custom_gradient
def _exact_gelu(x: Any) -> Any:
    """GELU with erf, which keeps only its input for the gradient and not the four arrays between.

    Keras' own has erfc, for which TensorFlow has no fast kernel in bfloat16.
    """

    def gradient(*args: Any, upstream: Any = None) -> Any:
        (upstream,) = args if upstream is None else (upstream,)
        density = keras.ops.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return upstream * (_normal(x) + x * density)

    return x * _normal(x), gradient


# Published name of the activation: function of Keras. The exact GELU is the one with erf, from the BERT paper's code.
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": _exact_gelu,
    "gelu_python": lambda x: keras.activations.gelu(x, approximate=False),
    "gelu_new": lambda x: keras.activations.gelu(x, approximate=True),
    "gelu_fast": lambda x: keras.activations.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: keras.activations.gelu(x, approximate=True),
    "relu": keras.activations.relu,
    "relu6": keras.activations.relu6,
    "silu": keras.activations.silu,
    "swish": keras.activations.silu,
    "mish": keras.activations.mish,
    "tanh": keras.activations.tanh,
    "sigmoid": keras.activations.sigmoid,
    "linear": keras.activations.linear,
}


def activation(hidden_act: str) -> Callable[[Any], Any]:
    """The function of a ``hidden_act``.

    Raises:
        InputError: no activation has that name.
    """
    if hidden_act not in ACTIVATIONS:
        raise InputError(f"hidden_act {hidden_act!r} is not supported; there are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[hidden_act]


def truncated_normal(initializer_range: float) -> keras.initializers.Initializer:
    """How BERT draws new weights: a normal distribution cut off at two standard deviations."""
    return keras.initializers.TruncatedNormal(stddev=initializer_range)


def delayed(array: Any, upstream: Any) -> Any:
    """The array, for a gradient on TensorFlow that makes something large of it.

    What does not depend on ``upstream`` TensorFlow computes in the forward pass already, and keeps.
    """
    import tensorflow as tf

    with tf.control_dependencies([upstream]):
        return tf.identity(array)


class BertBaseLayer(keras.layers.Layer):
    """A layer that keeps each constructor argument in an attribute of the same name, and so knows its config."""

    def get_config(self) -> dict[str, Any]:
        """All constructor arguments, beside those of every Keras layer."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and not p.name.startswith("_")]
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
