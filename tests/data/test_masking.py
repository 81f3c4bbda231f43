"""Masking at the paper's rates, within the sampling error."""

import numpy as np
import pytest

from keras_bert_impl.data.masking import choose_masked, mask_tokens

ROWS, LENGTH = 797, 61
MASK, VOCABULARY = 4, 1009


def assert_rate(rate: float, expected: float, count: int) -> None:
    """Asserts that a rate among ``count`` draws is within four standard deviations of the expected one."""
    assert abs(rate - expected) < 4 * np.sqrt(expected * (1 - expected) / count), (rate, expected)


@pytest.fixture(scope="module")
def maskable() -> np.ndarray:
    draw = np.random.default_rng(1)
    lengths = draw.integers(1, LENGTH, ROWS)
    maskable = np.arange(LENGTH) < lengths[:, None]
    maskable[:, 0] = False
    maskable[:, 17] = False  # A separator.
    maskable[5] = False
    return maskable


def test_rate_of_masking_single_tokens(maskable: np.ndarray) -> None:
    every = np.ones_like(maskable)
    chosen = choose_masked(np.random.default_rng(2), maskable, every, fraction=0.15, max_predictions=LENGTH)
    assert not (chosen & ~maskable).any()
    counts, total = chosen.sum(axis=1), maskable.sum(axis=1)
    assert (counts[total > 0] >= 1).all()
    assert not counts[total == 0].any()
    # Rounded up or down, so that the mean is exact; rows of a few tokens have at least one.
    assert (np.abs(counts - 0.15 * total) < 1).all()
    long = total > 7
    assert_rate(chosen[long].sum() / total[long].sum(), 0.15, int(total[long].sum()))


def test_all_positions_are_chosen_equally_often() -> None:
    maskable = np.ones((20_000, 23), bool)
    chosen = choose_masked(np.random.default_rng(3), maskable, maskable, fraction=0.2, max_predictions=23)
    rate = chosen.mean(axis=0)
    assert np.abs(rate - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 20_000)


def test_whole_words(maskable: np.ndarray) -> None:
    """Words of one to three pieces, in rows whose budget is large enough for them."""
    maskable = maskable[maskable.sum(axis=1) > 21]
    word_starts = np.isin(np.arange(LENGTH) % 6, [0, 1, 3]) & np.ones_like(maskable)
    chosen = choose_masked(np.random.default_rng(5), maskable, word_starts, fraction=0.15, max_predictions=LENGTH)
    assert not (chosen & ~maskable).any()
    # A piece that continues a word is chosen exactly if the one before it is.
    continues = maskable[:, 1:] & maskable[:, :-1] & ~word_starts[:, 1:]
    np.testing.assert_array_equal(chosen[:, 1:][continues], chosen[:, :-1][continues])
    assert (chosen.sum(axis=1) <= np.maximum(np.ceil(0.15 * maskable.sum(axis=1)), 1)).all()
    long = maskable.sum(axis=1) > 30
    assert 0.145 < chosen[long].sum() / maskable[long].sum() <= 0.152


def test_words_beyond_the_budget_are_chosen_piece_by_piece() -> None:
    maskable = np.ones((2000, 11), bool)
    word_starts = np.zeros_like(maskable)
    word_starts[:, 0] = True
    chosen = choose_masked(np.random.default_rng(9), maskable, word_starts, fraction=0.15, max_predictions=11)
    assert (chosen.sum(axis=1) >= 1).all()
    assert_rate(chosen.mean(), 0.15, chosen.size)


def test_never_more_than_the_maximum(maskable: np.ndarray) -> None:
    chosen = choose_masked(np.random.default_rng(6), maskable, np.ones_like(maskable), fraction=0.5, max_predictions=7)
    assert chosen.sum(axis=1).max() == 7


def test_rows_are_independent_of_each_other(maskable: np.ndarray) -> None:
    every = np.ones_like(maskable)
    chosen = choose_masked(np.random.default_rng(7), maskable, every, fraction=0.15, max_predictions=LENGTH)
    full = list(chosen[maskable.sum(axis=1) > 40])
    assert len({row.tobytes() for row in full}) > 0.99 * len(full)


def test_replacement_rates() -> None:
    draw = np.random.default_rng(8)
    random_ids = np.arange(5, VOCABULARY)
    ids = draw.integers(5, VOCABULARY, (ROWS, LENGTH))
    chosen = draw.random((ROWS, LENGTH)) < 0.5
    masked = mask_tokens(draw, ids, chosen, mask_id=MASK, random_ids=random_ids)
    np.testing.assert_array_equal(masked[~chosen], ids[~chosen])
    count = int(chosen.sum())
    is_mask, is_same = masked[chosen] == MASK, masked[chosen] == ids[chosen]
    assert_rate(is_mask.mean(), 0.8, count)
    assert_rate(is_same.mean(), 0.1 + 0.1 / len(random_ids), count)
    drawn = masked[chosen][~is_mask & ~is_same]
    assert set(drawn.tolist()) <= set(random_ids.tolist())
    # All of them are drawn equally often.
    assert_rate((drawn < 5 + len(random_ids) // 4).mean(), 0.25, len(drawn))
