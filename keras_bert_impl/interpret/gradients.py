"""Gradients and compilation on each backend."""

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
    return _BACKENDS[keras.backend.backend()][0](function, point)


def compile_function(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    """Compiles a function of arrays, on backends that compile.

    Args:
        function: a function of tensors that reads no variables except those of ``model``.
        model: the model. Each call uses its current weights.
    """
    return _BACKENDS[keras.backend.backend()][1](function, model)


def _compute_gradient_tensorflow(function: Callable[[Any], Any], point: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        values = function(point)
    return tape.gradient(values, point)


def _compile_tensorflow(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import tensorflow as tf

    run_traced = None

    def run(*arrays: Any) -> Any:
        nonlocal run_traced
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        if run_traced is None:
            # The first two dimensions vary between calls: rows and tokens, or points.
            shapes = [[None, None, *tensor.shape[2:]][: tensor.shape.rank] for tensor in tensors]
            signature = [tf.TensorSpec(shape, tensor.dtype) for shape, tensor in zip(shapes, tensors, strict=True)]
            run_traced = tf.function(function, autograph=False, input_signature=signature)
        return run_traced(*tensors)

    return run


def _compute_gradient_jax(function: Callable[[Any], Any], point: Any) -> Any:
    import jax

    return jax.grad(lambda x: function(x).sum())(point)


def _compile_jax(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import jax

    @jax.jit
    def run_traced(values: list[Any], *arrays: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return function(*arrays)

    return lambda *arrays: run_traced([variable.value for variable in model.variables], *arrays)


def _compute_gradient_torch(function: Callable[[Any], Any], point: Any) -> Any:
    import torch

    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        return torch.autograd.grad(function(leaf).sum(), leaf)[0]


def _compile_torch(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import torch

    def run(*arrays: Any) -> Any:
        with torch.no_grad():
            return function(*map(keras.ops.convert_to_tensor, arrays))

    return run


_BACKENDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tensorflow": (_compute_gradient_tensorflow, _compile_tensorflow),
    "jax": (_compute_gradient_jax, _compile_jax),
    "torch": (_compute_gradient_torch, _compile_torch),
}
