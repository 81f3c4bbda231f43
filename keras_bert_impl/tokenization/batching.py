"""From the tokens of texts to rows of a model's input, on whole batches: truncation, windows, special tokens, padding.

A *piece* is one tokenized text without special tokens; a *sample* has one piece, or two for a pair. All pieces of a
batch stand behind one another in flat arrays. A *row* is what the model sees: ``[CLS] a [SEP]`` or
``[CLS] a [SEP] b [SEP]``. A sample gives one row, or several if what truncation cuts off becomes rows of its own.
"""

from dataclasses import dataclass

import numpy as np

from keras_bert_impl.errors import InputError

# Special tokens around each piece: [CLS] and [SEP] around the first, [SEP] behind the second.
FRAME = np.array([2, 1])


@dataclass(frozen=True)
class Rows:
    """Which tokens each row of the batch takes.

    Attributes:
        sample: ``[rows]``, the sample that a row comes from.
        start: ``[rows, pieces]``, where in the flat arrays the row's part of each piece begins.
        length: ``[rows, pieces]``, how many tokens of each piece the row takes.
    """

    sample: np.ndarray
    start: np.ndarray
    length: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """The rows' lengths in tokens, special tokens included: ``[rows]``."""
        return (self.length + FRAME[: self.length.shape[1]]).sum(axis=1)


def truncate(lengths: np.ndarray, *, room: int, strategy: str) -> np.ndarray:
    """How many tokens of each piece remain.

    Args:
        lengths: ``[samples, pieces]``, tokens of each piece.
        room: the most tokens that a row can take beside its special tokens.
        strategy: ``"longest_first"`` takes from the longer piece until both are of the same length, then from both;
            ``"only_first"`` and ``"only_second"`` take from one piece.

    Returns:
        ``[samples, pieces]``.

    Raises:
        InputError: nothing would remain of the one piece that may be shortened.
    """
    if lengths.shape[1] == 1 and strategy != "only_second":
        return np.minimum(lengths, room)
    if strategy == "longest_first":
        shorter = np.minimum(lengths.min(axis=1, keepdims=True), room // 2)
        is_shorter = np.stack([lengths[:, 0] <= lengths[:, 1], lengths[:, 0] > lengths[:, 1]], axis=1)
        return np.where(is_shorter, shorter, np.minimum(lengths, room - shorter))
    piece = {"only_first": 0, "only_second": 1}[strategy]
    if piece == lengths.shape[1]:
        raise InputError("truncation='only_second' needs pairs, but there is only one text. Use 'longest_first'.")
    kept = lengths.copy()
    kept[:, piece] = np.minimum(lengths[:, piece], room - lengths[:, 1 - piece])
    gone = kept[:, piece] < np.minimum(lengths[:, piece], 1)
    if gone.any():
        sample = gone.argmax()
        raise InputError(
            f"truncation={strategy!r} leaves nothing of that text in pair {sample}: the other has "
            f"{lengths[sample, 1 - piece]} tokens, and there is room for {room}. Use 'longest_first' or more length."
        )
    return kept


def one_row_each(lengths: np.ndarray, kept: np.ndarray) -> Rows:
    """A row a sample: the first ``kept`` tokens of each piece; both arguments are ``[samples, pieces]``."""
    return Rows(sample=np.arange(len(lengths)), start=_exclusive_sum(lengths), length=kept)


def sliding_windows(lengths: np.ndarray, kept: np.ndarray, *, stride: int) -> Rows:
    """Rows that together take every token: the first ``kept`` tokens, then windows of the same size.

    Args:
        lengths: ``[samples, pieces]``, tokens of each piece.
        kept: ``[samples, pieces]``, the size of a window; one piece of a sample at most may be shorter than its length.
        stride: how many tokens a window shares with the one before it.

    Raises:
        InputError: a window would bring no new token.
    """
    is_cut = kept < lengths
    step = np.where(is_cut, kept - stride, 1)
    stuck = (step < 1).any(axis=1)
    if stuck.any():
        first = stuck.argmax()
        raise InputError(
            f"stride={stride} leaves no new tokens in a window of text {first}, which has room for "
            f"{kept[first][is_cut[first]][0]}. Use a smaller stride or a larger max_length."
        )
    windows = np.where(is_cut, -((kept - lengths) // step) + 1, 1).max(axis=1)
    sample = np.repeat(np.arange(len(lengths)), windows)
    skipped = (step * is_cut)[sample] * _ranges(np.zeros_like(windows), windows)[:, None]
    return Rows(
        sample=sample,
        start=_exclusive_sum(lengths)[sample] + skipped,
        length=np.minimum(kept[sample], lengths[sample] - skipped),
    )


@dataclass(frozen=True)
class Layout:
    """Where the tokens of all rows go when the rows stand behind one another, unpadded.

    Attributes:
        tokens: for each position that holds a token of a piece, in order, the token's place in the flat arrays.
        is_token: ``[positions]``, whether a position holds a token of a piece, not a special token.
        first: ``[rows]``, the first position of each row.
        type_ids: ``[positions]``, 0 for the first piece and its special tokens, 1 for the second.
    """

    tokens: np.ndarray
    is_token: np.ndarray
    first: np.ndarray
    type_ids: np.ndarray

    def place(self, values: np.ndarray, *, special: int) -> np.ndarray:
        """Values of the flat arrays at their positions, ``special`` elsewhere: int32 ``[positions, …]``."""
        placed = np.full((len(self.is_token), *values.shape[1:]), special, np.int32)
        placed[self.is_token] = values[self.tokens]
        return placed


def lay_out(rows: Rows) -> Layout:
    """The layout of rows with their special tokens."""
    pieces = rows.length.shape[1]
    framed = rows.length + FRAME[:pieces]
    begin = _exclusive_sum(framed)
    is_token = np.ones(framed.sum(), bool)
    is_token[begin[:, 0]] = False
    is_token[begin + framed - 1] = False
    return Layout(
        tokens=_ranges(rows.start.ravel(), rows.length.ravel()),
        is_token=is_token,
        first=begin[:, 0],
        type_ids=np.repeat(np.tile(np.arange(pieces, dtype=np.int32), len(framed)), framed.ravel()),
    )


def split(values: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Views of consecutive parts of ``values`` with the given sizes."""
    ends = np.cumsum(sizes)
    return [values[begin:end] for begin, end in zip((ends - sizes).tolist(), ends.tolist(), strict=True)]


def pad(values: np.ndarray, sizes: np.ndarray, *, width: int, fill: int) -> np.ndarray:
    """Consecutive parts of ``values`` as rows of equal width, filled up on the right: int32 ``[rows, width, …]``."""
    padded = np.full((len(sizes), width, *values.shape[1:]), fill, np.int32)
    padded[np.arange(width) < sizes[:, None]] = values
    return padded


def _exclusive_sum(lengths: np.ndarray) -> np.ndarray:
    """Where parts of these lengths begin when they stand behind one another; the same shape."""
    return (np.cumsum(lengths) - lengths.ravel()).reshape(lengths.shape)


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``range(start, start + length)`` for each pair, behind one another."""
    return np.repeat(starts - _exclusive_sum(lengths), lengths) + np.arange(lengths.sum())
