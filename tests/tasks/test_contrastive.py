"""Losses of sentence embeddings: values and gradients of sentence-transformers, and rows that are absent."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from torch_process import run_in_torch_process

from keras_bert_impl.tasks import contrastive, options
from keras_bert_impl.tasks.contrastive import (
    CoSENTLoss,
    CosineSimilarityLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
    TripletLoss,
)

ROWS, SIZE = 7, 13


def make_vectors(columns: int, rows: int = ROWS) -> np.ndarray:
    """Vectors whose norms differ, and positives near their anchors."""
    draw = np.random.default_rng(3)
    vectors = draw.normal(size=(rows, columns, SIZE)) * draw.uniform(0.5, 3, (rows, columns, 1))
    vectors[:, 1] += 0.7 * vectors[:, 0]
    return vectors.astype(np.float32)


# With ties.
LABELS = np.array([0.2, 0.9, 0.2, -0.4, 1.0, 0.9, 0.5], np.float32)


def run(loss: Any, vectors: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> list[np.ndarray]:
    """Returns the value and the gradient with respect to the vectors."""
    variable = tf.Variable(vectors)
    with tf.GradientTape() as tape:
        value = loss(labels, variable, weights)
    return [value.numpy(), tape.gradient(value, variable).numpy()]


@run_in_torch_process
def run_reference(name: str, options: dict[str, Any], vectors: Any, labels: Any, dims: list[int]) -> list[Any]:
    """Returns the value and the gradient of a loss of sentence-transformers, the sum over truncated vectors."""
    import torch
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.losses.matryoshka import shrink

    if "distance_metric" in options:
        metrics = losses.TripletDistanceMetric
        options = {**options, "distance_metric": getattr(metrics, options["distance_metric"])}
    loss = getattr(losses, name)(model=None, **options)
    tensor = torch.tensor(vectors, requires_grad=True)
    columns = list(tensor.unbind(dim=1))
    variants = [[shrink(column, size) for column in columns] for size in dims] or [columns]
    value = sum(loss.compute_loss_from_embeddings(variant, torch.tensor(labels)) for variant in variants)
    value.backward()
    return [value.detach().numpy(), tensor.grad.numpy()]


SYMMETRIC = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
NEGATIVES = "MultipleNegativesRankingLoss"
CASES = {
    "pairs": (MultipleNegativesRankingLoss(), 2, NEGATIVES, {}),
    "one negative": (MultipleNegativesRankingLoss(), 3, NEGATIVES, {}),
    "three negatives, scale": (MultipleNegativesRankingLoss(scale=3.0), 5, NEGATIVES, {"scale": 3.0}),
    "symmetric": (MultipleNegativesRankingLoss(symmetric=True), 2, NEGATIVES, SYMMETRIC),
    "symmetric with negatives": (MultipleNegativesRankingLoss(symmetric=True), 4, NEGATIVES, SYMMETRIC),
    "cosent": (CoSENTLoss(), 2, "CoSENTLoss", {}),
    "cosent, scale": (CoSENTLoss(scale=5.0), 2, "CoSENTLoss", {"scale": 5.0}),
    "cosine": (CosineSimilarityLoss(), 2, "CosineSimilarityLoss", {}),
    "triplet": (TripletLoss(), 3, "TripletLoss", {}),
    "triplet, cosine": (
        TripletLoss(margin=0.7, distance="cosine"),
        3,
        "TripletLoss",
        {"distance_metric": "COSINE", "triplet_margin": 0.7},
    ),
    "triplet, manhattan": (
        TripletLoss(margin=2.0, distance="manhattan"),
        3,
        "TripletLoss",
        {"distance_metric": "MANHATTAN", "triplet_margin": 2.0},
    ),
}


@pytest.mark.parametrize("dims", [[], [11, 5, 2]], ids=["complete", "truncated"])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_of_sentence_transformers(case: str, dims: list[int]) -> None:
    loss, columns, name, options = CASES[case]
    vectors = make_vectors(columns)
    expected_value, expected_gradient = run_reference(name, options, vectors, LABELS, dims)
    value, gradient = run(MatryoshkaLoss(loss, dims) if dims else loss, vectors, LABELS)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_rows_of_weight_0_are_absent(case: str) -> None:
    loss, columns, *_ = CASES[case]
    loss = type(loss).from_config(loss.get_config())
    if not getattr(loss, "needs_whole_batch", False):
        loss.reduction = "sum"  # As under a strategy, where weights sum to 1.
    vectors, weights = make_vectors(columns), np.full(ROWS, 1 / ROWS, np.float32)
    value, gradient = run(loss, vectors, LABELS, weights)
    more = [np.concatenate([array, array[:2]]) for array in (vectors, LABELS)]
    padded_value, padded_gradient = run(loss, *more, np.concatenate([weights, np.zeros(2)]).astype(np.float32))
    np.testing.assert_allclose(padded_value, value, rtol=1e-6)
    np.testing.assert_allclose(padded_gradient[:ROWS], gradient, rtol=1e-5, atol=1e-6)
    assert not padded_gradient[ROWS:].any()
    expected = loss(LABELS, vectors)
    if getattr(loss, "needs_whole_batch", False):
        np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_each_loss_and_distance_has_a_name() -> None:
    assert ("auto", *contrastive.LOSS_CLASSES) == options.LOSSES
    assert tuple(contrastive.DISTANCE_FUNCTIONS) == options.DISTANCES
    names = {name for _, names in contrastive.LOSS_CLASSES.values() for name in names}
    assert names == {"scale", "symmetric", "margin", "distance"}


def test_weights_of_whole_batch_losses_are_normalized() -> None:
    vectors, weights = make_vectors(3), np.arange(1, ROWS + 1, dtype=np.float32)
    loss = MultipleNegativesRankingLoss()
    np.testing.assert_allclose(loss(LABELS, vectors, 5 * weights), loss(LABELS, vectors, weights), rtol=1e-6)


def test_equal_and_zero_vectors_have_finite_gradients() -> None:
    vectors = make_vectors(3)
    vectors[0, 1] = vectors[0, 0]
    vectors[1] = 0
    for loss in (TripletLoss(), TripletLoss(distance="manhattan"), MultipleNegativesRankingLoss(), CoSENTLoss()):
        value, gradient = run(loss, vectors, LABELS)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_cosent_without_an_order_has_no_loss() -> None:
    value, gradient = run(CoSENTLoss(), make_vectors(2), np.ones(ROWS, np.float32))
    assert value == pytest.approx(0, abs=1e-6)
    assert not gradient.any()


@pytest.mark.parametrize("case", CASES)
def test_losses_are_serializable(case: str) -> None:
    loss, columns, *_ = CASES[case]
    for each in (loss, MatryoshkaLoss(loss, (11, 5))):
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(each))
        assert type(copy) is type(each)
        assert copy.get_config() == each.get_config()
        np.testing.assert_array_equal(*(one(LABELS, make_vectors(columns)) for one in (copy, each)))


def test_mixed_precision_computes_in_float32() -> None:
    """The vectors of a float16 model, whose squares are out of its range."""
    vectors = 300 * make_vectors(2)
    loss = MultipleNegativesRankingLoss()
    np.testing.assert_allclose(loss(LABELS, vectors.astype(np.float16)), loss(LABELS, vectors), rtol=1e-2)
