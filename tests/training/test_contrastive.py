"""Losses that compare the rows of a batch: the same step with accumulated parts and replicas as on one device."""

import functools
import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_process import (
    assert_same,
    collect_results,
    make_config,
    make_contrastive_loss,
    make_pairs,
    start_training,
    start_workers,
)

from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.data import BatchSplitter, ColumnBatches
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.models.sentence_columns import SentenceColumns
from keras_bert_impl.training import SaveStates, SavingSettings, accumulate, adamw, fit_with_resume
from keras_bert_impl.training.distribution.base import Backend, join_rows, split_rows

JAX = {"KERAS_BACKEND": "jax"}
RANKING = "MultipleNegativesRankingLoss"
CONFIG = make_config()


def make_model(loss: str, dropout: float) -> SentenceColumns:
    keras.utils.set_random_seed(3)
    model = SentenceColumns(BertForSentenceEmbedding(make_config(dropout)), 2)
    model.compile(keras.optimizers.SGD(1.0), {"sentence_embedding": make_contrastive_loss(loss)}, jit_compile=False)
    return model


def make_batch(parts: int) -> Any:
    """22 rows; if they are split, two more with weight 0."""
    batches = ColumnBatches(make_pairs(22), 24, seed=5, unique=True)
    return BatchSplitter(batches, 1, accumulate=parts)[0] if parts > 1 else batches[0]


def run_step(loss: str, parts: int, *, dropout: float = 0.0) -> tuple[float, dict[str, np.ndarray]]:
    """Returns the loss of a step and its gradients: the changes of the weights by SGD with the rate 1."""
    model = make_model(loss, dropout)
    accumulate(model, parts)
    before = model.state_dict()
    value = model.train_on_batch(*make_batch(parts))
    after = model.state_dict()
    return float(value), {name: before[name] - array for name, array in after.items()}


