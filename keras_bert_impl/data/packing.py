"""Which sequences stand in which row, and where."""

import numpy as np

# Shorter gaps stay empty: [CLS] a [SEP] b [SEP] with less would say nothing.
_SHORTEST = 16
# Share of the places that whole sequences are to take. Of more, some would find no room.
_FILLED = 0.97


def pack(lengths: np.ndarray, *, rows: int, room: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Puts sequences into rows: those that fit all together, whatever their lengths; others are cut to fill gaps.

    The first of the sequences, as many as have fewer tokens than the rows have places, are laid where the least is
    left, the longest of them first. So which are left out does not depend on their lengths.

    Args:
        lengths: ``[sequences]``, in tokens, each at most ``room``; more than fit.
        rows: how many rows there are.
        room: tokens of a row.
        most: sequences of a row.

    Returns:
        the numbers of those that found a place, row by row; the row of each; and the tokens that each has there.
    """
    left, count = np.full(rows, room), np.zeros(rows, np.int64)
    row_of, length_of = np.full(len(lengths), -1), lengths.copy()
    first = int(np.searchsorted(np.cumsum(lengths), _FILLED * rows * room))
    for number in np.argsort(-lengths[:first], kind="stable").tolist():
        fits = np.where((left >= lengths[number]) & (count < most), left, room + 1)
        row = int(fits.argmin())
        if fits[row] <= room:
            row_of[number] = row
            left[row] -= lengths[number]
            count[row] += 1
    others = np.flatnonzero(row_of < 0)[::-1].tolist()
    gaps = np.flatnonzero((left >= _SHORTEST) & (count < most)).tolist()
    for row, number in zip(gaps, others, strict=False):
        row_of[number], length_of[number] = row, min(left[row], lengths[number])
    placed = np.argsort(row_of, kind="stable")[np.count_nonzero(row_of < 0) :]
    return placed, row_of[placed], length_of[placed]
