"""Batches split into equal parts, for replicas, workers and gradient accumulation."""

import numpy as np
import pytest
from training_process import make_examples

from keras_bert_impl.data import BatchSplitter, LengthBatches
from keras_bert_impl.errors import InputError

# 17 batches of 8 rows and one of 2.
BATCHES = LengthBatches(make_examples(138), 8, seed=5)


@pytest.mark.parametrize("number", [0, len(BATCHES) - 1])
def test_parts_together_are_the_batch(number: int) -> None:
    splitter = BatchSplitter(BATCHES, 4)
    parts = [splitter[4 * number + part] for part in range(4)]
    rows = len(BATCHES.get_rows(number))
    for field, fields in enumerate(BATCHES[number]):
        for name, values in fields.items():
            joined = np.concatenate([part[field][name] for part in parts])
            if field < 2:
                np.testing.assert_array_equal(joined[:rows], values)
            else:
                np.testing.assert_allclose(joined[:rows], values / values.sum(), rtol=1e-6)
                assert not joined[rows:].any()
                assert joined.sum() == pytest.approx(1)


def test_each_process_takes_its_local_parts() -> None:
    every, local = BatchSplitter(BATCHES, 4), BatchSplitter(BATCHES, 4, local_parts=[2, 3])
    assert (len(every), len(local)) == (4 * 18, 2 * 18)
    for k in range(len(local)):
        expected = every[4 * (k // 2) + 2 + k % 2]
        for ours, theirs in zip(local[k], expected, strict=True):
            for name, values in theirs.items():
                np.testing.assert_array_equal(ours[name], values)


def test_weights_sum_to_the_number_of_accumulated_parts() -> None:
    splitter = BatchSplitter(BATCHES, 2, accumulate=2)
    total = sum(splitter[k][2]["prediction_logits"].sum() for k in (0, 1))
    assert total == pytest.approx(2)


def test_weights_for_metrics_do_not_change() -> None:
    splitter, weights = BatchSplitter(BATCHES, 2, normalize_weights=False), BATCHES[0][2]["prediction_logits"]
    np.testing.assert_array_equal(np.concatenate([splitter[k][2]["prediction_logits"] for k in (0, 1)]), weights)


def test_batches_without_weights_get_them() -> None:
    class Bare:
        batch_size = 4

        def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
            return {"input_ids": np.ones((3, 7))}, {"logits": np.arange(3)}

        def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], type]], ...]:
            return {"input_ids": ((4, None), int)}, {"logits": ((4,), int)}

    splitter = BatchSplitter(Bare(), 2)
    np.testing.assert_allclose([splitter[k][2]["logits"] for k in (0, 1)], [[1 / 3, 1 / 3], [1 / 3, 0]], rtol=1e-6)
    assert splitter.get_spec() == (
        {"input_ids": ((None, None), int)},
        {"logits": ((None,), int)},
        {"logits": ((None,), np.dtype("float32"))},
    )


def test_a_batch_of_zero_weights_has_no_loss() -> None:
    class Empty:
        batch_size = 2

        def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
            return {"input_ids": np.ones((2, 7))}, {"logits": np.arange(2)}, {"logits": np.zeros(2)}

    np.testing.assert_array_equal(BatchSplitter(Empty(), 1)[0][2]["logits"], [0, 0])


def test_a_batch_size_that_is_not_divisible() -> None:
    with pytest.raises(InputError, match="batch_size is 8, which is not divisible by 6: 3 replicas times 2"):
        BatchSplitter(BATCHES, 3, accumulate=2)
