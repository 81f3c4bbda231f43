"""The objectives of pretraining, compared with torch and float64."""

import keras
import numpy as np
import pytest
from keras import ops
from torch_process import run_in_torch_process

from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.losses import CrossEntropy, MeanCrossEntropy, Perplexity, cross_entropy
from keras_bert_impl.tasks.pretraining import summarize_logs

ROWS, PREDICTIONS, WORDS = 5, 7, 211


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 9, (ROWS, PREDICTIONS, WORDS)).astype("float32")


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(2).integers(0, WORDS, (ROWS, PREDICTIONS)).astype("int32")


@pytest.fixture
def weights() -> np.ndarray:
    """Half of the slots are empty."""
    return (np.random.default_rng(3).random((ROWS, PREDICTIONS)) < 0.5).astype("float32")


def compute_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    exact = logits.astype("float64")
    highest = exact.max(-1)
    sums = np.log(np.exp(exact - highest[..., None]).sum(-1)) + highest
    return sums - np.take_along_axis(exact, labels[..., None].astype("int64"), -1)[..., 0]


@run_in_torch_process
def compute_torch_gradient(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The gradient of the weighted sum of cross-entropies with respect to the logits."""
    import torch

    tensor = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        tensor.reshape(-1, logits.shape[-1]), torch.tensor(labels).reshape(-1).long(), reduction="none"
    )
    (loss * torch.tensor(weights).reshape(-1)).sum().backward()
    return tensor.grad.numpy()


def test_cross_entropy_and_its_gradient(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
    import tensorflow as tf

    expected = compute_torch_gradient(logits, labels, weights)
    ours = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(ours)
        total = tf.reduce_sum(cross_entropy(labels, ours) * weights)
    np.testing.assert_allclose(
        cross_entropy(labels, logits), compute_cross_entropy(logits, labels), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(tape.gradient(total, ours), expected, atol=1e-6)


def test_logits_that_are_far_apart() -> None:
    far = np.array([[3e4, -3e4, 0.0]], "float32")
    np.testing.assert_allclose(cross_entropy(np.array([1]), far), [6e4])
    np.testing.assert_allclose(cross_entropy(np.array([0]), far), [0])


def test_empty_slots_do_not_count(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
    expected = (compute_cross_entropy(logits, labels) * weights).sum() / weights.sum()
    np.testing.assert_allclose(MeanCrossEntropy()(labels, logits, weights), expected, rtol=1e-6)
    metric, perplexity = CrossEntropy(), Perplexity()
    for row in range(ROWS):  # Batches with different numbers of predictions.
        for measure in (metric, perplexity):
            measure.update_state(labels[row : row + 1], logits[row : row + 1] * 0.1, weights[row : row + 1])
    expected = (compute_cross_entropy(logits * np.float32(0.1), labels) * weights).sum() / weights.sum()
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)
    np.testing.assert_allclose(perplexity.result(), np.exp(expected), rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_model_learns_the_sum_of_both_losses(policy: str) -> None:
    """`evaluate` returns the metrics that float64 gives for the model's logits; ids exceed the integers of bfloat16."""
    inputs = keras.Input((4,), dtype="int32", name="input_ids")
    states = keras.layers.Embedding(WORDS * 7, 16, dtype=policy)(inputs)
    words = keras.layers.Dense(WORDS * 7, dtype=keras.DTypePolicy("float32"), name="words")(states)
    pair = keras.layers.Dense(2, dtype=keras.DTypePolicy("float32"), name="pair")(states[:, 0])
    model = keras.Model({"input_ids": inputs}, {"prediction_logits": words, "seq_relationship_logits": pair})
    model.compile("sgd", **TASKS["pretraining"].make_compile_arguments())
    draw = np.random.default_rng(5)
    ids = draw.integers(300, WORDS * 7, (11, 4)).astype("int32")
    y = {"prediction_logits": ids, "seq_relationship_logits": draw.integers(0, 2, 11).astype("int32")}
    w = {
        "prediction_logits": (draw.random((11, 4)) < 0.4).astype("float32"),
        "seq_relationship_logits": np.ones(11, "float32"),
    }
    outputs = {name: ops.convert_to_numpy(value) for name, value in model({"input_ids": ids}).items()}
    logs = model.evaluate({"input_ids": ids}, y, sample_weight=w, batch_size=11, verbose=0, return_dict=True)
    metrics = summarize_logs(logs)
    expected = {}
    for name, loss in (("prediction_logits", "masked"), ("seq_relationship_logits", "next_sentence")):
        weight = w[name]
        expected[f"{loss}_loss"] = (compute_cross_entropy(outputs[name], y[name]) * weight).sum() / weight.sum()
        expected[f"{loss}_accuracy"] = ((outputs[name].argmax(-1) == y[name]) * weight).sum() / weight.sum()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(logs["loss"], expected["masked_loss"] + expected["next_sentence_loss"], rtol=1e-5)
    np.testing.assert_allclose(metrics["perplexity"], np.exp(expected["masked_loss"]), rtol=1e-5)


@pytest.mark.parametrize("kind", [MeanCrossEntropy, CrossEntropy, Perplexity])
def test_objectives_can_be_saved(kind: type) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(kind()))
    assert type(again) is kind
    assert again.name == kind().name
