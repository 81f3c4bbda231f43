"""Each layer compared with the module of transformers that has the same weights."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import transformers_models
from keras import ops
from torch_process import run_in_torch_process

from keras_bert_impl import BertConfig, layers
from keras_bert_impl.errors import InputError
from keras_bert_impl.ops.activations import ACTIVATIONS, get_activation
from keras_bert_impl.ops.attention import _drop_and_save_mask

SETTINGS = {
    **transformers_models.SIZES,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-7,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
}
BATCH, LENGTH = transformers_models.BATCH, transformers_models.LENGTH

_draw = np.random.default_rng(0)
STATES = _draw.normal(size=(BATCH, LENGTH, 32)).astype("float32")
RESIDUAL = _draw.normal(size=(BATCH, LENGTH, 32)).astype("float32")
WIDE = _draw.normal(size=(BATCH, LENGTH, 37)).astype("float32")
POOLED = _draw.normal(size=(BATCH, 32)).astype("float32")
MASK = transformers_models.make_inputs()["attention_mask"]
BIAS = ((1 - MASK) * -1e9).astype("float32")[:, None, None]  # [BATCH, 1, 1, LENGTH]
IDS = _draw.integers(0, 99, (BATCH, LENGTH))
SEGMENTS = _draw.integers(0, 3, (BATCH, LENGTH))
POSITIONS = _draw.integers(0, 61, (BATCH, LENGTH))

# Layer: the arguments of its call.
CASES: dict[str, tuple[np.ndarray, ...]] = {
    "BertEmbeddings": (IDS, SEGMENTS, POSITIONS),
    "BertSelfAttention": (STATES, BIAS),
    "BertSelfOutput": (RESIDUAL, STATES),
    "BertAttention": (STATES, BIAS),
    "BertIntermediate": (STATES,),
    "BertOutput": (WIDE, STATES),
    "BertLayer": (STATES, BIAS),
    "BertEncoder": (STATES, BIAS),
    "BertPooler": (STATES,),
    "BertPredictionHeadTransform": (STATES,),
    "BertLMPredictionHead": (STATES,),
    "BertOnlyMLMHead": (STATES,),
    "BertOnlyNSPHead": (POOLED,),
    "BertPreTrainingHeads": (STATES, POOLED),
}


def make(name: str, **changes: Any) -> keras.layers.Layer:
    """A layer by its name."""
    return getattr(layers, name)(BertConfig(**{**SETTINGS, **changes}))


@run_in_torch_process
def run_module(
    name: str, arguments: tuple[np.ndarray, ...], settings: dict[str, Any]
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Random weights of transformers' module, and what it returns, attention probabilities included."""
    import torch
    import torch_models
    from transformers.models.bert import modeling_bert

    module = torch_models.randomize(getattr(modeling_bert, name)(torch_models.make_config(**settings)))
    for part in module.modules():
        if isinstance(part, modeling_bert.BertLMPredictionHead):
            part.decoder.bias = part.bias  # The complete model ties them.
    with torch.no_grad():
        outputs = module(*(torch.from_numpy(array) for array in arguments))
    if hasattr(outputs, "last_hidden_state"):
        outputs = outputs.last_hidden_state
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = {key: tensor.numpy() for key, tensor in module.state_dict().items() if not key.endswith("_ids")}
    return weights, [part.numpy() for part in parts]


def run_both(name: str, *arguments: np.ndarray) -> tuple[keras.layers.Layer, list[np.ndarray]]:
    """A layer with the weights of transformers' module, and what the module returns."""
    layer = make(name)
    layer(*arguments)
    weights, expected = run_module(name, arguments, {"layer_norm_eps": SETTINGS["layer_norm_eps"]})
    set_weights(layer, weights)
    return layer, expected


def set_weights(layer: keras.layers.Layer, arrays: dict[str, np.ndarray]) -> None:
    """Sets all weights of a built layer; none may be left over on either side."""
    arrays = dict(arrays)
    for variable in layer.weights:
        *parts, kind = variable.path.split("/")[1:]
        parts = [part.replace("layer_", "layer.") for part in parts]
        last = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias", "bias": "bias"}[kind]
        array = arrays.pop(".".join([*parts, last]))
        variable.assign(array.T if kind == "kernel" else array)
    assert set(arrays) <= {name for name in arrays if name.endswith("decoder.bias")}


def flatten(outputs: Any) -> list[np.ndarray]:
    """The arrays that a layer returns."""
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    return [ops.convert_to_numpy(part) for part in parts]


