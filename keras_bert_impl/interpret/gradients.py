"""Gradients on each backend: the one place that knows them."""

from collections.abc import Callable
from typing import Any

import keras


def value_and_gradient(function: Callable[[Any], Any], point: Any) -> tuple[Any, Any]:
    """Values of a function, and the gradient of their sum.

    Args:
        function: takes the point, gives values ``[rows]``.
        point: a tensor of any shape.

    Returns:
        the values, and the gradient, shaped like ``point``.
    """
    return _BACKENDS[keras.backend.backend()][0](function, point)


def compiled(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    """A function of arrays, compiled where the backend compiles.

    Args:
        function: takes tensors, gives one or several; reads the variables of ``model`` alone.
        model: the model. Its weights are those of the time of each call.
    """
    return _BACKENDS[keras.backend.backend()][1](function, model)


def _tensorflow_gradient(function: Callable[[Any], Any], point: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        values = function(point)
    return values, tape.gradient(values, point)


def _tensorflow_compiled(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import tensorflow as tf

    traced = tf.function(function, autograph=False, reduce_retracing=True)
    return lambda *arrays: traced(*map(tf.convert_to_tensor, arrays))


def _jax_gradient(function: Callable[[Any], Any], point: Any) -> tuple[Any, Any]:
    import jax

    def total(place: Any) -> tuple[Any, Any]:
        values = function(place)
        return values.sum(), values

    (_, values), gradient = jax.value_and_grad(total, has_aux=True)(point)
    return values, gradient


def _jax_compiled(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import jax

    @jax.jit
    def traced(values: list[Any], *arrays: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return function(*arrays)

    return lambda *arrays: traced([variable.value for variable in model.variables], *arrays)


def _torch_gradient(function: Callable[[Any], Any], point: Any) -> tuple[Any, Any]:
    import torch

    with torch.enable_grad():
        place = point.detach().requires_grad_()
        values = function(place)
        (gradient,) = torch.autograd.grad(values.sum(), place)
    return values.detach(), gradient


def _torch_compiled(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import torch

    def run(*arrays: Any) -> Any:
        with torch.no_grad():
            return function(*map(keras.ops.convert_to_tensor, arrays))

    return run


_BACKENDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tensorflow": (_tensorflow_gradient, _tensorflow_compiled),
    "jax": (_jax_gradient, _jax_compiled),
    "torch": (_torch_gradient, _torch_compiled),
}
