"""Arranges the tokens of texts in rows of a model's input: truncation, windows, special tokens, padding.

All functions process complete batches. A *sample* is one text or a pair of texts. The tokens of all texts of a batch
are concatenated in flat arrays. A *row* is the model's input: ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``, or what
else the `Template` says. A sample becomes one row, or several if the tokens that truncation removes become rows of
their own. ``[samples, texts]`` has one or two columns.
"""

from dataclasses import dataclass

import numpy as np

from keras_bert_impl.errors import InputError


@dataclass(frozen=True)
class Template:
    """The special tokens around texts: ``[CLS] a [SEP]``, and ``[CLS] a [SEP] b [SEP]`` for pairs.

    Attributes:
        separators: the number of ``[SEP]`` between the texts of a pair: 1, or 2 as in RoBERTa.
        second_type: the segment of the second text and the tokens around it: 1, or 0 if the model has no segments.
    """

    separators: int = 1
    second_type: int = 1

    def count(self, texts: int) -> np.ndarray:
        """Returns the number of special tokens around each of one or two texts."""
        return np.array([2, self.separators])[:texts]


BERT = Template()


@dataclass(frozen=True)
class Rows:
    """Which tokens each row of the batch contains.

    Attributes:
        template: the special tokens of a row.
        sample: ``[rows]``, the sample that a row belongs to.
        start: ``[rows, texts]``, where in the flat arrays the row's part of each text begins.
        length: ``[rows, texts]``, how many tokens of each text the row contains.
    """

    template: Template
    sample: np.ndarray
    start: np.ndarray
    length: np.ndarray

    @property
    def parts(self) -> np.ndarray:
        """The lengths of the texts of each row in tokens, with their special tokens: ``[rows, texts]``."""
        return self.length + self.template.count(self.length.shape[1])

    @property
    def sizes(self) -> np.ndarray:
        """The lengths of the rows in tokens, special tokens included: ``[rows]``."""
        return self.parts.sum(axis=1)


