"""Best-fit packing: several sequences share a row."""

import numpy as np

# Shorter gaps are left empty: a truncated [CLS] a [SEP] b [SEP] would have hardly any text.
_SHORTEST = 16
# The fraction of the rows' tokens that complete sequences fill. With a larger fraction, some would not fit.
_FILLED = 0.97


def pack(
    lengths: np.ndarray, *, rows: int, row_length: int, max_sequences: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Packs sequences into rows (best fit, longest first); leftover gaps are filled with truncated sequences.

    Complete sequences are taken from the first on, until they fill 97 % of the rows. So which sequences are omitted
    does not depend on their lengths.

    Args:
        lengths: ``[sequences]``, in tokens, each at most ``row_length``; more sequences than fit.
        rows: the number of rows.
        row_length: tokens of a row.
        max_sequences: the maximum number of sequences of a row.

    Returns:
        The numbers of the packed sequences, row by row; the row of each; and how many of its tokens are in the row.
    """
    free, count = np.full(rows, row_length), np.zeros(rows, np.int64)
    row_of, length_of = np.full(len(lengths), -1), lengths.copy()
    first = int(np.searchsorted(np.cumsum(lengths), _FILLED * rows * row_length))
    for number in np.argsort(-lengths[:first], kind="stable").tolist():
        fits = np.where((free >= lengths[number]) & (count < max_sequences), free, row_length + 1)
        row = int(fits.argmin())
        if fits[row] <= row_length:
            row_of[number] = row
            free[row] -= lengths[number]
            count[row] += 1
    others = np.flatnonzero(row_of < 0)[::-1].tolist()
    gaps = np.flatnonzero((free >= _SHORTEST) & (count < max_sequences)).tolist()
    for row, number in zip(gaps, others, strict=False):
        row_of[number], length_of[number] = row, min(free[row], lengths[number])
    packed = np.argsort(row_of, kind="stable")[np.count_nonzero(row_of < 0) :]
    return packed, row_of[packed], length_of[packed]
