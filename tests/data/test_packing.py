"""Sequences in rows: none beyond its row, few gaps."""

import numpy as np
import pytest

from keras_bert_impl.data.packing import pack


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
    assert used.sum() > 0.96 * 31 * 128


def test_fewer_sequences_than_rows() -> None:
    placed, row, found = pack(np.array([7, 100]), rows=5, room=128, most=4)
    assert sorted(placed.tolist()) == [0, 1]
    assert found.tolist() == np.array([7, 100])[placed].tolist()
    assert len(set(row.tolist())) == 1
