"""Batches of long texts, each of which has several rows: its windows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_bert_impl.data.batches import Features, LengthBatches, list_lengths

# The numbers of windows for backends that compile the model for each.
_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclasses.dataclass(frozen=True)
class DocumentFeatures(Features):
    """Long texts with their windows.

    Args:
        inputs: the model's inputs for all windows, one entry per token.
        labels: the expected value of each output, one entry per text.
        weights: the weight of each entry of ``labels``; empty if all weights are equal.
        example: int32 ``[texts]``, 0, 1, 2 …
        windows: int64 ``[texts + 1]``; the windows of text ``i`` are the rows ``windows[i]`` to ``windows[i + 1] - 1``.
    """

    labels: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]
    windows: np.ndarray = dataclasses.field(kw_only=True)

    @classmethod
    def group(cls, features: Features) -> "DocumentFeatures":
        """Groups rows by their examples; the labels and weights of an example are those of its first row."""
        starts = np.flatnonzero(features.is_first_row)
        labels, weights = (
            {name: values[starts] for name, values in part.items()}  # type: ignore[index]  # There are no Ragged ones.
            for part in (features.labels, features.weights)
        )
        return cls(
            features.inputs,
            labels,
            weights,
            example=np.arange(len(starts), dtype=np.int32),
            windows=np.append(starts, len(features)),
        )

    @property
    def counts(self) -> np.ndarray:
        """The number of windows of each text: int64 ``[texts]``."""
        return np.diff(self.windows)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens in all windows of each text, by which texts are sorted: int64 ``[texts]``."""
        return np.add.reduceat(super().lengths, self.windows[:-1])


class DocumentBatches(LengthBatches):
    """Batches of `DocumentFeatures`, as `LengthBatches`: batch ``k`` depends on ``seed`` and ``k`` only.

    Texts of similar length share a batch. A text with fewer windows than the others has windows of padding.

    Args:
        features: the texts.
        batch_size: texts per batch.
        seed: the seed of the shuffling.
        epochs: how many times each text occurs.
        lengths: the lengths that windows may be padded to, see `LengthBatches`; if there are some, the number of
            windows is also rounded up, so that there are few shapes.

    Item ``k``:
        ``(inputs, labels)`` or ``(inputs, labels, weights)``; the inputs are ``[texts, windows, length]``.

    >>> from keras_bert_impl.data import Ragged
    >>> rows = {"input_ids": Ragged.from_rows([[2, 7, 8, 3], [2, 8, 9, 3], [2, 5, 3]], dtype=np.int32)}
    >>> features = Features(rows, {"logits": np.array([1, 1, 0])}, {}, np.array([0, 0, 1]))
    >>> inputs, labels = DocumentBatches(DocumentFeatures.group(features), 2, seed=1)[0]
    >>> inputs["input_ids"].shape, sorted(labels["logits"].tolist())
    ((2, 2, 4), [0, 1])
    """

    features: DocumentFeatures

    def __init__(
        self,
        features: DocumentFeatures,
        batch_size: int,
        *,
        seed: int,
        epochs: int = 1,
        lengths: Sequence[int] = (),
    ) -> None:
        super().__init__(features, batch_size, seed=seed, epochs=epochs)
        self._window_lengths = next(iter(features.inputs.values())).lengths
        self._allowed = list_lengths(lengths, int(self._window_lengths.max()))
        self._allowed_counts = list_lengths(_COUNTS if lengths else (), int(features.counts.max()))

    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
        features, texts = self.features, self.get_rows(k)
        counts = features.counts[texts]
        number = np.arange(self._allowed_counts[np.searchsorted(self._allowed_counts, counts.max())])
        is_window = number < counts[:, None]  # [texts, windows]
        rows = np.where(is_window, features.windows[texts][:, None] + number, 0)
        length = self._round_up(self._window_lengths[rows[is_window]].max())
        inputs = {}
        for name, values in features.inputs.items():
            padded = values.to_padded(rows.ravel(), length=length).reshape(*rows.shape, length)
            inputs[name] = np.where(is_window[:, :, None], padded, values.flat.dtype.type(values.pad))
        parts = [part for part in (features.labels, features.weights) if part]
        return inputs, *({name: values[texts] for name, values in part.items()} for part in parts)

    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches, with None for dimensions that differ."""
        inputs, *others = super().get_spec()
        return {name: ((None, None, None), dtype) for name, (_, dtype) in inputs.items()}, *others
