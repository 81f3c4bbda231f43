"""Batches cut into equal parts, for replicas, workers and accumulated gradients."""

import numpy as np
import pytest
from trained import examples

from keras_bert_impl.data import LengthBatches, Shares
from keras_bert_impl.errors import InputError

# 17 batches of 8 rows and one of 2.
BATCHES = LengthBatches(examples(138), 8, seed=5)


@pytest.mark.parametrize("number", [0, len(BATCHES) - 1])
def test_parts_are_the_batch(number: int) -> None:
    shares = Shares(BATCHES, 4)
    parts = [shares[4 * number + part] for part in range(4)]
    rows = len(BATCHES.rows(number))
    for place, fields in enumerate(BATCHES[number]):
        for name, values in fields.items():
            together = np.concatenate([part[place][name] for part in parts])
            if place < 2:
                np.testing.assert_array_equal(together[:rows], values)
            else:
                np.testing.assert_allclose(together[:rows], values / values.sum(), rtol=1e-6)
                assert not together[rows:].any()
                assert together.sum() == pytest.approx(1)


def test_each_process_takes_its_own() -> None:
    whole, mine = Shares(BATCHES, 4), Shares(BATCHES, 4, mine=[2, 3])
    assert (len(whole), len(mine)) == (4 * 18, 2 * 18)
    for k in range(len(mine)):
        expected = whole[4 * (k // 2) + 2 + k % 2]
        for ours, theirs in zip(mine[k], expected, strict=True):
            for name, values in theirs.items():
                np.testing.assert_array_equal(ours[name], values)


def test_weights_sum_to_the_parts_that_are_accumulated() -> None:
    shares = Shares(BATCHES, 2, accumulate=2)
    total = sum(shares[k][2]["prediction_logits"].sum() for k in (0, 1))
    assert total == pytest.approx(2)


def test_weights_for_figures_stay() -> None:
    shares, weights = Shares(BATCHES, 2, is_normal=False), BATCHES[0][2]["prediction_logits"]
    np.testing.assert_array_equal(np.concatenate([shares[k][2]["prediction_logits"] for k in (0, 1)]), weights)


def test_batches_without_weights_get_them() -> None:
    class Bare:
        batch_size = 4

        def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
            return {"input_ids": np.ones((3, 7))}, {"logits": np.arange(3)}

        def spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], type]], ...]:
            return {"input_ids": ((4, None), int)}, {"logits": ((4,), int)}

    shares = Shares(Bare(), 2)
    np.testing.assert_allclose([shares[k][2]["logits"] for k in (0, 1)], [[1 / 3, 1 / 3], [1 / 3, 0]], rtol=1e-6)
    assert shares.spec() == (
        {"input_ids": ((None, None), int)},
        {"logits": ((None,), int)},
        {"logits": ((None,), np.dtype("float32"))},
    )


def test_a_batch_that_nothing_is_asked_of_has_no_loss() -> None:
    class Empty:
        batch_size = 2

        def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
            return {"input_ids": np.ones((2, 7))}, {"logits": np.arange(2)}, {"logits": np.zeros(2)}

    np.testing.assert_array_equal(Shares(Empty(), 1)[0][2]["logits"], [0, 0])


def test_rows_that_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="batch_size is 8, which cannot be divided by 6: 3 replicas times 2"):
        Shares(BATCHES, 3, accumulate=2)
