"""Batches of rows of similar length, to save padding. Each batch is a function of its number and the seed alone."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_bert_impl.data.features import Features, Ragged, Values, to_offsets

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
        longest = int(self._row_lengths.max())
        shorter = sorted(length for length in lengths if length < longest) if lengths else range(longest)
        self._allowed = np.array([*shorter, longest])
        self._epoch: tuple[int, list[np.ndarray]] = (-1, [])
        if max_tokens:
            self._epoch = (0, self._order(0))
        self.per_epoch = len(self._epoch[1]) or -(-len(features) // batch_size)

    def __len__(self) -> int:
        return self.per_epoch * self.epochs

    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
        rows = self.rows(k)
        bucket = np.searchsorted(self._allowed, self._row_lengths[rows].max())
        return self.features.batch(rows, length=int(self._allowed[bucket]))

    def __repr__(self) -> str:
        return f"LengthBatches({len(self.features)} rows, batch_size={self.batch_size}, seed={self.seed})"

    def spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches, with None for dimensions that differ."""
        features = self.features
        parts = [part for part in (features.inputs, features.labels, features.weights) if part]
        return tuple({name: _spec(values) for name, values in part.items()} for part in parts)

    def rows(self, k: int) -> np.ndarray:
        """The numbers of the rows of batch ``k``: int64 ``[batch_size]``, or fewer."""
        if not 0 <= k < len(self):
            raise IndexError(f"batch {k} of {len(self)}")
        epoch, number = divmod(k, self.per_epoch)
        cached_epoch, batches = self._epoch
        if cached_epoch != epoch:
            # Both are assigned at once, so that several threads may do this.
            batches = self._order(epoch)
            self._epoch = (epoch, batches)
        return batches[number]

    def _order(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch."""
        rows = len(self.features)
        cuts = range(self.batch_size, rows, self.batch_size)
        if self.seed is None:
            order = np.argsort(-self._row_lengths, kind="stable")
            return np.split(order, self._token_cuts(order, self.max_tokens) if self.max_tokens else cuts)
        generator = np.random.default_rng((self.seed, epoch))
        shuffled = generator.permutation(rows)
        window = np.arange(rows) // (_WINDOW * self.batch_size)
        batches = np.split(shuffled[np.lexsort((self._row_lengths[shuffled], window))], cuts)
        return [batches[i] for i in generator.permutation(len(batches))]

    def _token_cuts(self, order: np.ndarray, max_tokens: int) -> list[int]:
        """Where the second and all later batches start in ``order``, which has the longest rows first."""
        cuts, begin = [], 0
        while begin < len(order):
            length = self._allowed[np.searchsorted(self._allowed, self._row_lengths[order[begin]])]
            begin += max(1, max_tokens // int(length))
            cuts.append(begin)
        return cuts[:-1]


def _spec(values: Values) -> tuple[tuple[int | None, ...], Any]:
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
                values = values[np.arange(values.shape[1]) < lengths[batches.rows(k), None]]
            collected.setdefault(name, []).append(values)
    order = np.concatenate([batches.rows(k) for k in range(batches.per_epoch)])
    inverse = np.argsort(order)
    flat = {name: np.concatenate(values) for name, values in collected.items()}
    if per_token:
        offsets = to_offsets(lengths[order])
        return {name: Ragged(values, offsets).take(inverse) for name, values in flat.items()}
    return {name: values[inverse] for name, values in flat.items()}
