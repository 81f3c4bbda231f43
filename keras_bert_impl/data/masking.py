"""Masking for masked-language-model training: which tokens are predicted, and which token replaces each of them."""

import numpy as np

# The fractions of the chosen tokens that become [MASK] and a random token; the others are unchanged (section 3.1,
# https://arxiv.org/abs/1810.04805).
MASKED, REPLACED = 0.8, 0.1


def choose_masked(
    generator: np.random.Generator,
    maskable: np.ndarray,
    word_starts: np.ndarray,
    *,
    fraction: float,
    max_predictions: int,
) -> np.ndarray:
    """Chooses the tokens to predict, complete words at a time.

    In each row, words are chosen in random order while they fit the row's budget: the fraction of its tokens, rounded
    up or down at random such that the mean is exact, at least one and at most ``max_predictions``. The pieces of words
    that are longer than the budget are chosen one by one.

    Args:
        generator: the random generator.
        maskable: bool ``[rows, length]``, the tokens that may be chosen.
        word_starts: bool ``[rows, length]``, the first token of each word; all true chooses tokens independently.
        fraction: the fraction of the tokens to choose.
        max_predictions: the maximum number of tokens to choose in a row.

    Returns:
        bool ``[rows, length]``.
    """
    rows, length = maskable.shape
    counts = maskable.sum(axis=1)
    budget = np.floor(counts * fraction + generator.random(rows)).astype(np.int64)
    remaining = np.minimum(np.clip(budget, 1, max_predictions), counts)
    row, column = np.nonzero(maskable)
    # A word ends where another starts, and before tokens that may not be chosen.
    is_start = word_starts[row, column].copy()
    is_start[:1] = True
    is_start[1:] |= (np.diff(row) != 0) | (np.diff(column) != 1)
    word = np.cumsum(is_start) - 1
    if not len(word):
        return np.zeros_like(maskable)
    # Words that exceed a row's complete budget would never be chosen: their pieces become words of their own.
    is_start |= np.bincount(word)[word] > remaining[row]
    word = np.cumsum(is_start) - 1
    word_row, word_length = row[is_start], np.bincount(word)
    order = np.lexsort((generator.random(len(word_row)), word_row))
    position = np.arange(len(order)) - np.searchsorted(word_row, word_row)
    # Each row's words in random order; -1 after the last.
    words = np.full((rows, position.max() + 1), -1)
    words[word_row, position] = order
    lengths = np.where(words < 0, length + 1, word_length[words])
    is_chosen = np.zeros(len(order), bool)
    for number in range(words.shape[1]):
        fits = lengths[:, number] <= remaining
        remaining = remaining - np.where(fits, lengths[:, number], 0)
        is_chosen[words[fits, number]] = True
        if not remaining.any():
            break
    chosen = np.zeros_like(maskable)
    chosen[row, column] = is_chosen[word]
    return chosen


def mask_tokens(
    generator: np.random.Generator, ids: np.ndarray, chosen: np.ndarray, *, mask_id: int, random_ids: np.ndarray
) -> np.ndarray:
    """Replaces 80 % of the chosen tokens by ``[MASK]`` and 10 % by a random token; the others are unchanged.

    Args:
        generator: the random generator.
        ids: int ``[rows, length]``.
        chosen: bool ``[rows, length]``.
        mask_id: the id of ``[MASK]``.
        random_ids: the ids that random tokens are drawn from.

    Returns:
        int ``[rows, length]``.
    """
    count = int(chosen.sum())
    draw = generator.random(count)
    replaced = np.where(draw < MASKED, mask_id, ids[chosen])
    replaced = np.where((draw >= MASKED) & (draw < MASKED + REPLACED), generator.choice(random_ids, count), replaced)
    result = ids.copy()
    result[chosen] = replaced
    return result
