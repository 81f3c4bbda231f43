"""Pooling and L2 normalization compared with their formulas in float64."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_bert_impl.layers.sentence import L2Normalization, SentencePooling

BATCH, LENGTH, HIDDEN = 5, 7, 3
ATTENTION = np.arange(LENGTH) < np.array([[7], [4], [1], [6], [5]])
# The last row has no token that is in both masks.
POOLED = np.arange(LENGTH) >= np.array([[0], [2], [0], [3], [5]])

FORMULAS = {
    "cls": lambda states, _: states[0],
    "max": lambda states, _: states.max(axis=0),
    "mean": lambda states, _: states.sum(axis=0) / len(states),
    "mean_sqrt_len_tokens": lambda states, _: states.sum(axis=0) / np.sqrt(len(states)),
    "weightedmean": lambda states, positions: (states * positions[:, None]).sum(axis=0) / positions.sum(),
    "lasttoken": lambda states, _: states[-1],
}


@pytest.mark.parametrize("masks", ["none", "attention", "pooling", "both"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pooling(masks: str, dtype: str) -> None:
    states = np.random.default_rng(0).normal(-2, size=(BATCH, LENGTH, HIDDEN))  # Maxima are below zero too.
    states = ops.convert_to_numpy(ops.cast(ops.cast(states, dtype), "float32"))
    given = {"none": {}, "attention": {"attention_mask": ATTENTION}, "pooling": {"pooling_mask": POOLED}}
    arrays = given.get(masks, {"attention_mask": ATTENTION, "pooling_mask": POOLED})
    layer = SentencePooling(list(FORMULAS))
    found = layer(ops.cast(states, dtype), **{name: array.astype("int32") for name, array in arrays.items()})
    found = ops.convert_to_numpy(found).reshape(BATCH, len(FORMULAS), HIDDEN)
    is_pooled = np.logical_and.reduce([np.ones((BATCH, LENGTH), bool), *arrays.values()])
    for row in range(BATCH):
        positions = np.flatnonzero(is_pooled[row])
        for number, (mode, formula) in enumerate(FORMULAS.items()):
            if len(positions):
                expected = formula(states[row, positions].astype("float64"), positions + 1)
            else:
                expected = states[row, 0] if mode == "cls" else np.zeros(HIDDEN)
            np.testing.assert_allclose(found[row, number], expected, atol=1e-6, err_msg=f"{mode} of row {row}")
    assert masks != "both" or not is_pooled.all(axis=1).all()


def test_normalization_and_its_gradient() -> None:
    """A vector of zeros remains, and its gradient is finite."""
    vectors = tf.constant([[3.0, 4.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        normalized = L2Normalization()(vectors)
    np.testing.assert_allclose(normalized, [[0.6, 0.8], [0, 0]], atol=1e-7)
    gradient = tape.gradient(normalized, vectors, output_gradients=tf.constant([[1.0, 0.0], [1.0, 1.0]])).numpy()
    # The derivative of x / √(x² + y²) is y² and -xy, divided by the length to the power of 3.
    np.testing.assert_allclose(gradient[0], [16 / 125, -12 / 125], atol=1e-7)
    assert np.isfinite(gradient).all()
