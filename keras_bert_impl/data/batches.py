"""Batches of rows of similar length, to save padding. Each batch is a function of its number and the seed alone."""

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
    >>> ragged.to_padded(np.array([2, 1]), length=3)
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
        """Returns the rows with these numbers, in this order."""
        offsets = to_offsets(self.lengths[rows])
        indices = np.repeat(self.offsets[rows] - offsets[:-1], self.lengths[rows]) + np.arange(offsets[-1])
        return Ragged(self.flat[indices], offsets, self.pad)

    def to_padded(self, rows: np.ndarray, *, length: int) -> np.ndarray:
        """Returns the rows with these numbers, padded at the end: ``[len(rows), length, ...]``."""
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        positions = np.arange(length)
        inside = positions < lengths[:, None]
        padded = np.full((len(rows), length, *self.flat.shape[1:]), self.pad, self.flat.dtype)
        padded[inside] = self.flat[(starts[:, None] + positions)[inside]]
        return padded


def to_offsets(lengths: Iterable[int]) -> np.ndarray:
    """Returns the offsets of concatenated rows with these lengths: int64 ``[rows + 1]``, from 0 to the sum."""
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, np.int64))])


# An array with one entry per row, or one per token of each row.
Values = np.ndarray | Ragged


@dataclasses.dataclass(frozen=True)
class Features:
    """Model inputs and labels for a list of examples; a long example may become several rows (windows).

    Args:
        inputs: the model's inputs by name: `Ragged` with one entry per token, all with the same lengths, or arrays
            ``[rows, ...]``, such as positions. The first is `Ragged`.
        labels: the expected value of each output of the model; empty for prediction.
        weights: the weight of each entry of ``labels``, under the same names; empty if all weights are equal.
        example: int32 ``[rows]``, the number of the example that a row belongs to.
        alignment: arrays with one entry per token, from which `Task.decode` finds the token's position in the text.
        truncated: how many examples were truncated to the maximum length.
    """

    inputs: Mapping[str, Any]
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

    @property
    def is_first_row(self) -> np.ndarray:
        """Whether a row is the first of its example, whose rows follow one another: bool ``[rows]``."""
        return np.diff(self.example, prepend=-1) > 0

    def count_examples(self) -> int:
        """Returns the number of examples, which have one row each, or several."""
        return int(self.example.max(initial=-1)) + 1

    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches, with None for dimensions that differ."""
        parts = [part for part in (self.inputs, self.labels, self.weights) if part]
        return tuple({name: get_value_spec(values) for name, values in part.items()} for part in parts)

    def batch(self, rows: np.ndarray, *, length: int) -> tuple[dict[str, np.ndarray], ...]:
        """Returns the rows with these numbers, padded to ``length``.

        Returns:
            ``(inputs,)``, ``(inputs, labels)`` or ``(inputs, labels, weights)``.
        """
        parts = [self.inputs, self.labels, self.weights]
        return tuple({name: _take(values, rows, length) for name, values in part.items()} for part in parts if part)


def _take(values: Values, rows: np.ndarray, length: int) -> np.ndarray:
    return values.to_padded(rows, length=length) if isinstance(values, Ragged) else values[rows]


# Lengths for backends that compile the model for each length (JAX): at most a third of a batch is padding.
BUCKETS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)

# Rows are sorted by length within windows of this many batches. Larger windows save a little padding but mix rows less.
_WINDOW = 64


class LengthBatches:
    """Batches as a random-access source: batch ``k`` depends on ``seed`` and ``k`` only, in every process.

    With a seed, each epoch shuffles the rows, sorts them by length within windows of 64 batches, cuts these into
    batches and shuffles the batches. Without a seed, all rows are sorted, longest first, for evaluation;
    `restore_order` restores their order. Every epoch contains every row once. If the batch size does not divide the
    number of rows, one batch is smaller: the longest rows of the last window, or in sorted order the shortest rows.

    Args:
        features: the rows.
        batch_size: rows per batch.
        seed: the seed of the shuffling; None sorts the rows instead.
        epochs: how many times each row occurs.
        lengths: the lengths that batches may be padded to; empty for the longest row of each batch. The length of the
            longest row of all is always allowed.
        max_tokens: without a seed, the maximum number of tokens of a batch, padding included: batches of short rows
            have more rows than ``batch_size``, batches of long rows fewer, but at least one. None: all batches have
            ``batch_size`` rows.

    Item ``k``:
        ``(inputs,)``, ``(inputs, labels)`` or ``(inputs, labels, weights)``, dictionaries of arrays
        ``[batch_size, ...]``, as ``keras.Model.train_on_batch`` takes them.

    >>> ids = Ragged.from_rows([[2, 3], [2, 7, 8, 3], [2, 9, 3]], dtype=np.int32)
    >>> batches = LengthBatches(Features({"input_ids": ids}, {}, {}, np.arange(3)), 2)
    >>> batches[0][0]["input_ids"]
    array([[2, 7, 8, 3],
           [2, 9, 3, 0]], dtype=int32)
    """

    def __init__(
        self,
        features: Features,
        batch_size: int,
        *,
        seed: int | None = None,
        epochs: int = 1,
        lengths: Sequence[int] = (),
        max_tokens: int | None = None,
    ) -> None:
        self.features = features
        self.batch_size = batch_size
        self.seed = seed
        self.epochs = epochs
        self.max_tokens = max_tokens
        self._row_lengths = features.lengths
        self._allowed = list_lengths(lengths, int(self._row_lengths.max()))
        self._epoch: tuple[int, list[np.ndarray]] = (-1, [])
        if max_tokens:
            self._epoch = (0, self._order_rows(0))
        self.per_epoch = len(self._epoch[1]) or -(-len(features) // batch_size)

    def __len__(self) -> int:
        return self.per_epoch * self.epochs

    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
        rows = self.get_rows(k)
        return self.features.batch(rows, length=self._round_up(self._row_lengths[rows].max()))

    def __repr__(self) -> str:
        return f"LengthBatches({len(self.features)} rows, batch_size={self.batch_size}, seed={self.seed})"

    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches, with None for dimensions that differ."""
        return self.features.get_spec()

    def get_rows(self, k: int) -> np.ndarray:
        """Returns the numbers of the rows of batch ``k``: int64 ``[batch_size]``, or fewer."""
        if not 0 <= k < len(self):
            raise IndexError(f"batch {k} does not exist; the batches are 0 to {len(self) - 1}")
        epoch, number = divmod(k, self.per_epoch)
        cached_epoch, batches = self._epoch
        if cached_epoch != epoch:
            # Both are assigned at once, so that several threads may do this.
            batches = self._order_rows(epoch)
            self._epoch = (epoch, batches)
        return batches[number]

    def _round_up(self, length: int) -> int:
        """Returns the shortest length to which rows of this length may be padded."""
        return int(self._allowed[np.searchsorted(self._allowed, length)])

    def _order_rows(self, epoch: int) -> list[np.ndarray]:
        """Returns the rows of each batch of an epoch."""
        rows = len(self.features)
        cuts = range(self.batch_size, rows, self.batch_size)
        if self.seed is None:
            order = np.argsort(-self._row_lengths, kind="stable")
            return np.split(order, self._find_cuts(order, self.max_tokens) if self.max_tokens else cuts)
        generator = np.random.default_rng((self.seed, epoch))
        shuffled = generator.permutation(rows)
        window = np.arange(rows) // (_WINDOW * self.batch_size)
        batches = np.split(shuffled[np.lexsort((self._row_lengths[shuffled], window))], cuts)
        return [batches[i] for i in generator.permutation(len(batches))]

    def _find_cuts(self, order: np.ndarray, max_tokens: int) -> list[int]:
        """Returns where each batch after the first starts in ``order``, which has the longest rows first."""
        cuts, begin = [], 0
        while begin < len(order):
            begin += max(1, max_tokens // self._round_up(self._row_lengths[order[begin]]))
            cuts.append(begin)
        return cuts[:-1]


class OrderedBatches(LengthBatches):
    """Batches of consecutive rows in their own order, as ``fit`` with ``shuffle=False`` expects them.

    Args: see `LengthBatches`.

    >>> ids = Ragged.from_rows([[2, 3], [2, 7, 8, 3], [2, 9, 3]], dtype=np.int32)
    >>> batches = OrderedBatches(Features({"input_ids": ids}, {}, {}, np.arange(3)), 2)
    >>> [batches.get_rows(k).tolist() for k in range(2)]
    [[0, 1], [2]]
    """

    def _order_rows(self, epoch: int) -> list[np.ndarray]:
        rows = np.arange(len(self.features))
        return np.split(rows, range(self.batch_size, len(rows), self.batch_size))


def list_lengths(lengths: Sequence[int], longest: int) -> np.ndarray:
    """Returns those of ``lengths`` below ``longest``, and ``longest``; if ``lengths`` is empty, all to ``longest``."""
    shorter = sorted(length for length in lengths if length < longest) if lengths else range(longest)
    return np.array([*shorter, longest])


def get_value_spec(values: Values) -> tuple[tuple[int | None, ...], Any]:
    """Returns the shape, with None for dimensions that differ between batches, and the dtype of values in a batch."""
    if isinstance(values, Ragged):
        return values.batch_shape, values.flat.dtype
    return (None, *values.shape[1:]), values.dtype


def restore_order(outputs: Iterable[dict[str, Any]], batches: LengthBatches, *, per_token: bool) -> dict[str, Values]:
    """Concatenates the outputs of consecutive batches and restores the order of the rows.

    Args:
        outputs: the model's outputs by name for each batch of one epoch: anything that NumPy can make an array from.
        batches: the batches.
        per_token: whether outputs have one entry per token; then padding is removed.

    Returns:
        For each output an array ``[rows, ...]``, or a `Ragged` with one entry per token.
    """
    lengths = batches.features.lengths
    collected: dict[str, list[np.ndarray]] = {}
    for k, batch in enumerate(outputs):
        for name, padded in batch.items():
            values = np.asarray(padded)
            if per_token:
                values = values[np.arange(values.shape[1]) < lengths[batches.get_rows(k), None]]
            collected.setdefault(name, []).append(values)
    order = np.concatenate([batches.get_rows(k) for k in range(batches.per_epoch)])
    inverse = np.argsort(order)
    flat = {name: np.concatenate(values) for name, values in collected.items()}
    if per_token:
        offsets = to_offsets(lengths[order])
        return {name: Ragged(values, offsets).take(inverse) for name, values in flat.items()}
    return {name: values[inverse] for name, values in flat.items()}
