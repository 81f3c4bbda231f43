"""The activations that a ``hidden_act`` can name."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.ops.variants import choose


def gelu(x: Any) -> Any:
    """Gaussian error linear unit, the exact one with erf (https://arxiv.org/abs/1606.08415)."""
    return choose(_gelu, {"portable": _portable_gelu, "fused": _fusible_gelu})(x)


def _portable_gelu(x: Any) -> Any:
    return x * 0.5 * (1.0 + ops.erf(x / math.sqrt(2)))


def _fusible_gelu(x: Any) -> Any:
    """The form that TensorFlow fuses with the matrix product and the bias before it on CPU."""
    import tensorflow as tf

    return tf.nn.gelu(x, approximate=False)


def _compute_normal_cdf(x: Any) -> Any:
    return 0.5 * (1 + ops.erf(x * math.sqrt(0.5)))


@ops.custom_gradient
def _gelu(x: Any) -> Any:
    """GELU whose gradient saves the input only, not the four arrays in between.

    Keras' own uses erfc, for which TensorFlow has no fast kernel in bfloat16.
    """

    def gradient(*args: Any, upstream: Any = None) -> Any:
        (upstream,) = args if upstream is None else (upstream,)
        density = ops.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return upstream * (_compute_normal_cdf(x) + x * density)

    return x * _compute_normal_cdf(x), gradient


_tanh_gelu = functools.partial(keras.activations.gelu, approximate=True)
EXACT_GELUS = ("gelu", "gelu_python")
TANH_GELUS = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh")
_KERAS_NAMES = ("relu", "relu6", "silu", "mish", "tanh", "sigmoid", "linear")

# By their published names.
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": gelu,
    "gelu_python": functools.partial(keras.activations.gelu, approximate=False),
    **dict.fromkeys(TANH_GELUS, _tanh_gelu),
    **{name: getattr(keras.activations, name) for name in _KERAS_NAMES},
    "swish": keras.activations.silu,
}

# The activations that oneDNN computes together with a matrix product, by the names of TensorFlow's fused operations.
FUSED_ACTIVATIONS: dict[Callable[[Any], Any], str] = {
    **{ACTIVATIONS[name]: "GeluExact" for name in EXACT_GELUS},
    _tanh_gelu: "GeluApproximate",
    ACTIVATIONS["relu"]: "Relu",
    ACTIVATIONS["tanh"]: "Tanh",
}

# The smallest values of activations that are not below them.
LOWEST = {**dict.fromkeys((*EXACT_GELUS, *TANH_GELUS), -0.17005), "relu": 0.0, "relu6": 0.0, "sigmoid": 0.0}


def get_activation(hidden_act: str) -> Callable[[Any], Any]:
    """Returns the function that a ``hidden_act`` names; raises ``InputError`` if there is none."""
    if hidden_act not in ACTIVATIONS:
        raise InputError(f"hidden_act {hidden_act!r} is not supported; supported: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[hidden_act]
