"""The vectors of several columns of texts, which contrastive losses compare."""

from typing import Any

from keras import ops

from keras_bert_impl.models.wrapper import TrainingWrapper
from keras_bert_impl.ops.trimming import apply_in_groups


class SentenceColumns(TrainingWrapper):
    """Applies one embedding model to several columns of texts, for training with the losses of `tasks.contrastive`.

    Each column has separate inputs, because their lengths differ: a question is not padded to the length of its
    paragraph. The weights are those of the embedding model, which is trained with this model.

    Args:
        embedder: a `BertForSentenceEmbedding`.
        columns: the number of columns.
        is_merged: whether the columns are padded to the same length and computed as one batch, which is faster for
            texts of similar length.
        groups: the number of groups of rows that are computed without each other's padding, for batches whose rows are
            sorted by length.

    Inputs:
        those of the embedder for each column: ``input_ids_0``, ``attention_mask_0`` …, ``input_ids_1`` …

    Outputs:
        sentence_embedding: float32 ``[batch, columns, dimensions]``.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig, BertForSentenceEmbedding
    >>> embedder = BertForSentenceEmbedding(BertConfig.preset("tiny", vocab_size=99))
    >>> model = SentenceColumns(embedder, 2)
    >>> outputs = model({"input_ids_0": np.array([[2, 71, 3]]), "input_ids_1": np.array([[2, 8, 9, 7, 3]])})
    >>> tuple(outputs["sentence_embedding"].shape)
    (1, 2, 128)
    """

    def __init__(self, embedder: Any, columns: int, *, is_merged: bool = False, groups: int = 1, **kwargs: Any) -> None:
        super().__init__(embedder, **kwargs)
        self.columns = columns
        self.is_merged = is_merged
        self.groups = groups
        self.supports_jit = groups == 1  # XLA needs constant shapes.

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Returns the vectors of all columns."""
        columns = [
            {name: inputs[f"{name}_{n}"] for name in self.wrapped.input_names if f"{name}_{n}" in inputs}
            for n in range(self.columns)
        ]
        if not self.is_merged:
            vectors = [self._embed(column, training) for column in columns]
            return {"sentence_embedding": ops.stack(vectors, axis=1)}
        # The texts of an example stay next to each other, so that on several devices no row moves to another.
        stacked = {name: ops.stack([column[name] for column in columns], axis=1) for name in columns[0]}
        flat = {name: ops.reshape(values, (-1, ops.shape(values)[2])) for name, values in stacked.items()}
        vectors = self._embed(flat, training)
        return {"sentence_embedding": ops.reshape(vectors, (-1, self.columns, vectors.shape[-1]))}

    def _embed(self, inputs: dict[str, Any], training: bool | None) -> Any:
        def embed(inputs: dict[str, Any]) -> Any:
            return self.wrapped(inputs, training=training)["sentence_embedding"]

        return embed(inputs) if self.groups == 1 else apply_in_groups(embed, inputs, self.groups, training=training)
