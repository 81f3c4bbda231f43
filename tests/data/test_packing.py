"""Packing: no row is too long, and few gaps are left."""

import numpy as np
import pytest

from keras_bert_impl.data.packing import pack


def test_what_is_left_out_does_not_depend_on_its_length() -> None:
    """Over many batches about the same fraction of sequences of each length is packed complete."""
    draw = np.random.default_rng(2)
    packed_count, total_count = np.zeros(128), np.zeros(128)
    for _ in range(300):
        lengths = np.where(draw.random(80) < 0.7, 128, draw.integers(5, 129, 80))
        packed, _, packed_lengths = pack(lengths, rows=64, row_length=128, max_sequences=16)
        complete = packed[packed_lengths == lengths[packed]]
        packed_count += np.bincount(lengths[complete] - 1, minlength=128)
        total_count += np.bincount(lengths - 1, minlength=128)
    ranges = (slice(4, 32), slice(32, 64), slice(64, 127), 127)
    fractions = [packed_count[lengths].sum() / total_count[lengths].sum() for lengths in ranges]
    assert max(fractions) - min(fractions) < 0.12, fractions
    assert min(fractions) > 0.75


@pytest.mark.parametrize(("shortest", "max_sequences"), [(5, 16), (30, 16), (5, 3)])
def test_rows_are_full_and_not_too_long(shortest: int, max_sequences: int) -> None:
    lengths = np.random.default_rng(1).integers(shortest, 129, 300)
    lengths = lengths[np.cumsum(lengths) < 1.05 * 31 * 128]
    packed, row, packed_lengths = pack(lengths, rows=31, row_length=128, max_sequences=max_sequences)
    assert len(set(packed.tolist())) == len(packed)
    assert (np.diff(row) >= 0).all()
    used = np.bincount(row, weights=packed_lengths, minlength=31)
    assert used.max() <= 128
    assert np.bincount(row).max() <= max_sequences
    # Only sequences that fill a gap are truncated, at most one per row.
    is_truncated = packed_lengths < lengths[packed]
    assert np.bincount(row[is_truncated], minlength=31).max() <= 1
    assert (packed_lengths[is_truncated] >= 16).all()
    assert used.sum() > 0.94 * 31 * 128


def test_fewer_sequences_than_rows() -> None:
    packed, row, packed_lengths = pack(np.array([7, 100]), rows=5, row_length=128, max_sequences=4)
    assert sorted(packed.tolist()) == [0, 1]
    assert packed_lengths.tolist() == np.array([7, 100])[packed].tolist()
    assert len(set(row.tolist())) == 1
