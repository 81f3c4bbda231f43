"""Encoded examples: rows of different lengths, stored as flat arrays and padded when a batch is made."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, concatenated.

    Args:
        flat: ``[tokens, ...]``, the rows without padding.
        offsets: int64 ``[rows + 1]``; row ``i`` is ``flat[offsets[i]:offsets[i + 1]]``.
        pad: the value that pads shorter rows of a batch.

    >>> ragged = Ragged.from_rows([[1, 2, 3], [4], [5, 6]], dtype=np.int32)
    >>> ragged.padded(np.array([2, 1]), length=3)
    array([[5, 6, 0],
           [4, 0, 0]], dtype=int32)
    """

    flat: np.ndarray
    offsets: np.ndarray
    pad: int = 0

    @classmethod
    def from_rows(cls, rows: Sequence[Any], *, dtype: Any, pad: int = 0) -> "Ragged":
        """Concatenates rows, which may be lists or arrays."""
        return cls(np.concatenate(rows).astype(dtype, copy=False), to_offsets(map(len, rows)), pad)

    @property
    def lengths(self) -> np.ndarray:
        """The length of each row: int64 ``[rows]``."""
        return np.diff(self.offsets)

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """The shape of a batch; None for rows and length."""
        return (None, None, *self.flat.shape[1:])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: np.ndarray) -> "Ragged":
        """The rows with these numbers, in this order."""
        offsets = to_offsets(self.lengths[rows])
        indices = np.repeat(self.offsets[rows] - offsets[:-1], self.lengths[rows]) + np.arange(offsets[-1])
        return Ragged(self.flat[indices], offsets, self.pad)

    def padded(self, rows: np.ndarray, *, length: int) -> np.ndarray:
        """The rows with these numbers, padded at the end: ``[len(rows), length, ...]``."""
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        positions = np.arange(length)
        inside = positions < lengths[:, None]
        padded = np.full((len(rows), length, *self.flat.shape[1:]), self.pad, self.flat.dtype)
        padded[inside] = self.flat[(starts[:, None] + positions)[inside]]
        return padded


def to_offsets(lengths: Iterable[int]) -> np.ndarray:
    """The offsets of concatenated rows with these lengths: int64 ``[rows + 1]``, from 0 to the sum."""
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, np.int64))])


# An array with one entry per row, or one per token of each row.
Values = np.ndarray | Ragged


@dataclasses.dataclass(frozen=True)
class Features:
    """Model inputs and labels for a list of examples; a long example may become several rows (windows).

    Args:
        inputs: the model's inputs by name, one entry per token; all inputs have the same lengths.
        labels: the expected value of each output of the model; empty for prediction.
        weights: the weight of each entry of ``labels``, under the same names; empty if all weights are equal.
        example: int32 ``[rows]``, the number of the example that a row belongs to.
        alignment: what decoding needs to find a token's place in the text, one entry per token.
        truncated: how many examples were truncated to the maximum length.
    """

    inputs: Mapping[str, Ragged]
    labels: Mapping[str, Values]
    weights: Mapping[str, Values]
    example: np.ndarray
    alignment: Mapping[str, Ragged] = dataclasses.field(default_factory=dict)
    truncated: int = 0

    @property
    def lengths(self) -> np.ndarray:
        """The length of each row in tokens: int64 ``[rows]``."""
        return next(iter(self.inputs.values())).lengths

    def __len__(self) -> int:
        return len(self.example)

    def batch(self, rows: np.ndarray, *, length: int) -> tuple[dict[str, np.ndarray], ...]:
        """The rows with these numbers, padded to ``length``.

        Returns:
            ``(inputs,)``, ``(inputs, labels)`` or ``(inputs, labels, weights)``.
        """
        parts = [self.inputs, self.labels, self.weights]
        return tuple({name: _take(values, rows, length) for name, values in part.items()} for part in parts if part)


def _take(values: Values, rows: np.ndarray, length: int) -> np.ndarray:
    return values.padded(rows, length=length) if isinstance(values, Ragged) else values[rows]
