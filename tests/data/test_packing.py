"""Sequences in rows: none beyond its row, few gaps."""

import numpy as np
import pytest

from keras_bert_impl.data.packing import pack


def test_what_is_left_out_does_not_depend_on_its_length() -> None:
    """Of many batches, sequences of all lengths keep about the same share; cut ones count for the new length."""
    draw = np.random.default_rng(2)
    kept, there = np.zeros(128), np.zeros(128)
    for _ in range(300):
        lengths = np.where(draw.random(80) < 0.7, 128, draw.integers(5, 129, 80))
        placed, _, found = pack(lengths, rows=64, room=128, most=16)
        whole = placed[found == lengths[placed]]
        kept += np.bincount(lengths[whole] - 1, minlength=128)
        there += np.bincount(lengths - 1, minlength=128)
    shares = [kept[part].sum() / there[part].sum() for part in (slice(4, 32), slice(32, 64), slice(64, 127), 127)]
    assert max(shares) - min(shares) < 0.12, shares
    assert min(shares) > 0.75


@pytest.mark.parametrize(("shortest", "most"), [(5, 16), (30, 16), (5, 3)])
def test_rows_hold_what_fits(shortest: int, most: int) -> None:
    lengths = np.random.default_rng(1).integers(shortest, 129, 300)
    lengths = lengths[np.cumsum(lengths) < 1.05 * 31 * 128]
    placed, row, found = pack(lengths, rows=31, room=128, most=most)
    assert len(set(placed.tolist())) == len(placed)
    assert (np.diff(row) >= 0).all()
    used = np.bincount(row, weights=found, minlength=31)
    assert used.max() <= 128
    assert np.bincount(row).max() <= most
    # Only those that fill a gap are cut, at most one a row.
    is_cut = found < lengths[placed]
    assert np.bincount(row[is_cut], minlength=31).max() <= 1
    assert (found[is_cut] >= 16).all()
    assert used.sum() > 0.94 * 31 * 128


def test_fewer_sequences_than_rows() -> None:
    placed, row, found = pack(np.array([7, 100]), rows=5, room=128, most=4)
    assert sorted(placed.tolist()) == [0, 1]
    assert found.tolist() == np.array([7, 100])[placed].tolist()
    assert len(set(row.tolist())) == 1
