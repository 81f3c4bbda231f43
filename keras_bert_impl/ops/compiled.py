"""A model as one compiled function of its inputs, for inference."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_impl.ops.variants import choose, use_variants

# Takes a batch of named inputs, returns the named outputs as NumPy arrays.
InferenceFunction = Callable[[dict[str, np.ndarray]], dict[str, Any]]


def compile_inference(model: keras.Model) -> InferenceFunction:
    """Compiles the forward pass of a model without dropout.

    The function reads the variables' current values at each call. Several threads may call it at once. On TensorFlow it
    is compiled once for each set of inputs, for all numbers and lengths of rows; on JAX once for each shape.

    Args:
        model: a model with named inputs and named outputs.

    Returns:
        a function of a dictionary of arrays; its outputs are NumPy arrays by name.
    """
    compile_model = choose(_use_predict_on_batch, {"tensorflow": _compile_with_tensorflow, "jax": _compile_with_jax})
    return compile_model(model)


def _use_predict_on_batch(model: keras.Model) -> InferenceFunction:
    return model.predict_on_batch


def _compile_with_tensorflow(model: keras.Model) -> InferenceFunction:
    import tensorflow as tf

    functions: dict[tuple[str, ...], Any] = {}

    def compute(inputs: Any) -> Any:
        with use_variants("fused"):
            return model(inputs, training=False)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        names = tuple(inputs)
        if names not in functions:
            # Without a signature, `tf.function` would trace for the first shape, and again for the second.
            specs = {name: tf.TensorSpec([None] * array.ndim, array.dtype) for name, array in inputs.items()}
            functions[names] = tf.function(compute, [specs], autograph=False).get_concrete_function()
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        # The operations of a BERT depend on each other, so that running several at once only costs time.
        with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
            outputs = functions[names](tensors)
        return keras.tree.map_structure(ops.convert_to_numpy, outputs)

    return run


def _compile_with_jax(model: keras.Model) -> InferenceFunction:
    import jax

    @jax.jit
    def compute(values: list[Any], inputs: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return model(inputs, training=False)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        outputs = compute([variable.value for variable in model.variables], inputs)
        return keras.tree.map_structure(ops.convert_to_numpy, outputs)

    return run
