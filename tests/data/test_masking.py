"""Which tokens are chosen, and what is shown in their places: the paper's rates, within the error of sampling."""

import numpy as np
import pytest

from keras_bert_impl.data.masking import choose, replace

ROWS, LENGTH = 797, 61
MASK, VOCABULARY = 4, 1009


def within(found: float, expected: float, count: int) -> None:
    """Four standard deviations."""
    assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / count), (found, expected)


@pytest.fixture(scope="module")
def may_be() -> np.ndarray:
    draw = np.random.default_rng(1)
    lengths = draw.integers(1, LENGTH, ROWS)
    may_be = np.arange(LENGTH) < lengths[:, None]
    may_be[:, 0] = False
    may_be[:, 17] = False  # A separator.
    may_be[5] = False
    return may_be


def test_the_share_of_plain_masking(may_be: np.ndarray) -> None:
    chosen = choose(np.random.default_rng(2), may_be, np.ones_like(may_be), share=0.15, most=LENGTH)
    assert not (chosen & ~may_be).any()
    counts, there = chosen.sum(axis=1), may_be.sum(axis=1)
    assert (counts[there > 0] >= 1).all()
    assert not counts[there == 0].any()
    # Rounded up or down, so that the mean is right; rows of a few tokens have one at least.
    assert (np.abs(counts - 0.15 * there) < 1).all()
    long = there > 7
    within(chosen[long].sum() / there[long].sum(), 0.15, int(there[long].sum()))


def test_all_places_are_chosen_alike() -> None:
    may_be = np.ones((20_000, 23), bool)
    chosen = choose(np.random.default_rng(3), may_be, may_be, share=0.2, most=23)
    share = chosen.mean(axis=0)
    assert np.abs(share - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 20_000)


def test_whole_words(may_be: np.ndarray) -> None:
    """Words of one to three pieces, in rows whose budget has room for them."""
    may_be = may_be[may_be.sum(axis=1) > 21]
    begins = np.isin(np.arange(LENGTH) % 6, [0, 1, 3]) & np.ones_like(may_be)
    chosen = choose(np.random.default_rng(5), may_be, begins, share=0.15, most=LENGTH)
    assert not (chosen & ~may_be).any()
    # A piece that goes on a word is chosen exactly if the one before it is.
    goes_on = may_be[:, 1:] & may_be[:, :-1] & ~begins[:, 1:]
    np.testing.assert_array_equal(chosen[:, 1:][goes_on], chosen[:, :-1][goes_on])
    assert (chosen.sum(axis=1) <= np.maximum(np.ceil(0.15 * may_be.sum(axis=1)), 1)).all()
    long = may_be.sum(axis=1) > 30
    assert 0.145 < chosen[long].sum() / may_be[long].sum() <= 0.152


def test_words_beyond_the_budget_are_taken_piece_by_piece() -> None:
    may_be = np.ones((2000, 11), bool)
    begins = np.zeros_like(may_be)
    begins[:, 0] = True
    chosen = choose(np.random.default_rng(9), may_be, begins, share=0.15, most=11)
    assert (chosen.sum(axis=1) >= 1).all()
    within(chosen.mean(), 0.15, chosen.size)


def test_never_more_than_the_most(may_be: np.ndarray) -> None:
    chosen = choose(np.random.default_rng(6), may_be, np.ones_like(may_be), share=0.5, most=7)
    assert chosen.sum(axis=1).max() == 7


def test_rows_are_independent_of_each_other(may_be: np.ndarray) -> None:
    chosen = choose(np.random.default_rng(7), may_be, np.ones_like(may_be), share=0.15, most=LENGTH)
    full = list(chosen[may_be.sum(axis=1) > 40])
    assert len({row.tobytes() for row in full}) > 0.99 * len(full)


def test_replacement_rates() -> None:
    draw = np.random.default_rng(8)
    others = np.arange(5, VOCABULARY)
    ids = draw.integers(5, VOCABULARY, (ROWS, LENGTH))
    chosen = draw.random((ROWS, LENGTH)) < 0.5
    seen = replace(draw, ids, chosen, mask_id=MASK, others=others)
    np.testing.assert_array_equal(seen[~chosen], ids[~chosen])
    count = int(chosen.sum())
    is_mask, is_same = seen[chosen] == MASK, seen[chosen] == ids[chosen]
    within(is_mask.mean(), 0.8, count)
    within(is_same.mean(), 0.1 + 0.1 / len(others), count)
    drawn = seen[chosen][~is_mask & ~is_same]
    assert set(drawn.tolist()) <= set(others.tolist())
    # All others are drawn alike.
    within((drawn < 5 + len(others) // 4).mean(), 0.25, len(drawn))
