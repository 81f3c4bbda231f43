"""Logits of long texts: those of their windows, pooled."""

from typing import Any

from keras import ops

from keras_bert_impl.models.wrapper import TrainingWrapper

# The logits of absent windows in a maximum.
_ABSENT = -1e30


class PooledWindows(TrainingWrapper):
    """Applies one classifier to all windows of a text and pools the logits, so that a text has one loss.

    The weights are those of the classifier, which is trained with this model.

    Args:
        classifier: a `BertForSequenceClassification`.
        pooling: ``mean``, ``max``, or ``first``, over the windows of a text.

    Inputs:
        those of the classifier, int ``[texts, windows, length]``. ``attention_mask`` is required: a window without any
        token is absent, and does not count.

    Outputs:
        logits: float32 ``[texts, labels]``.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig, BertForSequenceClassification
    >>> classifier = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=99))
    >>> ids, mask = np.array([[[2, 71, 3], [2, 5, 3]]]), np.array([[[1, 1, 1], [0, 0, 0]]])
    >>> tuple(PooledWindows(classifier, "mean")({"input_ids": ids, "attention_mask": mask})["logits"].shape)
    (1, 2)
    """

    def __init__(self, classifier: Any, pooling: str, **kwargs: Any) -> None:
        super().__init__(classifier, **kwargs)
        self.pooling = pooling

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Returns the pooled logits."""
        mask = inputs["attention_mask"]
        windows, length = ops.shape(mask)[1:]
        flat = {name: ops.reshape(values, (-1, length)) for name, values in inputs.items()}
        logits = self.wrapped(flat, training=training)["logits"]
        logits = ops.reshape(logits, (-1, windows, logits.shape[-1]))
        if self.pooling == "first":
            return {"logits": logits[:, 0]}
        is_window = ops.any(ops.greater(mask, 0), axis=2)[:, :, None]
        if self.pooling == "max":
            return {"logits": ops.max(ops.where(is_window, logits, _ABSENT), axis=1)}
        weights = ops.cast(is_window, logits.dtype)
        return {"logits": ops.sum(weights * logits, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)}
