"""Splits batches into equal parts, for replicas, workers, and gradient accumulation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bert_impl.data.feed import Batches
from keras_bert_impl.errors import InputError

Batch = tuple[dict[str, np.ndarray], ...]


class BatchSplitter:
    """Splits each batch into several parts whose losses sum to the loss of the batch.

    For that, the weights of each label sum to 1 over the complete batch (to ``accumulate``, because the model takes the
    mean over accumulated parts), and losses must be sums (`use_sum_reduction`). Where the number of rows is not
    divisible, the first row is repeated with weight 0.

    Args:
        batches: `LengthBatches` or `PretrainingBatches`, for example.
        parts: the number of parts of a batch.
        local_parts: the numbers of the parts that this process takes; None for all.
        accumulate: the number of parts into which the model splits each part, see
            `keras_bert_impl.training.accumulate`.
        devices: the number of parts into which the backend splits each part.
        normalize_weights: whether to scale the weights; False leaves them unchanged, for metrics over several batches.

    Item ``k``:
        Part ``local_parts[k % len(local_parts)]`` of batch ``k // len(local_parts)``: inputs, labels and weights.

    Raises:
        InputError: the batch size is not divisible by the product of these numbers.

    >>> from keras_bert_impl.data import Features, LengthBatches, Ragged
    >>> ids = Ragged.from_rows([[2, 3], [2, 7, 8, 3], [2, 9, 3]], dtype=np.int32)
    >>> features = Features({"input_ids": ids}, {"logits": np.array([0, 1, 1])}, {}, np.arange(3))
    >>> parts = BatchSplitter(LengthBatches(features, 4), 2)
    >>> [[round(float(weight), 3) for weight in weights["logits"]] for _, _, weights in (parts[0], parts[1])]
    [[0.333, 0.333], [0.333, 0.0]]
    """

    def __init__(
        self,
        batches: Any,
        parts: int,
        *,
        local_parts: Sequence[int] | None = None,
        accumulate: int = 1,
        devices: int = 1,
        normalize_weights: bool = True,
    ) -> None:
        divisor = parts * devices * accumulate
        if batches.batch_size % divisor:
            raise InputError(
                f"batch_size is {batches.batch_size}, which is not divisible by {divisor}: {parts * devices} "
                f"replicas times {accumulate} accumulated parts. Choose a multiple of {divisor}."
            )
        self.batches: Batches = batches
        self.parts = parts
        self.local_parts = list(range(parts)) if local_parts is None else list(local_parts)
        self.accumulate = accumulate
        self.devices = devices
        self.normalize_weights = normalize_weights
        self._cached: tuple[int, Batch] = (-1, ())

    def __len__(self) -> int:
        return len(self.batches) * len(self.local_parts)

    def __getitem__(self, k: int) -> Batch:
        number, part = divmod(k, len(self.local_parts))
        cached_number, batch = self._cached
        if cached_number != number:
            divisor = self.parts * self.devices * self.accumulate
            batch = _add_weights(
                self.batches[number], divisor, total=self.accumulate if self.normalize_weights else None
            )
            self._cached = (number, batch)
        rows = len(next(iter(batch[0].values()))) // self.parts
        begin = rows * self.local_parts[part]
        return tuple({name: values[begin : begin + rows] for name, values in fields.items()} for fields in batch)

    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all parts, with None for dimensions that differ."""
        inputs, labels, *weights = self.batches.get_spec()
        shapes = weights[0] if weights else labels
        return (
            _drop_row_counts(inputs),
            _drop_row_counts(labels),
            _drop_row_counts({name: (shape, np.dtype(np.float32)) for name, (shape, _) in shapes.items()}),
        )


def use_sum_reduction(arguments: dict[str, Any]) -> dict[str, Any]:
    """Changes the losses in keywords of ``compile`` to sums, as `BatchSplitter` needs them; returns the keywords."""
    losses = arguments["loss"]
    for loss in losses.values() if isinstance(losses, dict) else [losses]:
        loss.reduction = "sum"
    return arguments


def _drop_row_counts(fields: dict[str, tuple[tuple[int | None, ...], Any]]) -> dict[str, Any]:
    return {name: ((None, *shape[1:]), dtype) for name, (shape, dtype) in fields.items()}


def _add_weights(batch: Batch, divisor: int, *, total: float | None) -> Batch:
    """Pads a batch to a divisible number of rows; scales the weights of each label to sum to ``total`` if given."""
    inputs, labels, *own_weights = batch
    if own_weights:
        weights = own_weights[0]
    else:
        weights = {name: np.ones(np.shape(values), np.float32) for name, values in labels.items()}
    missing = -len(next(iter(inputs.values()))) % divisor
    padded = [
        {name: np.concatenate([values, values[:1].repeat(missing, axis=0)]) for name, values in fields.items()}
        for fields in (inputs, labels)
    ]
    padded_weights = {
        name: np.concatenate([values, np.zeros((missing, *values.shape[1:]))]).astype(np.float32)
        for name, values in weights.items()
    }
    if total is not None:
        padded_weights = {
            name: values * (total / max(values.sum(), np.float32(1e-9))) for name, values in padded_weights.items()
        }
    return (*padded, padded_weights)