@pytest.mark.parametrize("name", CASES)
def test_same_outputs(name: str) -> None:
    layer, expected = run_both(name, *CASES[name])
    # Attention modules of torch return their probabilities too.
    expected = expected[: 2 if name == "BertPreTrainingHeads" else 1]
    for ours, theirs in zip(flatten(layer(*CASES[name])), expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("name", CASES)
def test_config_and_file_restore_a_layer(name: str, tmp_path: Path) -> None:
    layer = make(name)
    inputs = [keras.Input(array.shape[1:], dtype=array.dtype) for array in CASES[name]]
    model = keras.Model(inputs, layer(*inputs))
    assert SETTINGS.items() <= layer.get_config()["config"].items()
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    model.save(tmp_path / "layer.keras")
    loaded = keras.saving.load_model(tmp_path / "layer.keras")
    for before, after in zip(flatten(model(list(CASES[name]))), flatten(loaded(list(CASES[name]))), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", ["BertSelfAttention", "BertAttention", "BertLayer", "BertEncoder"])
def test_dropout_acts_in_training_only(name: str) -> None:
    layer = make(name)
    first, second, dropped = (flatten(layer(*CASES[name], training=training))[0] for training in (False, False, True))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - dropped).max() > 0.01


def test_attention_probabilities() -> None:
    layer, (_, theirs) = run_both("BertSelfAttention", STATES, BIAS)
    _, ours = layer(STATES, BIAS, output_attentions=True)
    np.testing.assert_allclose(ops.convert_to_numpy(ours), theirs, atol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(ours) * (BIAS != 0), 0)


def test_embeddings_fill_in_segments_and_positions() -> None:
    layer, (theirs,) = run_both("BertEmbeddings", IDS)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(IDS)), theirs, atol=2e-6)


def test_embeddings_refuse_long_rows() -> None:
    with pytest.raises(InputError, match="the rows are 62 tokens long; this model has 61 positions"):
        make("BertEmbeddings")(np.zeros((2, 62), "int32"))


def test_head_picks_positions_before_the_product() -> None:
    head, positions = make("BertOnlyMLMHead"), np.array([[1, 5, 6]] * BATCH)
    everywhere = ops.convert_to_numpy(head(STATES))
    picked = ops.convert_to_numpy(head(STATES, positions=positions))
    np.testing.assert_allclose(picked, everywhere[:, [1, 5, 6]], atol=2e-6)


def test_tied_head_uses_the_words_handed_in() -> None:
    tied, own = make("BertOnlyMLMHead", tie_word_embeddings=True), make("BertOnlyMLMHead")
    words = _draw.normal(size=(99, 32)).astype("float32")
    own(STATES)
    tied(STATES, word_embeddings=words)
    weights = {variable.path.split("/", 1)[1]: variable for variable in own.weights}
    weights["predictions/decoder/kernel"].assign(words.T)
    for variable in tied.weights:
        variable.assign(weights[variable.path.split("/", 1)[1]])
    assert len(own.weights) == len(tied.weights) + 1
    np.testing.assert_allclose(flatten(tied(STATES, word_embeddings=words)), flatten(own(STATES)), atol=2e-6)


@run_in_torch_process
def run_activation(hidden_act: str, numbers: np.ndarray) -> np.ndarray:
    import torch
    from transformers.activations import ACT2FN

    return ACT2FN[hidden_act](torch.from_numpy(numbers)).numpy()


@pytest.mark.parametrize("hidden_act", ACTIVATIONS)
def test_activations(hidden_act: str) -> None:
    numbers = np.linspace(-9, 9, 1009, dtype="float32")
    theirs = run_activation(hidden_act, numbers)
    np.testing.assert_allclose(ops.convert_to_numpy(get_activation(hidden_act)(numbers)), theirs, atol=2e-6)


def test_unknown_activation() -> None:
    with pytest.raises(InputError, match="hidden_act 'gelu_10' is not supported; supported: gelu, "):
        make("BertIntermediate", hidden_act="gelu_10")


def test_bias_of_packed_rows() -> None:
    sequences = np.array([[1, 1, 2, 2, 2, 0, 0]])
    bias = ops.convert_to_numpy(layers.BertAttentionBias()(np.zeros((1, 7), "int32"), sequence_ids=sequences))[0, 0]
    expected = np.equal.outer(sequences[0], sequences[0]) & (sequences[0] != 0)
    np.testing.assert_array_equal(bias == 0, expected)
    assert bias[~expected].max() <= -1e9


