"""Sequences that are packed into one row have the outputs of each one alone."""

from typing import Any

import numpy as np
import pytest
import transformers_models
from keras import ops

from keras_bert_impl import models
from keras_bert_impl.config import BertConfig

FIRST, SECOND, PADDING = 5, 8, 4
SIZES = {**transformers_models.SIZES, "num_hidden_layers": 2}
OF_SEQUENCES = ("pooler_output", "seq_relationship_logits")


def make_rows(draw: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    """Three rows of one sequence each."""
    ids, segments = draw.integers(1, 99, (3, length)), draw.integers(0, 3, (3, length))
    return {"input_ids": ids.astype("int32"), "token_type_ids": segments.astype("int32")}


def pack(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Three rows of two sequences and padding each."""
    gap = np.zeros((3, PADDING), "int32")
    rows = {name: np.concatenate([first[name], second[name], gap], axis=1) for name in first}
    lengths = {1: FIRST, 2: SECOND, 0: PADDING}
    for name, values in {
        "position_ids": np.concatenate([np.arange(length) for length in lengths.values()]),
        "sequence_ids": np.repeat(list(lengths), list(lengths.values())),
    }.items():
        rows[name] = np.tile(values, (3, 1)).astype("int32")
    return rows


def run_model(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: ops.convert_to_numpy(value) for name, value in model(inputs).items()}


@pytest.fixture(
    scope="module", params=["BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForTokenClassification"]
)
def model(request: pytest.FixtureRequest) -> models.BertPreTrainedModel:
    return getattr(models, request.param)(BertConfig(**SIZES, initializer_range=0.2))


def test_each_sequence_as_if_alone(model) -> None:
    draw = np.random.default_rng(1)
    first, second = make_rows(draw, FIRST), make_rows(draw, SECOND)
    packed = pack(first, second)
    if "next_sentence_positions" in model.input_names:
        packed["next_sentence_positions"] = np.array([[0, FIRST]] * 3, "int32")
    together = run_model(model, packed)
    for number, (inputs, start, length) in enumerate([(first, 0, FIRST), (second, FIRST, SECOND)]):
        for name, value in run_model(model, inputs).items():
            part = together[name][:, number] if name in OF_SEQUENCES else together[name][:, start : start + length]
            np.testing.assert_allclose(part, value, atol=5e-6, err_msg=name)


def test_the_neighbor_changes_nothing(model) -> None:
    draw = np.random.default_rng(2)
    first = make_rows(draw, FIRST)
    one, other = (run_model(model, pack(first, make_rows(draw, SECOND))) for _ in range(2))
    for name in one:
        a, b = (side[name] if name in OF_SEQUENCES else side[name][:, :FIRST] for side in (one, other))
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_padding_changes_nothing(model) -> None:
    draw = np.random.default_rng(3)
    packed = pack(make_rows(draw, FIRST), make_rows(draw, SECOND))
    changed = {**packed, "input_ids": np.where(packed["sequence_ids"] == 0, 71, packed["input_ids"])}
    for name, value in run_model(model, packed).items():
        real = slice(None) if name in OF_SEQUENCES else np.s_[:, : FIRST + SECOND]
        np.testing.assert_array_equal(value[real], run_model(model, changed)[name][real], err_msg=name)


@pytest.mark.parametrize(
    ("name", "output"), [("BertForPreTraining", "prediction_logits"), ("BertForMaskedLM", "logits")]
)
def test_masked_positions_of_a_packed_row(name: str, output: str) -> None:
    model = getattr(models, name)(BertConfig(**SIZES, initializer_range=0.2))
    draw = np.random.default_rng(4)
    packed = pack(make_rows(draw, FIRST), make_rows(draw, SECOND))
    positions = np.array([[1, FIRST, FIRST + 3], [0, 2, FIRST + SECOND - 1], [4, 4, 4]], "int32")
    picked = run_model(model, {**packed, "masked_lm_positions": positions})[output]
    everywhere = run_model(model, packed)[output]
    np.testing.assert_allclose(picked, np.take_along_axis(everywhere, positions[..., None], axis=1), atol=2e-6)
