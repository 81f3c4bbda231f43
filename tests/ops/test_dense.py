"""Dense layers with what follows them: fused operations and products in integers give the values of plain ones."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erf

from keras_bert_impl.ops.activations import ACTIVATIONS
from keras_bert_impl.ops.dense import Int8Kernel, _has_fused_kernel, dense, has_int8_kernel, multiply_int8
from keras_bert_impl.ops.variants import use_variants

needs_onednn = pytest.mark.skipif(not _has_fused_kernel(tf.float32), reason="this TensorFlow has no fused products")
_draw = np.random.default_rng(1).normal
X, KERNEL, BIAS, RESIDUAL = _draw(size=(13, 48)), _draw(size=(48, 31)) / 7, _draw(size=31), _draw(size=(13, 31))
# In float64.
FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "gelu_new": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "linear": lambda x: x,
}


def make_layer() -> keras.layers.Dense:
    layer = keras.layers.Dense(31)
    layer.build((None, 48))
    layer.set_weights([KERNEL, BIAS])
    return layer


def run(
    purposes: tuple[str, ...], prepared: Any = None, *, dtype: str = "float32", **options: Any
) -> tuple[Any, set[str]]:
    """The results of a traced function, as float32, and the types of its operations."""
    layer, dropout = make_layer(), keras.layers.Dropout(0.1)
    options = {name: value if callable(value) else tf.constant(value, dtype) for name, value in options.items()}

    @tf.function(autograph=False)
    def compute(x: Any) -> Any:
        with use_variants(*purposes, prepared={id(layer): prepared} if prepared else {}):
            return tf.cast(dense(layer, x, dropout=dropout, **options), tf.float32)

    x = tf.constant(X, dtype)
    operations = {operation.type for operation in compute.get_concrete_function(x).graph.get_operations()}
    return compute(x).numpy(), operations


@pytest.mark.parametrize("purposes", [(), ("inference",), pytest.param(("fused",), marks=needs_onednn)])
@pytest.mark.parametrize("name", FORMULAS)
def test_activations(purposes: tuple[str, ...], name: str) -> None:
    found, operations = run(purposes, activation=ACTIVATIONS[name])
    np.testing.assert_allclose(found, FORMULAS[name](X @ KERNEL + BIAS), atol=1e-5)
    assert ("_FusedMatMul" in operations) == (purposes == ("fused",))


@pytest.mark.parametrize("purposes", [(), ("inference",), pytest.param(("fused",), marks=needs_onednn)])
def test_residual(purposes: tuple[str, ...]) -> None:
    found, operations = run(purposes, residual=RESIDUAL)
    np.testing.assert_allclose(found, X @ KERNEL + BIAS + RESIDUAL, atol=1e-5)
    assert ("_FusedMatMul" in operations) == (purposes == ("fused",))


@needs_onednn
def test_bfloat16() -> None:
    found, operations = run(("fused",), dtype="bfloat16", activation=ACTIVATIONS["gelu"])
    np.testing.assert_allclose(found, FORMULAS["gelu"](X @ KERNEL + BIAS), atol=0.05)
    assert "_FusedMatMul" in operations


def test_rows_of_three_dimensions_are_not_fused() -> None:
    layer = make_layer()
    with use_variants("fused"):
        found = dense(layer, tf.constant(X[None], "float32"), activation=ACTIVATIONS["gelu"])
    np.testing.assert_allclose(found[0], FORMULAS["gelu"](X @ KERNEL + BIAS), atol=1e-5)


def make_int8(inputs: np.ndarray, *, is_shifted: bool) -> tuple[Int8Kernel, np.ndarray]:
    """A kernel in integers, and what it computes for these inputs: products of integers, in float64."""
    scale = np.exp(np.random.default_rng(2).normal(size=48))
    shift = scale * 4.5 if is_shifted else np.zeros(48)  # Greater than the absolute value of any input.
    scaled = KERNEL / scale[:, None]
    largest = np.abs(scaled).max(axis=0)
    integers = np.rint(scaled / largest * 127)
    rounded = integers * largest / 127
    bias = BIAS - shift @ rounded
    x = inputs * scale + shift
    step = x.max() / 255 if is_shifted else np.abs(x).max() / 127
    expected = np.rint(x / step) * step @ rounded + bias
    arrays = [integers.astype(np.int8), *(values.astype(np.float32) for values in (largest, bias, scale, shift))]
    kernel = Int8Kernel(*map(tf.Variable, arrays))
    return kernel if is_shifted else kernel._replace(shift=None), expected


@pytest.mark.skipif(not has_int8_kernel(), reason="this TensorFlow has no products in integers")
@pytest.mark.parametrize("is_shifted", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_in_integers(is_shifted: bool, dtype: str) -> None:
    x, residual = (tf.cast(tf.cast(values, dtype), tf.float64).numpy() for values in (X, RESIDUAL))
    kernel, expected = make_int8(x, is_shifted=is_shifted)
    tolerance = 1e-4 if dtype == "float32" else 0.02  # The outputs, up to 4, are rounded.
    found, operations = run(("int8", "fused"), kernel, dtype=dtype)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert np.abs(expected - x @ KERNEL - BIAS).max() > 1e-3
    assert "_QuantizedMatMul" in operations
    found, _ = run(("int8", "fused"), kernel, dtype=dtype, activation=ACTIVATIONS["gelu"])
    np.testing.assert_allclose(found, FORMULAS["gelu"](expected), atol=tolerance)
    found, _ = run(("int8", "fused"), kernel, dtype=dtype, residual=RESIDUAL)
    np.testing.assert_allclose(found, expected + residual, atol=tolerance)


@pytest.mark.skipif(not has_int8_kernel(), reason="this TensorFlow has no products in integers")
@pytest.mark.parametrize("is_shifted", [False, True])
def test_no_rows_in_integers(is_shifted: bool) -> None:
    kernel, _ = make_int8(X, is_shifted=is_shifted)

    @tf.function(autograph=False)
    def compute(x: Any) -> Any:
        return multiply_int8(x, kernel, activation=ACTIVATIONS["gelu"])

    assert compute(tf.zeros([0, 48])).shape == (0, 31)
    if not is_shifted:  # Otherwise the bias compensates for a shift that is rounded.
        np.testing.assert_allclose(compute(tf.zeros([2, 48])), [FORMULAS["gelu"](BIAS)] * 2, atol=1e-5)


def test_a_layer_without_integers_is_computed_as_before() -> None:
    found, operations = run(("int8", "fused"), activation=ACTIVATIONS["gelu"])
    np.testing.assert_allclose(found, FORMULAS["gelu"](X @ KERNEL + BIAS), atol=1e-5)
    assert "_QuantizedMatMul" not in operations


@pytest.mark.parametrize(("option", "found"), [("0", "False\n"), pytest.param("1", "True\n", marks=needs_onednn)])
def test_the_trial_of_kernels_logs_nothing(option: str, found: str) -> None:
    code = "import tensorflow as tf; from keras_bert_impl.ops import dense; print(dense._has_fused_kernel(tf.float32))"
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": option, "TF_CPP_MIN_LOG_LEVEL": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == found
    assert "Fusion is not implemented" not in done.stderr