@pytest.mark.parametrize(("dtype", "exact"), [("float32", 2e-6), ("mixed_bfloat16", 0.05)])
def test_logits_are_float32_and_near_float64(dtype: str, exact: float) -> None:
    """Terms with a large mean, as in real decoders: their float32 sums lose digits."""
    dense = layers.LogitsDense(11, dtype=dtype)
    numbers = _draw.normal(size=(17, 300)) + 3
    dense.build((None, 300))
    logits = ops.convert_to_numpy(ops.cast(dense(numbers.astype("float32")), "float32"))
    expected = numbers.astype("float32").astype("float64") @ ops.convert_to_numpy(dense.kernel).astype("float64")
    assert np.abs(logits - expected).max() <= exact * np.abs(expected).max()


@run_in_torch_process
def run_layer_norm(*arrays: np.ndarray, upstream: np.ndarray) -> list[np.ndarray]:
    """Torch's layer norm of rows, gamma and beta in float64, and the gradient of each."""
    import torch

    tensors = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]
    outputs = torch.nn.functional.layer_norm(tensors[0], (arrays[0].shape[-1],), *tensors[1:], eps=1e-7)
    (outputs * torch.tensor(upstream)).sum().backward()
    return [outputs.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends take Keras' own layer norm")
@pytest.mark.parametrize(("dtype", "exact"), [("float32", 1e-6), ("mixed_bfloat16", 0.02)])
def test_gradients_of_the_layer_norm_are_those_of_torch_in_float64(dtype: str, exact: float) -> None:
    import tensorflow as tf

    rows, upstream = _draw.normal(size=(2, 13, 7, 32)) * 3 + 1
    gamma, beta = _draw.normal(size=(2, 32))
    norm = layers.BertLayerNorm(epsilon=1e-7, dtype=dtype)
    norm.build((None, 32))
    norm.set_weights([gamma, beta])
    with tf.GradientTape() as tape:
        given = tf.constant(rows, "float32")
        tape.watch(given)
        ours = norm(given, training=True)
        total = tf.reduce_sum(tf.cast(ours, "float32") * upstream.astype("float32"))
    gradients = tape.gradient(total, [given, norm.gamma.value, norm.beta.value])

    theirs = run_layer_norm(rows, gamma, beta, upstream=upstream)
    for mine, expected in zip([ours, *gradients], theirs, strict=True):
        difference = np.abs(ops.convert_to_numpy(ops.cast(mine, "float32")) - expected)
        assert difference.max() <= exact * np.abs(expected).max()


@run_in_torch_process
def run_masked_product(
    probabilities: np.ndarray, value: np.ndarray, *, mask: np.ndarray, rate: float, upstream: np.ndarray
) -> list[np.ndarray]:
    """The product of masked probabilities with values in float64, and the gradients of both."""
    import torch

    tensors = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (probabilities, value)]
    outputs = (tensors[0] * torch.tensor(mask) / (1 - rate)) @ tensors[1]
    (outputs * torch.tensor(upstream)).sum().backward()
    return [outputs.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends take the plain product")
@pytest.mark.parametrize(("dtype", "exact"), [("float32", 1e-6), ("mixed_bfloat16", 0.02)])
def test_dropped_attention_and_its_gradients_are_those_of_float64(dtype: str, exact: float) -> None:
    """The mask is known from a product with the identity matrix, which uses the same seed."""
    import tensorflow as tf

    rate = 0.25
    scores, upstream = _draw.normal(size=(13, 4, 7, 7)), _draw.normal(size=(13, 4, 7, 5))
    probabilities, value = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True), _draw.normal(size=(13, 4, 7, 5))
    compute = keras.DTypePolicy(dtype).compute_dtype
    given = [tf.constant(array, compute) for array in (probabilities, value)]
    unit = tf.constant(np.broadcast_to(np.eye(7), (13, 4, 7, 7)), compute)
    dropped = _drop_and_save_mask(keras.layers.Dropout(rate, seed=3), given[0], unit)
    kept = ops.convert_to_numpy(ops.cast(dropped, "float32")) != 0
    assert 0.7 < kept.mean() < 0.8
    with tf.GradientTape() as tape:
        tape.watch(given)
        ours = _drop_and_save_mask(keras.layers.Dropout(rate, seed=3), *given)
        total = tf.reduce_sum(tf.cast(ours, "float32") * upstream.astype("float32"))
    gradients = tape.gradient(total, given)

    theirs = run_masked_product(probabilities, value, mask=kept, rate=rate, upstream=upstream)
    for mine, expected in zip([ours, *gradients], theirs, strict=True):
        found = ops.convert_to_numpy(ops.cast(mine, "float32"))
        np.testing.assert_allclose(found, expected, rtol=0, atol=exact * np.abs(expected).max())


def test_layer_norm_trains_as_it_predicts() -> None:
    norm = layers.BertLayerNorm(epsilon=1e-12)
    np.testing.assert_allclose(norm(STATES, training=True), norm(STATES), rtol=1e-5, atol=1e-6)