def truncate(lengths: np.ndarray, *, max_tokens: int, strategy: str) -> np.ndarray:
    """Computes how many tokens of each text remain.

    Args:
        lengths: ``[samples, texts]``, the number of tokens of each text.
        max_tokens: the maximum number of tokens of a row without its special tokens.
        strategy: ``"longest_first"`` shortens the longer text until both have the same length, then both;
            ``"only_first"`` and ``"only_second"`` shorten one text.

    Returns:
        ``[samples, texts]``.

    Raises:
        InputError: no token would remain of the one text that may be shortened.
    """
    if lengths.shape[1] == 1 and strategy != "only_second":
        return np.minimum(lengths, max_tokens)
    if strategy == "longest_first":
        shorter = np.minimum(lengths.min(axis=1, keepdims=True), max_tokens // 2)
        is_shorter = np.stack([lengths[:, 0] <= lengths[:, 1], lengths[:, 0] > lengths[:, 1]], axis=1)
        return np.where(is_shorter, shorter, np.minimum(lengths, max_tokens - shorter))
    column = {"only_first": 0, "only_second": 1}[strategy]
    if column == lengths.shape[1]:
        raise InputError("truncation='only_second' needs pairs, but there is only one text. Use 'longest_first'.")
    remaining = lengths.copy()
    remaining[:, column] = np.minimum(lengths[:, column], max_tokens - lengths[:, 1 - column])
    is_empty = remaining[:, column] < np.minimum(lengths[:, column], 1)
    if is_empty.any():
        sample = is_empty.argmax()
        raise InputError(
            f"truncation={strategy!r} leaves no token of that text in pair {sample}: the other text has "
            f"{lengths[sample, 1 - column]} tokens, and a row has space for {max_tokens}. Use 'longest_first' or a "
            "larger max_length."
        )
    return remaining


def make_rows(template: Template, lengths: np.ndarray, remaining: np.ndarray) -> Rows:
    """One row per sample: the first ``remaining`` tokens of each text; both arrays are ``[samples, texts]``."""
    return Rows(template, sample=np.arange(len(lengths)), start=_compute_starts(lengths), length=remaining)


def make_sliding_windows(template: Template, lengths: np.ndarray, window: np.ndarray, *, stride: int) -> Rows:
    """Makes rows that together contain every token: overlapping windows of equal size.

    Args:
        template: the special tokens of a row.
        lengths: ``[samples, texts]``, the number of tokens of each text.
        window: ``[samples, texts]``, the size of a window; at most one text of a sample is longer than its window.
        stride: how many tokens of the previous window each window repeats.

    Raises:
        InputError: a window would contain no new token.
    """
    is_cut = window < lengths
    step = np.where(is_cut, window - stride, 1)
    is_stuck = (step < 1).any(axis=1)
    if is_stuck.any():
        first = is_stuck.argmax()
        raise InputError(
            f"stride={stride} leaves no new tokens in a window of text {first}, which has space for "
            f"{window[first][is_cut[first]][0]}. Use a smaller stride or a larger max_length."
        )
    windows = np.where(is_cut, -((window - lengths) // step) + 1, 1).max(axis=1)
    sample = np.repeat(np.arange(len(lengths)), windows)
    skipped = (step * is_cut)[sample] * _concatenate_ranges(np.zeros_like(windows), windows)[:, None]
    return Rows(
        template,
        sample=sample,
        start=_compute_starts(lengths)[sample] + skipped,
        length=np.minimum(window[sample], lengths[sample] - skipped),
    )


@dataclass(frozen=True)
class Layout:
    """The positions of tokens and special tokens in concatenated, unpadded rows.

    Attributes:
        tokens: for each position with a token of a text, in order, the token's index in the flat arrays.
        is_token: ``[positions]``, whether a position contains a token of a text, not a special token.
        first: ``[rows]``, the first position of each row.
        text: ``[positions]``, the text that a token belongs to: 0, or 1 for the second one of a pair; -1 for special
            tokens.
        type_ids: ``[positions]``, the segments of the texts and of the special tokens around them.
    """

    tokens: np.ndarray
    is_token: np.ndarray
    first: np.ndarray
    text: np.ndarray
    type_ids: np.ndarray

    def place(self, values: np.ndarray, *, special: int) -> np.ndarray:
        """Values of the flat arrays at their positions, ``special`` elsewhere: int32 ``[positions, …]``."""
        placed = np.full((len(self.is_token), *values.shape[1:]), special, np.int32)
        placed[self.is_token] = values[self.tokens]
        return placed


def lay_out(rows: Rows) -> Layout:
    """Computes the layout of rows with their special tokens."""
    sizes = rows.parts
    begin = _compute_starts(sizes)
    is_token = np.ones(sizes.sum(), bool)
    # The special tokens before a text are one for the first text, and all but the last separator for the second.
    for number, before in enumerate(rows.template.count(sizes.shape[1]) - 1):
        is_token[begin[:, number : number + 1] + np.arange(before)] = False
    is_token[begin + sizes - 1] = False
    text = np.repeat(np.tile(np.arange(sizes.shape[1], dtype=np.int32), len(sizes)), sizes.ravel())
    types = np.array([0, rows.template.second_type], np.int32)
    return Layout(
        tokens=_concatenate_ranges(rows.start.ravel(), rows.length.ravel()),
        is_token=is_token,
        first=begin[:, 0],
        text=np.where(is_token, text, np.int32(-1)),
        type_ids=types[text],
    )


def split(values: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Views of consecutive parts of ``values`` with the given sizes."""
    ends = np.cumsum(sizes)
    return [values[begin:end] for begin, end in zip((ends - sizes).tolist(), ends.tolist(), strict=True)]


def pad(values: np.ndarray, sizes: np.ndarray, *, length: int, fill: int) -> np.ndarray:
    """Consecutive parts of ``values`` as rows of equal length, padded on the right: int32 ``[rows, length, …]``."""
    padded = np.full((len(sizes), length, *values.shape[1:]), fill, np.int32)
    padded[np.arange(length) < sizes[:, None]] = values
    return padded


def _compute_starts(lengths: np.ndarray) -> np.ndarray:
    """Where concatenated parts with these lengths begin; the same shape."""
    return (np.cumsum(lengths) - lengths.ravel()).reshape(lengths.shape)


def _concatenate_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``range(start, start + length)`` for each pair, concatenated."""
    return np.repeat(starts - _compute_starts(lengths), lengths) + np.arange(lengths.sum())