@functools.cache
def run_reference(loss: str, parts: int, *, dropout: float = 0.0) -> tuple[float, dict[str, np.ndarray]]:
    """Returns the same, by one tape that records all parts; the parts run in order, which decides their dropout."""
    model = make_model(loss, dropout)
    inputs, labels, *weights = make_batch(parts)
    inputs = split_rows({name: tf.constant(array) for name, array in inputs.items()}, parts)
    with tf.GradientTape() as tape:
        # Each part is cut to its longest row, which decides the dropout, too.
        masks = [inputs[f"attention_mask_{n}"].numpy() for n in range(2)]
        longest = np.max([mask.sum(axis=2).max(axis=1) for mask in masks], axis=0)
        outputs = [
            model({name: array[k, :, : longest[k]] for name, array in inputs.items()}, training=True)
            for k in range(parts)
        ]
        vectors = join_rows(tf.stack([part["sentence_embedding"] for part in outputs]))
        value = make_contrastive_loss(loss)(
            labels["sentence_embedding"], vectors, weights[0]["sentence_embedding"] if weights else None
        )
    gradients = tape.gradient(value, [weight.value for weight in model.trainable_weights])
    before = model.state_dict()
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        if gradient is not None:
            weight.assign_sub(gradient)
    return float(value), {name: before[name] - array for name, array in model.state_dict().items()}


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize(
    ("loss", "parts"),
    [
        (RANKING, 6),
        pytest.param(RANKING, 2, marks=pytest.mark.slow),
        pytest.param("CoSENTLoss", 3, marks=pytest.mark.slow),
        pytest.param("Matryoshka", 2, marks=pytest.mark.slow),
    ],
)
def test_the_gradient_of_parts_is_that_of_the_batch(loss: str, parts: int) -> None:
    expected_value, expected = run_reference(loss, 1)
    value, gradients = run_step(loss, parts)
    assert value == pytest.approx(expected_value, rel=1e-6)
    for name, gradient in expected.items():
        np.testing.assert_allclose(gradients[name], gradient, atol=1e-5, rtol=1e-5, err_msg=name)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_rows_that_do_not_divide_into_parts() -> None:
    """22 rows in 3 parts, without weights: the copies of a row are no negatives."""
    expected_value, expected = run_reference(RANKING, 1)
    model = make_model(RANKING, 0.0)
    accumulate(model, 3)
    before = model.state_dict()
    assert float(model.train_on_batch(*make_batch(1))) == pytest.approx(expected_value, rel=1e-6)
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(before[name] - array, expected[name], atol=1e-5, rtol=1e-5, err_msg=name)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_both_passes_of_a_part_have_the_same_dropout() -> None:
    expected_value, expected = run_reference(RANKING, 3, dropout=0.3)
    assert expected_value != pytest.approx(run_reference(RANKING, 1)[0], rel=1e-3)
    value, gradients = run_step(RANKING, 3, dropout=0.3)
    assert value == pytest.approx(expected_value, rel=1e-6)
    for name, gradient in expected.items():
        np.testing.assert_allclose(gradients[name], gradient, atol=1e-5, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_each_step_has_other_dropout() -> None:
    model = make_model(RANKING, 0.3)
    accumulate(model, 3)
    model.optimizer.learning_rate = 0.0
    batch = make_batch(3)
    first, second = (float(model.train_on_batch(*batch)) for _ in range(2))
    assert first != pytest.approx(second, rel=1e-4)


class SignalAfter(keras.callbacks.Callback):
    """Sends this process SIGTERM after a number of steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if int(self.model.optimizer.iterations.numpy()) == self.steps:
            os.kill(os.getpid(), signal.SIGTERM)


def train_with_states(directory: Path, *callbacks: keras.callbacks.Callback) -> dict[str, np.ndarray]:
    """Trains for 16 steps with two parts and dropout, from the newest state; returns the weights."""
    model = make_model(RANKING, 0.3)
    model.compile(adamw(learning_rate=3e-3, steps=16), model.loss, jit_compile=False)
    accumulate(model, 2)
    batches = BatchSplitter(ColumnBatches(make_pairs(61), 8, seed=5, epochs=2, unique=True), 1, accumulate=2)
    states = SaveStates(directory, SavingSettings(minutes=0, steps=100))
    fit_with_resume(model, batches, states=states, steps=16, steps_per_epoch=8, callbacks=callbacks, verbose=0)
    return model.state_dict()


@pytest.mark.slow
def test_resumed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    expected = train_with_states(tmp_path / "uninterrupted")
    with pytest.raises(Interrupted):
        train_with_states(tmp_path / "states", SignalAfter(11))
    for name, array in train_with_states(tmp_path / "states").items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_rows_are_split_and_joined() -> None:
    rows = np.arange(24).reshape(12, 2)
    split = split_rows({"x": rows}, 3)["x"]
    np.testing.assert_array_equal(split[1], rows[1::3])
    np.testing.assert_array_equal(join_rows({"x": split})["x"], rows)


def test_losses_that_are_sums_over_rows_use_plain_accumulation() -> None:
    model = SentenceColumns(BertForSentenceEmbedding(CONFIG), 2)
    names = {}
    for loss in (RANKING, "CosineSimilarityLoss"):
        model.compile("sgd", {"sentence_embedding": make_contrastive_loss(loss)})
        accumulate(model, 4)
        names[loss] = model.custom_train_step.func.__name__
        accumulate(model, 1)
        assert model.custom_train_step is None
    assert names == {RANKING: "_run_whole_batch_step", "CosineSimilarityLoss": "_run_accumulation_step"}


def test_the_step_depends_on_the_loss() -> None:
    with pytest.raises(InputError, match="the model is not compiled; accumulate needs its loss"):
        accumulate(SentenceColumns(BertForSentenceEmbedding(CONFIG), 2), 4)


def test_other_backends_have_no_parts() -> None:
    backend, model = Backend("torch"), SentenceColumns(BertForSentenceEmbedding(CONFIG), 2)
    assert backend.make_whole_batch_step(model, 1, replicas=1) is None
    with pytest.raises(InputError, match="Gradients are accumulated on tensorflow and jax, not on torch"):
        backend.make_whole_batch_step(model, 2, replicas=1)


@pytest.mark.slow
def test_mirrored_replicas_train_like_one_device() -> None:
    settings = {"loss": RANKING, "steps": 20}
    mirrored = {"strategy": "mirrored", "devices": 2, **settings}
    [[many, one]] = collect_results([start_training(mirrored, settings)])
    assert many["replicas"] == 2
    assert_same(many, one)
    assert one["losses"][-1] < 0.8 * one["losses"][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "parts"), [(RANKING, 2), ("CoSENTLoss", 1), ("Matryoshka", 1), ("CosineSimilarityLoss", 1)]
)
def test_losses_and_parts_on_replicas(loss: str, parts: int) -> None:
    settings = {"loss": loss, "steps": 20}
    mirrored = {"strategy": "mirrored", "devices": 3, "parts": parts, **settings}
    [[many, one]] = collect_results([start_training(mirrored, settings)])
    assert_same(many, one)


@pytest.mark.slow
def test_precisions_and_rematerialization_in_parts() -> None:
    common = {"loss": RANKING, "steps": 20}
    cases = [
        {},
        {"precision": "bfloat16", "parts": 3},
        {"precision": "float16"},
        {"precision": "float16", "parts": 3},
        {"dropout": 0.3, "parts": 3},
        {"dropout": 0.3, "parts": 3, "remat": True},
    ]
    [outcomes] = collect_results([start_training(*({**common, **case} for case in cases))])
    one, bfloat16, float16, float16_parts, dropout, remat = outcomes
    np.testing.assert_allclose(bfloat16["losses"], one["losses"], rtol=0.05)
    # Loss scaling skips some of the first steps, the same with parts.
    np.testing.assert_allclose(float16_parts["losses"][:8], float16["losses"][:8], rtol=0.01)
    assert float16_parts["losses"][-1] < 0.5 * float16_parts["losses"][0]
    assert_same(remat, dropout)
    assert dropout["losses"][0] != pytest.approx(one["losses"][0], rel=1e-3)


@pytest.mark.slow
def test_two_workers_train_like_one_device() -> None:
    settings = {"loss": RANKING, "steps": 20}
    [[one]] = collect_results([start_training(settings)])
    for parts in (1, 2):
        [first], [second] = collect_results(start_workers(2, {"strategy": "multiworker", "parts": parts, **settings}))
        assert_same(first, one)
        assert second["losses"] == first["losses"]


@pytest.mark.slow
def test_jax_without_tensorflow() -> None:
    settings = {"loss": RANKING, "steps": 20}
    cases = [{"strategy": "data-parallel", "devices": 3, "parts": 2}, {}, {"parts": 2, "dropout": 0.3}]
    [[parallel, one, _]] = collect_results([start_training(*({**settings, **case} for case in cases), **JAX)])
    assert parallel["replicas"] == 3
    assert_same(parallel, one)


@pytest.mark.slow
def test_jax_draws_the_same_dropout_in_both_passes() -> None:
    """With rematerialization each pass runs twice, and would differ if the states of dropout did."""
    settings = {"loss": RANKING, "steps": 20, "parts": 2, "dropout": 0.3}
    [[stored, recomputed]] = collect_results([start_training(settings, {**settings, "remat": True}, **JAX)])
    assert_same(recomputed, stored)
