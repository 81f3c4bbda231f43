"""The weights that the inference variants of operations use in place of those of the layers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_bert_impl.layers import BertIntermediate, BertOutput, BertPredictionHeadTransform, BertSelfAttention
from keras_bert_impl.layers.base import BertResidual
from keras_bert_impl.ops.activations import LOWEST
from keras_bert_impl.ops.attention import merge_projections
from keras_bert_impl.ops.dense import Int8Kernel
from keras_bert_impl.ops.embedding import Int8Rows
from keras_bert_impl.ops.variants import use_variants

# The layers with a large dense layer, whose attribute is `dense`.
_WITH_DENSE = (BertIntermediate, BertResidual, BertPredictionHeadTransform)

# The exponent of the ranges of inputs in SmoothQuant; the vectors of all-MiniLM-L6-v2 differ least at 0.75.
_SMOOTHING = 0.75
_TINY = 1e-5
# A dense layer keeps its precision if its outputs in integers have a larger error than this fraction of their standard
# deviation. Those of all-MiniLM-L6-v2 have 0.01 to 0.04.
MAX_INT8_ERROR = 0.1
# The number of inputs of a layer on which the error is computed.
_ROWS = 256

Store = Callable[[np.ndarray], Any]


class InferenceWeights(NamedTuple):
    """Weights for `keras_bert_impl.ops.variants.use_variants`.

    Attributes:
        prepared: the weights, by the ``id`` of the layer that they belong to.
        replaced: the ``id`` of each variable of the model that they replace.
        record: for products in integers, ``errors``, the relative error of each dense layer's outputs by the path of
            its part of the model, ``max_error``, and ``not_in_integers``, the layers whose error is larger.
    """

    prepared: dict[int, Any]
    replaced: set[int]
    record: dict[str, Any]


class _Recorder:
    """Receives the inputs of a dense layer.

    Attributes:
        largest: float32 ``[inputs]``, their largest absolute values.
        rows: some of the inputs ``[rows, inputs]``.
    """

    def __init__(self) -> None:
        self.largest: Any = np.float32(0)
        self.rows: Any = None

    def __call__(self, x: np.ndarray) -> None:
        x = x.astype(np.float32)
        self.largest = np.maximum(self.largest, np.abs(x).max(axis=0))
        self.rows = x[:: max(1, len(x) // _ROWS)]


def prepare_inference_weights(model: keras.Model, store: Store) -> InferenceWeights:
    """Merges the projections of each attention layer of a model.

    Args:
        model: the model.
        store: a function that makes a variable from an array; the variable has a method ``value``.
    """
    weights = InferenceWeights({}, set(), {})
    for layer in model._flatten_layers():
        if isinstance(layer, BertSelfAttention):
            projections = (layer.query, layer.key, layer.value)
            merged = merge_projections(projections, num_heads=layer.config.num_attention_heads)
            weights.prepared[id(layer.query)] = [store(values) for values in merged]
            weights.replaced.update(id(weight) for dense in projections for weight in dense.weights)
    return weights


def prepare_int8_weights(model: keras.Model, store: Store, inputs: Mapping[str, np.ndarray]) -> InferenceWeights:
    """Makes integers of the word embeddings and of the dense layers of all blocks, with merged projections.

    The inputs of a dense layer have one range for all rows and features, so a few features with large values cost the
    others their precision. Therefore inputs are scaled, and the kernel by the inverse (SmoothQuant, section 4 of
    https://arxiv.org/abs/2211.10438). A layer whose outputs have a larger error than `MAX_INT8_ERROR` nevertheless is
    not made of integers.

    Args:
        model: the model, with weights in float32.
        store: a function that makes a variable from an array; the variable has a method ``value``.
        inputs: inputs of the model, from texts, which show how large the inputs of each layer are.
    """
    errors: dict[str, float] = {}
    kept: list[str] = []
    record = {"errors": errors, "max_error": MAX_INT8_ERROR, "not_in_integers": kept}
    weights = InferenceWeights({}, set(), record)
    recorders = _record_inputs(model, inputs)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Embedding) and layer.name == "word_embeddings":
            integers, largest = _quantize(keras.ops.convert_to_numpy(layer.embeddings), axis=1)
            weights.prepared[id(layer)] = Int8Rows(store(integers), store(largest / 127))
            weights.replaced.add(id(layer.embeddings))
            continue
        owners, lowest = _list_dense(layer), None
        if isinstance(layer, BertSelfAttention):
            kernel, bias = merge_projections(owners, num_heads=layer.config.num_attention_heads)
        elif owners:
            kernel, bias = map(keras.ops.convert_to_numpy, layer.dense.weights)
            lowest = LOWEST.get(layer.config.hidden_act) if isinstance(layer, BertOutput) else None
        else:
            continue
        recorder = recorders[id(owners[0])]
        prepared = _make_int8_kernel(kernel, bias, recorder.largest, lowest)
        errors[layer.path] = error = _compute_error(kernel, bias, prepared, recorder)
        if error <= MAX_INT8_ERROR:
            values = (value if value is None else store(value) for value in prepared)
            weights.prepared[id(owners[0])] = Int8Kernel(*values)
        else:
            kept.append(layer.path)
            weights.prepared[id(owners[0])] = [store(kernel), store(bias)]
        weights.replaced.update(id(weight) for owner in owners for weight in owner.weights)
    return weights


def _list_dense(layer: keras.layers.Layer) -> list[keras.layers.Dense]:
    """Returns the dense layers of a part of a block that are computed in integers."""
    if isinstance(layer, BertSelfAttention):
        return [layer.query, layer.key, layer.value]
    return [layer.dense] if isinstance(layer, _WITH_DENSE) else []


def _record_inputs(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> dict[int, _Recorder]:
    """Runs the model; returns what each dense layer received, by the ``id`` of the layer."""
    recorders = {id(dense): _Recorder() for layer in model._flatten_layers() for dense in _list_dense(layer)}
    with use_variants("calibration", prepared=recorders):
        model(dict(inputs), training=False)
    return recorders


def _compute_error(kernel: np.ndarray, bias: np.ndarray, prepared: tuple[Any, ...], recorder: _Recorder) -> float:
    """Returns the root mean square error of a layer's outputs in integers, divided by their standard deviation."""
    integers, largest, int8_bias, scale, shift = prepared
    lowest, levels = (-127, 127) if shift is None else (0, 255)
    offset = 0 if shift is None else shift
    step = (recorder.largest * scale + offset).max() / levels
    rounded = np.clip(np.rint((recorder.rows * scale + offset) / step), lowest, levels) * step
    found, expected = rounded @ (integers * (largest / 127)) + int8_bias, recorder.rows @ kernel + bias
    spread = np.square(expected - expected.mean(axis=0)).mean()
    return float(np.sqrt(np.square(found - expected).mean() / max(spread, _TINY**2)))


def _make_int8_kernel(
    kernel: np.ndarray, bias: np.ndarray, largest_inputs: np.ndarray, lowest: float | None
) -> tuple[np.ndarray | None, ...]:
    """Returns the values of an `Int8Kernel`."""
    largest_weights = np.abs(kernel).max(axis=1)
    factors = np.maximum(largest_inputs, _TINY) ** _SMOOTHING / np.maximum(largest_weights, _TINY) ** (1 - _SMOOTHING)
    integers, largest = _quantize(kernel * factors[:, None], axis=0)
    scale = (1 / factors).astype(np.float32)
    if lowest is None:
        return integers, largest, bias, scale, None
    shift = -lowest * scale
    bias = bias - shift.astype(np.float64) @ (integers * (largest.astype(np.float64) / 127))
    return integers, largest, bias.astype(np.float32), scale, shift


def _quantize(values: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns values as int8, and for each column (axis 0) or row (axis 1) the float32 value that 127 stands for."""
    largest = np.maximum(np.abs(values).max(axis, keepdims=True), np.finfo(np.float32).tiny)
    return np.rint(values / (largest / 127)).astype(np.int8), largest.squeeze(axis).astype(np.float32)
