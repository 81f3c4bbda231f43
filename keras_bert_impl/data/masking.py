"""Which tokens are to be predicted, and what the model sees in their places."""

import numpy as np

# Of the chosen tokens so many are shown as [MASK], and so many as some other token; the rest stay (the paper, section
# 3.1, https://arxiv.org/abs/1810.04805).
MASKED, REPLACED = 0.8, 0.1


def choose(
    generator: np.random.Generator, may_be: np.ndarray, begins: np.ndarray, *, share: float, most: int
) -> np.ndarray:
    """Chooses tokens to predict, whole words at a time.

    In each row words are taken in an order of chance while they fit the row's budget: the share of its tokens, rounded
    up or down by chance such that the mean is right, at least one and at most ``most``. Words that are longer than that
    are taken piece by piece.

    Args:
        generator: of the chances.
        may_be: bool ``[rows, length]``, tokens that may be chosen.
        begins: bool ``[rows, length]``, tokens that begin a word; where every token does, they are chosen singly.
        share: share of the tokens.
        most: tokens of a row, at most.

    Returns:
        bool ``[rows, length]``.
    """
    rows, length = may_be.shape
    counts = may_be.sum(axis=1)
    budget = np.floor(counts * share + generator.random(rows)).astype(np.int64)
    left = np.minimum(np.clip(budget, 1, most), counts)
    row, column = np.nonzero(may_be)
    # A word ends where another begins, and where tokens that may not be chosen stand between.
    is_new = begins[row, column].copy()
    is_new[:1] = True
    is_new[1:] |= (np.diff(row) != 0) | (np.diff(column) != 1)
    word = np.cumsum(is_new) - 1
    if not len(word):
        return np.zeros_like(may_be)
    # Words that exceed a row's whole budget would never be taken: their pieces are taken singly.
    is_new |= np.bincount(word)[word] > left[row]
    word = np.cumsum(is_new) - 1
    word_row, word_length = row[is_new], np.bincount(word)
    order = np.lexsort((generator.random(len(word_row)), word_row))
    place = np.arange(len(order)) - np.searchsorted(word_row, word_row)
    # Each row's words in the order of chance; -1 behind the last.
    words = np.full((rows, place.max() + 1), -1)
    words[word_row, place] = order
    lengths = np.where(words < 0, length + 1, word_length[words])
    taken = np.zeros(len(order), bool)
    for number in range(words.shape[1]):
        fits = lengths[:, number] <= left
        left = left - np.where(fits, lengths[:, number], 0)
        taken[words[fits, number]] = True
        if not left.any():
            break
    chosen = np.zeros_like(may_be)
    chosen[row, column] = taken[word]
    return chosen


def replace(
    generator: np.random.Generator, ids: np.ndarray, chosen: np.ndarray, *, mask_id: int, others: np.ndarray
) -> np.ndarray:
    """The ids with chosen ones shown as ``[MASK]``, as one of ``others`` by chance, or as they are.

    Args:
        generator: of the chances.
        ids: int ``[rows, length]``.
        chosen: bool ``[rows, length]``.
        mask_id: of the token ``[MASK]``.
        others: ids to draw from.
    """
    count = int(chosen.sum())
    chance = generator.random(count)
    seen = np.where(chance < MASKED, mask_id, ids[chosen])
    seen = np.where((chance >= MASKED) & (chance < MASKED + REPLACED), generator.choice(others, count), seen)
    result = ids.copy()
    result[chosen] = seen
    return result
