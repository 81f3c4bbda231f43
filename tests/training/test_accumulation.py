"""Gradient accumulation in plain ``fit``, with batches whose rows do not divide, compared with complete batches."""

import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
from training_process import make_config

from keras_bert_impl import BertForPreTraining, BertForSequenceClassification, BertForTokenClassification
from keras_bert_impl.errors import InputError
from keras_bert_impl.training import accumulate

ROWS, LENGTH, PREDICTIONS = 21, 7, 3
BY_WEIGHTS = "mean_with_sample_weight"


def make_loss(reduction: str = "sum_over_batch_size") -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)


def make_case(name: str) -> tuple[Any, dict[str, Any], tuple[Any, ...]]:
    """A model, arguments of ``compile``, and inputs, labels and weights; rows have different numbers of labels."""
    draw = np.random.default_rng(1)
    ids = draw.integers(1, 99, (ROWS, LENGTH))
    labels, weights = draw.integers(0, 2, ROWS), draw.random(ROWS).astype("float32")
    per_token = (draw.random((ROWS, LENGTH)) < 0.4).astype("float32")
    metrics = {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
    if name == "classes":
        return BertForSequenceClassification, {"loss": make_loss(), **metrics}, (ids, labels)
    if name == "weighted classes":
        return BertForSequenceClassification, {"loss": {"logits": make_loss(BY_WEIGHTS)}}, (ids, labels, weights)
    if name == "tags":
        tags = draw.integers(0, 2, (ROWS, LENGTH))
        data = (ids, {"logits": tags}, {"logits": per_token})
        return BertForTokenClassification, {"loss": {"logits": make_loss(BY_WEIGHTS)}}, data
    positions = np.tile(np.arange(PREDICTIONS), (ROWS, 1))
    heads = {"prediction_logits": draw.integers(0, 99, (ROWS, PREDICTIONS)), "seq_relationship_logits": labels}
    data = (
        {"input_ids": ids, "masked_lm_positions": positions},
        heads,
        {"prediction_logits": per_token[:, :PREDICTIONS], "seq_relationship_logits": weights},
    )
    losses = {"prediction_logits": make_loss(BY_WEIGHTS), "seq_relationship_logits": make_loss()}
    return BertForPreTraining, {"loss": losses}, data


def train(name: str, parts: int) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Trains on batches of 8, 8 and 5 rows; returns the history and the weights."""
    keras.utils.set_random_seed(2)
    model_class, arguments, (x, y, *weights) = make_case(name)
    model = model_class(make_config())
    model.compile(keras.optimizers.SGD(0.1), **arguments)
    accumulate(model, parts)
    options = {"sample_weight": weights[0]} if weights else {}
    history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, **options).history
    return history, model.state_dict()


def check(name: str, parts: int) -> None:
    expected, weights = train(name, 1)
    history, of_parts = train(name, parts)
    for key in ("loss", "accuracy", "weighted_accuracy"):
        if key in expected:
            np.testing.assert_allclose(history[key], expected[key], rtol=1e-5, err_msg=key)
    for key, array in weights.items():
        np.testing.assert_allclose(of_parts[key], array, atol=1e-5, err_msg=key)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("classes", 4),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("classes", 8), ("weighted classes", 3)]),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("tags", 4), ("pretraining", 4)]),
    ],
)
def test_the_update_is_that_of_complete_batches(name: str, parts: int) -> None:
    """Also if a part has no rows of its own: 8 parts of 5 rows."""
    check(name, parts)


@pytest.mark.slow
def test_on_jax() -> None:
    code = """
import sys
sys.path[:0] = sys.argv[1:]
import test_accumulation as test
for case in [("classes", 4), ("classes", 8), ("tags", 4), ("pretraining", 3)]:
    test.check(*case)
"""
    directories = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]
    command = [sys.executable, "-c", code, *directories]
    result = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_xla_on_tensorflow_is_refused() -> None:
    model = BertForSequenceClassification(make_config())
    model.compile("sgd", make_loss(), jit_compile=True)
    with pytest.raises(
        InputError, match=r"compiled with jit_compile=True, Keras' default on GPUs; .* jit_compile=False"
    ):
        accumulate(model, 2)
    accumulate(model, 1)
