"""Functions for inference, with the operations that TensorFlow fuses."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tensorflow.python.framework.kernels import get_all_registered_kernels

from keras_bert_impl import BertConfig, BertModel
from keras_bert_impl.ops import compiled, layer_norm
from keras_bert_impl.ops.variants import use_variants


def has_onednn() -> bool:
    """Whether TensorFlow was built with oneDNN, which it is for x86."""
    return any(kernel.op == "_MklLayerNorm" for kernel in get_all_registered_kernels().kernel)


ROWS = np.random.default_rng(1).normal(size=(5, 48)).astype("float32")
GAMMA, BETA = np.linspace(0.5, 2, 48, dtype="float32"), np.linspace(-1, 1, 48, dtype="float32")


@pytest.fixture
def no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A processor for which oneDNN has the kernel in float32 only; the dtypes of its calls."""
    emit, dtypes = layer_norm._emit_fused_layer_norm, []

    def emit_float32(x: Any, *arguments: Any) -> Any:
        dtypes.append(x.dtype)
        if x.dtype != tf.float32:
            raise tf.errors.AbortedError(None, None, "could not create a primitive descriptor")
        return emit(x, *arguments)

    monkeypatch.setattr(layer_norm, "_emit_fused_layer_norm", emit_float32)
    layer_norm._has_fused_kernel.cache_clear()
    yield dtypes
    layer_norm._has_fused_kernel.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_kernel_is_used_for_the_dtypes_that_it_supports(no_bfloat16: list[Any], dtype: str) -> None:
    @tf.function(autograph=False)
    def normalize(x: Any) -> Any:
        with use_variants("fused"):
            return layer_norm.layer_norm(x, ops.cast(GAMMA, dtype), ops.cast(BETA, dtype), 1e-12)

    result = normalize(tf.cast(ROWS, dtype))
    assert result.dtype == dtype
    expected = layer_norm.layer_norm(ops.convert_to_tensor(ROWS), GAMMA, BETA, 1e-12)
    np.testing.assert_allclose(ops.cast(result, "float32"), expected, atol=1e-5 if dtype == "float32" else 3e-2)
    # Once in the probe, and again only if that succeeded.
    assert 1 <= no_bfloat16.count(tf.as_dtype(dtype)) <= (2 if dtype == "float32" else 1)


@pytest.mark.skipif(not has_onednn(), reason="this TensorFlow was built without oneDNN")
def test_a_model_has_the_kernel() -> None:
    keras.utils.set_random_seed(1)
    model = BertModel(BertConfig.preset("tiny", vocab_size=99, hidden_size=48, num_hidden_layers=2))
    ids = np.array([[2, 71, 8, 3]], np.int32)

    @tf.function(autograph=False)
    def run(inputs: Any) -> Any:
        with use_variants("fused"):
            return model({"input_ids": inputs})["last_hidden_state"]

    types = [operation.type for operation in run.get_concrete_function(ids).graph.get_operations()]
    assert types.count("_MklLayerNorm") == 5  # One of the embeddings, and two of each block.
    np.testing.assert_allclose(run(ids), model({"input_ids": ids})["last_hidden_state"], atol=1e-5)


def test_inputs_of_another_dtype() -> None:
    """Each has a function of its own."""
    keras.utils.set_random_seed(1)
    model = BertModel(BertConfig.preset("tiny", vocab_size=99, hidden_size=48, num_hidden_layers=1))
    run = compiled.compile_inference(model)
    ids = np.array([[2, 71, 8, 3]])
    expected = run({"input_ids": ids.astype(np.int32)})["last_hidden_state"]
    assert np.array_equal(run({"input_ids": ids.astype(np.int64)})["last_hidden_state"], expected)


@pytest.mark.skipif(bool(tf.config.list_logical_devices("GPU")), reason="XLA computes single texts on CPUs only")
def test_many_single_texts() -> None:
    """XLA computes them after a while, in another length; outputs have the length of the text."""
    keras.utils.set_random_seed(1)
    config = BertConfig.preset("tiny", vocab_size=99, hidden_size=48, num_hidden_layers=2, num_attention_heads=3)
    model = BertModel(config, output_hidden_states=True, output_attentions=True)
    run = compiled.compile_inference(model)
    ids = np.array([[2, 71, 8, 4, 3]], np.int32)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    before = [run(inputs) for _ in range(compiled._CALLS_BEFORE_XLA)][-1]
    after = run(inputs)
    assert [state.shape for state in after["hidden_states"]] == [(1, 5, 48)] * 3
    assert [part.shape for part in after["attentions"]] == [(1, 3, 5, 5)] * 2
    assert keras.tree.map_structure(np.shape, after) == keras.tree.map_structure(np.shape, before)
    keras.tree.map_structure(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), after, before)
    other = {"input_ids": np.full((1, 31), 9, np.int32), "attention_mask": np.ones((1, 31), np.int32)}
    assert run(other)["last_hidden_state"].shape == (1, 31, 48)

    model.set_weights([weight * 0.9 for weight in model.get_weights()])
    expected = model(inputs, training=False)["last_hidden_state"]
    np.testing.assert_allclose(run(inputs)["last_hidden_state"], expected, atol=1e-5)
    assert np.abs(expected - before["last_hidden_state"]).max() > 0.01


def test_single_texts_that_xla_does_not_compute() -> None:
    model = BertModel(BertConfig.preset("tiny", vocab_size=99, num_hidden_layers=1, max_position_embeddings=40))
    for batch, length in (((1, 33), 0), ((1, 32), 32), ((2, 16), 0), ((1, 3), 16)):
        ids = np.full(batch, 9, np.int32)
        assert compiled._round_up_length({"input_ids": ids, "attention_mask": ids}, model) == length
    assert compiled._round_up_length({"input_ids": ids}, model) == 0
