"""Compilation of a model's functions on each backend."""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_impl.ops.variants import choose, use_variants

# Takes a batch of named inputs, returns the named outputs as NumPy arrays.
InferenceFunction = Callable[[dict[str, np.ndarray]], dict[str, Any]]
# XLA computes a single text of these numbers of tokens in 0.6 to 0.8 of the time of TensorFlow's own operations, which
# wake other threads hundreds of times.
_XLA_LENGTHS = (16, 24, 32, 48, 64, 96, 128)
# XLA compiles once for each length, which takes as long as a hundred texts. It does so after this number of texts.
_CALLS_BEFORE_XLA = 32


def compile_inference(model: keras.Model) -> InferenceFunction:
    """Compiles the forward pass of a model without dropout.

    The function reads the variables' current values at each call. Several threads may call it at once. On TensorFlow it
    is compiled once for each set of inputs, for all numbers and lengths of rows; on JAX once for each shape. If many
    single short texts are computed in float32 on a CPU, XLA compiles it for these.

    Args:
        model: a model with named inputs and named outputs.

    Returns:
        a function of a dictionary of arrays; its outputs are NumPy arrays by name.
    """
    use_fused = choose(contextlib.nullcontext, {"tensorflow": lambda: use_variants("fused")})
    use_executor = choose(contextlib.nullcontext, {"tensorflow": _use_executor})

    def compute(inputs: Any) -> Any:
        with use_fused():
            return model(inputs, training=False)

    compiled = choose(_keep, {"tensorflow": _compile_single_texts})(compile_function(compute, model), model)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        with use_executor():
            outputs = compiled(inputs)
        return keras.tree.map_structure(ops.convert_to_numpy, outputs)

    return run


def compile_function(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    """Compiles a function of arrays, on backends that compile.

    Args:
        function: a function of tensors, or of dictionaries of tensors, that reads no variables except those of
            ``model``. The sizes of the tensors may vary between calls, except the last dimension of float tensors with
            three or more dimensions, such as hidden states.
        model: the model. Each call uses its current weights.
    """
    variants = {"tensorflow": _compile_with_tensorflow, "jax": _compile_with_jax}
    return choose(_call_with_torch, variants)(function, model)


def _keep(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    return function


def _compile_single_texts(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    """Returns a function that computes like ``function``, with XLA for single short texts once there were many."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU") or not tf.test.is_built_with_xla() or model.compute_dtype != "float32":
        return function
    with_xla = tf.function(lambda inputs: model(inputs, training=False), jit_compile=True, autograph=False)
    calls: Counter[int] = Counter()

    def run(inputs: dict[str, np.ndarray]) -> Any:
        if not (length := _round_up_length(inputs, model)):
            return function(inputs)
        calls[length] += 1
        if calls[length] <= _CALLS_BEFORE_XLA:
            return function(inputs)
        tokens = inputs["input_ids"].shape[1]
        padded = {name: np.pad(array, ((0, 0), (0, length - tokens))) for name, array in inputs.items()}
        outputs = with_xla(keras.tree.map_structure(tf.convert_to_tensor, padded))
        cut = functools.partial(_cut, tokens=tokens)
        return {name: keras.tree.map_structure(cut, outputs[name], output) for name, output in model.output.items()}

    return run


def _round_up_length(inputs: dict[str, np.ndarray], model: keras.Model) -> int:
    """Returns the length that XLA computes for these inputs; 0 if they are not a single short text with its mask."""
    if not {"input_ids", "attention_mask"} <= inputs.keys():
        return 0
    shape = inputs["input_ids"].shape
    if len(shape) != 2 or shape[0] != 1 or any(array.shape != shape for array in inputs.values()):
        return 0
    lengths = [length for length in _XLA_LENGTHS if shape[1] <= length <= model.config.max_position_embeddings]
    return min(lengths, default=0)


def _cut(array: Any, output: Any, *, tokens: int) -> np.ndarray:
    """Removes the padding: the dimensions that the model's output does not know are those of tokens."""
    array = np.asarray(array)
    if array.ndim != len(output.shape):  # ``pooler_output`` has another rank with the positions of packed sequences.
        return array
    return array[:, *(slice(tokens if size is None else None) for size in output.shape[1:])]


def _use_executor() -> Any:
    """Returns the context in which TensorFlow runs the forward pass of a BERT.

    Its operations depend on each other, so trying to run several of them at once on a CPU only costs time.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return contextlib.nullcontext()
    return tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR")


def _compile_with_tensorflow(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import tensorflow as tf

    functions: dict[str, Any] = {}

    def specify(tensor: Any) -> Any:
        shape = [None] * tensor.shape.rank
        if tensor.dtype.is_floating and len(shape) > 2:
            shape[-1] = tensor.shape[-1]
        return tf.TensorSpec(shape, tensor.dtype)

    def run(*arrays: Any) -> Any:
        tensors = keras.tree.map_structure(tf.convert_to_tensor, arrays)
        key = repr(keras.tree.map_structure(lambda tensor: tensor.dtype, tensors))
        if key not in functions:
            # Without a signature, `tf.function` would trace for the first shape, and again for the second.
            signature = keras.tree.map_structure(specify, tensors)
            functions[key] = tf.function(function, signature, autograph=False).get_concrete_function()
        return functions[key](*tensors)

    return run


def _compile_with_jax(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import jax

    @jax.jit
    def run_traced(values: list[Any], *arrays: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return function(*arrays)

    return lambda *arrays: run_traced([variable.value for variable in model.variables], *arrays)


def _call_with_torch(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    import torch

    def run(*arrays: Any) -> Any:
        with torch.no_grad():
            return function(*keras.tree.map_structure(ops.convert_to_tensor, arrays))

    return run
