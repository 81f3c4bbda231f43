"""Padding that is not computed: rows have the same results in any groups."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_bert_impl import BertConfig, BertForSentenceEmbedding
from keras_bert_impl.models.sentence_columns import SentenceColumns
from keras_bert_impl.ops.trimming import apply_in_groups, cut_padding
from keras_bert_impl.tasks.contrastive import MultipleNegativesRankingLoss


def test_parts_are_cut_to_their_longest_rows() -> None:
    mask = ops.array([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
    part = {"input_ids_0": mask * 7, "attention_mask_0": mask, "attention_mask_1": mask[:, :2]}
    assert {name: values.shape[1] for name, values in cut_padding(part).items()} == {
        "input_ids_0": 3,
        "attention_mask_0": 3,
        "attention_mask_1": 2,
    }
    assert cut_padding({"input_ids_0": mask})["input_ids_0"].shape[1] == 5


def make_inputs(rows: int) -> dict[str, np.ndarray]:
    """Rows of 2 to 19 tokens, which are sorted by length."""
    lengths = np.sort(np.random.default_rng(5).integers(2, 20, rows))
    mask = (np.arange(19) < lengths[:, None]).astype("int32")
    return {"input_ids_0": mask * 7, "attention_mask_0": mask, "input_ids_1": 1 + mask, "attention_mask_1": mask}


@pytest.mark.parametrize("rows", [1, 2, 7, 13])
def test_groups_are_cut_to_their_own_longest_rows(rows: int) -> None:
    seen = []

    def count(inputs: dict[str, Any]) -> Any:
        seen.append(tuple(inputs["input_ids"].shape))
        return ops.sum(inputs["input_ids"], axis=1)

    mask = make_inputs(rows)["attention_mask_0"]
    inputs = {"input_ids": ops.array(3 * mask), "attention_mask": ops.array(mask)}
    counts = ops.convert_to_numpy(apply_in_groups(count, inputs, 3))
    np.testing.assert_array_equal(counts, 3 * mask.sum(axis=1))
    if keras.backend.backend() == "jax":
        assert seen == [(rows, 19)]
    elif keras.backend.backend() == "torch":
        parts = np.split(mask, [rows // 3, rows * 2 // 3]) if rows > 2 else np.split(mask, rows)
        assert seen == [(len(part), part.sum(axis=1).max()) for part in parts]


@pytest.mark.parametrize("is_merged", [False, True])
def test_training_in_groups_gives_the_same_weights(is_merged: bool) -> None:
    config = BertConfig(
        vocab_size=11,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=23,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    states = []
    for groups in (1, 3):
        keras.utils.set_random_seed(3)
        model = SentenceColumns(BertForSentenceEmbedding(config), 2, is_merged=is_merged, groups=groups)
        model.compile(
            keras.optimizers.SGD(0.1), {"sentence_embedding": MultipleNegativesRankingLoss()}, jit_compile=False
        )
        before = model.state_dict()
        for rows in (13, 7, 2):  # From the second number on, TensorFlow's graph is for any number of rows.
            model.train_on_batch(make_inputs(rows), {"sentence_embedding": np.zeros(rows)})
        states.append(model.state_dict())
    for name, values in states[0].items():
        np.testing.assert_allclose(states[1][name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    assert any(np.abs(values - before[name]).max() > 1e-4 for name, values in states[1].items())
