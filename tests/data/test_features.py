"""Ragged rows, compared with plain Python lists."""

import numpy as np
import pytest

from keras_bert_impl.data import Features, Ragged

LENGTHS = [3, 0, 7, 1, 5]


def make_rows(trailing: tuple[int, ...]) -> tuple[list[np.ndarray], Ragged]:
    generator = np.random.default_rng(11)
    rows = [generator.integers(1, 99, (length, *trailing)).astype(np.int32) for length in LENGTHS]
    return rows, Ragged.from_rows(rows, dtype=np.int32, pad=-9)


@pytest.mark.parametrize("trailing", [(), (2,)])
def test_rows_are_padded_at_the_end(trailing: tuple[int, ...]) -> None:
    rows, ragged = make_rows(trailing)
    padded = ragged.to_padded(np.array([4, 1, 2]), length=8)
    assert padded.dtype == np.int32
    for i, row in enumerate([4, 1, 2]):
        filling = np.full((8 - LENGTHS[row], *trailing), -9)
        np.testing.assert_array_equal(padded[i], np.concatenate([rows[row], filling]))


@pytest.mark.parametrize("trailing", [(), (2,)])
def test_rows_that_are_taken_stay_complete(trailing: tuple[int, ...]) -> None:
    rows, ragged = make_rows(trailing)
    taken = ragged.take(np.array([2, 2, 0, 1]))
    assert len(taken) == 4
    for i, row in enumerate([2, 2, 0, 1]):
        np.testing.assert_array_equal(taken[i], rows[row])


def test_lengths_and_lists() -> None:
    ragged = Ragged.from_rows([[1.5], [], [2.5, 3.5]], dtype=np.float32)
    assert ragged.lengths.tolist() == [1, 0, 2]
    assert ragged.flat.dtype == np.float32


def test_a_batch_has_the_parts_of_the_features() -> None:
    _, ids = make_rows(())
    weights = Ragged(np.ones(16, np.float32), ids.offsets)
    example = np.arange(5, dtype=np.int32)
    rows = np.array([3, 0])
    (inputs,) = Features({"input_ids": ids}, {}, {}, example).batch(rows, length=4)
    assert inputs["input_ids"].shape == (2, 4)
    _, labels = Features({"input_ids": ids}, {"logits": np.arange(5)}, {}, example).batch(rows, length=4)
    assert labels["logits"].tolist() == [3, 0]
    _, labels, weight = Features({"input_ids": ids}, {"logits": ids}, {"logits": weights}, example).batch(
        rows, length=4
    )
    np.testing.assert_array_equal(labels["logits"], inputs["input_ids"])
    assert weight["logits"].tolist() == [[1, 0, 0, 0], [1, 1, 1, 0]]
