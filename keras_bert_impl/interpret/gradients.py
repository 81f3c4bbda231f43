"""Gradients on each backend."""

from collections.abc import Callable
from typing import Any

import keras


def compute_gradient(function: Callable[[Any], Any], point: Any) -> Any:
    """Returns the gradient of the sum of a function's values.

    Args:
        function: a function of the point with values ``[rows]``.
        point: a tensor of any shape.

    Returns:
        a tensor of the shape of ``point``.
    """
    return _BACKENDS[keras.backend.backend()](function, point)


def _compute_gradient_tensorflow(function: Callable[[Any], Any], point: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        values = function(point)
    return tape.gradient(values, point)


def _compute_gradient_jax(function: Callable[[Any], Any], point: Any) -> Any:
    import jax

    return jax.grad(lambda x: function(x).sum())(point)


def _compute_gradient_torch(function: Callable[[Any], Any], point: Any) -> Any:
    import torch

    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        return torch.autograd.grad(function(leaf).sum(), leaf)[0]


_BACKENDS: dict[str, Callable[..., Any]] = {
    "tensorflow": _compute_gradient_tensorflow,
    "jax": _compute_gradient_jax,
    "torch": _compute_gradient_torch,
}
