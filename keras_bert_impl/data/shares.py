"""Batches cut into equal parts, for replicas, workers, and gradients that are accumulated."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bert_impl.data.feed import Batches
from keras_bert_impl.errors import InputError

Batch = tuple[dict[str, np.ndarray], ...]


class Shares:
    """Each batch as several parts, such that what the parts' losses sum to is the loss of the batch.

    For that, the weights of each label sum to 1 over the whole batch (to ``accumulate``, whose mean is taken), and the
    losses are to be sums (`summing`). Where the rows cannot be divided, the first one is repeated with weights of 0.

    Args:
        batches: such as `LengthBatches` or `PretrainingBatches`.
        parts: how many parts a batch has.
        mine: the numbers of those that this process takes; None for all.
        accumulate: into how many parts the model cuts a part again, see `keras_bert_impl.training.accumulate`.
        devices: into how many the backend cuts a part again.
        is_normal: whether the weights are scaled; else they stay, as for figures over several batches.

    Item ``k``:
        part ``mine[k % len(mine)]`` of batch ``k // len(mine)``: inputs, labels and weights.

    Raises:
        InputError: the batch size cannot be divided by all of these.

    >>> from keras_bert_impl.data import Features, LengthBatches
    >>> from keras_bert_impl.data.features import Ragged
    >>> ids = Ragged.from_rows([[2, 3], [2, 7, 8, 3], [2, 9, 3]], dtype=np.int32)
    >>> features = Features({"input_ids": ids}, {"logits": np.array([0, 1, 1])}, {}, np.arange(3))
    >>> shares = Shares(LengthBatches(features, 4), 2)
    >>> [[round(float(weight), 3) for weight in weights["logits"]] for _, _, weights in (shares[0], shares[1])]
    [[0.333, 0.333], [0.333, 0.0]]
    """

    def __init__(
        self,
        batches: Any,
        parts: int,
        *,
        mine: Sequence[int] | None = None,
        accumulate: int = 1,
        devices: int = 1,
        is_normal: bool = True,
    ) -> None:
        multiple = parts * devices * accumulate
        if batches.batch_size % multiple:
            raise InputError(
                f"batch_size is {batches.batch_size}, which cannot be divided by {multiple}: {parts * devices} "
                f"replicas times {accumulate} accumulated parts. Choose a multiple of it."
            )
        self.batches: Batches = batches
        self.parts = parts
        self.mine = list(range(parts)) if mine is None else list(mine)
        self.accumulate = accumulate
        self.devices = devices
        self.is_normal = is_normal
        self._last: tuple[int, Batch] = (-1, ())

    def __len__(self) -> int:
        return len(self.batches) * len(self.mine)

    def __getitem__(self, k: int) -> Batch:
        number, part = divmod(k, len(self.mine))
        last, batch = self._last
        if last != number:
            multiple = self.parts * self.devices * self.accumulate
            batch = _weighted(self.batches[number], multiple, total=self.accumulate if self.is_normal else None)
            self._last = (number, batch)
        rows = len(next(iter(batch[0].values()))) // self.parts
        begin = rows * self.mine[part]
        return tuple({name: values[begin : begin + rows] for name, values in fields.items()} for fields in batch)

    def spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all parts, None for what differs."""
        inputs, labels, *weights = self.batches.spec()
        shapes = weights[0] if weights else labels
        return (
            _without_rows(inputs),
            _without_rows(labels),
            _without_rows({name: (shape, np.dtype(np.float32)) for name, (shape, _) in shapes.items()}),
        )


def summing(arguments: dict[str, Any]) -> dict[str, Any]:
    """Keywords for ``compile`` whose losses are sums, as `Shares` need them; the losses are changed."""
    losses = arguments["loss"]
    for loss in losses.values() if isinstance(losses, dict) else [losses]:
        loss.reduction = "sum"
    return arguments


def _without_rows(fields: dict[str, tuple[tuple[int | None, ...], Any]]) -> dict[str, Any]:
    return {name: ((None, *shape[1:]), dtype) for name, (shape, dtype) in fields.items()}


def _weighted(batch: Batch, multiple: int, *, total: float | None) -> Batch:
    """The batch with as many rows as can be divided, and weights, which sum to ``total`` for each label if given."""
    inputs, labels, *given = batch
    weights = given[0] if given else {name: np.ones(np.shape(values), np.float32) for name, values in labels.items()}
    short = -len(next(iter(inputs.values()))) % multiple
    repeated = [
        {name: np.concatenate([values, values[:1].repeat(short, axis=0)]) for name, values in fields.items()}
        for fields in (inputs, labels)
    ]
    filled = {
        name: np.concatenate([values, np.zeros((short, *values.shape[1:]))]).astype(np.float32)
        for name, values in weights.items()
    }
    if total is not None:
        filled = {name: values * (total / max(values.sum(), np.float32(1e-9))) for name, values in filled.items()}
    return (*repeated, filled)
