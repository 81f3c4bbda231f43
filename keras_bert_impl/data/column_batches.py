"""Batches of examples that consist of several texts, each of which is a row of the model: pairs and triplets."""

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_bert_impl.data.batches import Features, LengthBatches, list_lengths

# Columns whose mean lengths differ by at most this factor are padded to the same length.
_MAX_RATIO = 1.5


@dataclasses.dataclass(frozen=True)
class ColumnFeatures(Features):
    """Examples of several texts each. The texts are rows of a pool, which contains each text with its prompt once.

    Args:
        inputs: the model's inputs for the pool, one entry per token.
        labels: the expected value of each output, one entry per example.
        weights: the weight of each entry of ``labels``; empty if all weights are equal.
        example: int32 ``[examples]``, 0, 1, 2 …
        columns: int64 ``[examples, columns]``, the index of each text in the pool.
        texts: int64 ``[examples, columns]``, the same index for equal texts, which may be in the pool several times,
            with different prompts; None: ``columns``.
    """

    labels: Mapping[str, np.ndarray]
    columns: np.ndarray = dataclasses.field(kw_only=True)
    texts: np.ndarray | None = dataclasses.field(default=None, kw_only=True)

    @property
    def column_lengths(self) -> np.ndarray:
        """The length of each text in tokens: int64 ``[examples, columns]``."""
        return next(iter(self.inputs.values())).lengths[self.columns]

    @property
    def is_merged(self) -> bool:
        """Whether the columns are padded to the same length, because their mean lengths are similar."""
        means = self.column_lengths.mean(axis=0)
        return bool(means.max() <= _MAX_RATIO * means.min())

    @property
    def lengths(self) -> np.ndarray:
        """The length by which examples are sorted: of the longest text if columns are merged, else of all together."""
        return self.column_lengths.max(axis=1) if self.is_merged else self.column_lengths.sum(axis=1)


class ColumnBatches(LengthBatches):
    """Batches of `ColumnFeatures`, as `LengthBatches`: batch ``k`` depends on ``seed`` and ``k`` only.

    Each column is padded to its own longest text, or all columns to the longest of all if they are merged.

    With ``unique``, no text is twice in a batch: the other texts of a batch are the negatives of an example, so a
    duplicate would be a false negative. Then an epoch shuffles the examples, and puts them into its batches in turn,
    each into the next batch that has none of its texts; so the batches have about the same size. If a text is in more
    examples than there are batches, there are more, smaller batches. An example that fits nowhere is left out of the
    epoch. The examples of a batch are sorted by length.

    Args:
        features: the examples.
        batch_size: examples per batch.
        seed: the seed of the shuffling.
        epochs: how many times each example occurs.
        lengths: the lengths that columns may be padded to; see `LengthBatches`.
        unique: whether no text occurs twice in a batch.

    Item ``k``:
        ``(inputs, labels)``. The names of the inputs are those of the model with the
        number of the column, such as ``input_ids_0`` and ``attention_mask_1``.

    >>> from keras_bert_impl.data import Ragged
    >>> pool = {"input_ids": Ragged.from_rows([[2, 7, 3], [2, 3], [2, 7, 8, 9, 3]], dtype=np.int32)}
    >>> labels = {"sentence_embedding": np.array([0.5, 0.25], np.float32)}
    >>> features = ColumnFeatures(pool, labels, {}, np.arange(2), columns=np.array([[1, 2], [1, 0]]))
    >>> inputs, labels = ColumnBatches(features, 2, seed=1)[0]
    >>> {name: ids.shape for name, ids in inputs.items()}
    {'input_ids_0': (2, 2), 'input_ids_1': (2, 5)}
    """

    features: ColumnFeatures

    def __init__(
        self,
        features: ColumnFeatures,
        batch_size: int,
        *,
        seed: int,
        epochs: int = 1,
        lengths: Sequence[int] = (),
        unique: bool = False,
    ) -> None:
        super().__init__(features, batch_size, seed=seed, epochs=epochs, lengths=lengths)
        self._column_lengths = features.column_lengths
        self._allowed = list_lengths(lengths, int(self._column_lengths.max()))
        self._is_merged = features.is_merged
        self._texts: np.ndarray | None = None
        if unique:
            self._texts = features.columns if features.texts is None else features.texts
            self.per_epoch = max(self.per_epoch, _count_most_frequent(self._texts))

    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
        rows, features = self.get_rows(k), self.features
        longest = self._column_lengths[rows].max(axis=0)
        if self._is_merged:
            longest[:] = longest.max()
        inputs = {
            f"{name}_{n}": values.to_padded(features.columns[rows, n], length=self._round_up(length))
            for n, length in enumerate(longest)
            for name, values in features.inputs.items()
        }
        labels = {name: values[rows] for name, values in features.labels.items()}
        return inputs, labels

    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches, with None for dimensions that differ."""
        inputs, labels = super().get_spec()
        columns = self.features.columns.shape[1]
        return {f"{name}_{n}": spec for n in range(columns) for name, spec in inputs.items()}, labels

    def count_left_out(self, epoch: int = 0) -> int:
        """Returns how many examples are in no batch of an epoch."""
        first = epoch * self.per_epoch
        return len(self.features) - sum(len(self.get_rows(k)) for k in range(first, first + self.per_epoch))

    def describe(self) -> str:
        """Returns a sentence on how ``unique`` changed the batches; empty if it changed nothing."""
        examples, expected = len(self.features), -(-len(self.features) // self.batch_size)
        if self.per_epoch > expected:
            return (
                f"a text is in {self.per_epoch} of {examples:,} examples, and no text is twice in a batch. So an epoch "
                f"has {self.per_epoch} batches of {examples / self.per_epoch:.1f} examples on average."
            )
        left_out = self.count_left_out()
        reason = "because no text is twice in a batch; other epochs leave out others"
        return f"{left_out} of {examples:,} examples are left out of epoch 1, {reason}." if left_out else ""

    def _order_rows(self, epoch: int) -> list[np.ndarray]:
        if self._texts is None or self.seed is None:
            return super()._order_rows(epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.features))
        batches = _spread(order, self._texts, self.per_epoch, max_size=self.batch_size)
        return [np.array(sorted(batch, key=self._row_lengths.__getitem__)) for batch in batches]


def _count_most_frequent(texts: np.ndarray) -> int:
    """Returns in how many examples the most frequent text is."""
    ordered = np.sort(texts, axis=1)
    is_first = np.diff(ordered, axis=1, prepend=-1) > 0  # A text that is twice in one example counts once.
    return int(np.unique(ordered[is_first], return_counts=True)[1].max())


def _spread(order: np.ndarray, texts: np.ndarray, count: int, *, max_size: int) -> list[list[int]]:
    """Spreads examples over batches: each example into the next batch that is not full and has none of its texts.

    Args:
        order: the indices of the examples, in the order in which they are spread.
        texts: int ``[examples, columns]``, the indices of the texts of each example.
        count: number of batches.
        max_size: max. examples in a batch.

    Returns:
        the indices of the examples of each batch.
    """
    batches: list[list[int]] = [[] for _ in range(count)]
    seen: list[set[int]] = [set() for _ in range(count)]
    queue = OrderedDict.fromkeys(range(count))  # The batches that are not full; the last one used is the last.
    for example, members in zip(order.tolist(), texts[order].tolist(), strict=True):
        index = next((index for index in queue if seen[index].isdisjoint(members)), None)
        if index is None:
            continue
        batches[index].append(example)
        seen[index].update(members)
        queue.move_to_end(index)
        if len(batches[index]) == max_size:
            del queue[index]
    return batches
