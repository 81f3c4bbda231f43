"""The models with one small dense layer on the backbone."""

from typing import Any, ClassVar

import keras
from keras import ops

from keras_bert_impl.config import BertConfig
from keras_bert_impl.layers.base import truncated_normal
from keras_bert_impl.layers.product import LogitsDense
from keras_bert_impl.models.base import BertPreTrainedModel, Parts, Tensors


def _dense(config: BertConfig, units: int, name: str) -> LogitsDense:
    """The last layer: float32 under every policy, so that logits are."""
    return LogitsDense(units, kernel_initializer=truncated_normal(config.initializer_range), dtype="float32", name=name)


def _dropout(config: BertConfig, policy: Any) -> keras.layers.Dropout:
    rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
    return keras.layers.Dropout(rate, dtype=policy, name="dropout")


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForSequenceClassification(BertPreTrainedModel):
    """A label for a text or a pair of texts; with one label, a number (regression).

    Args: see ``BertPreTrainedModel``; ``config.id2label`` has the labels.

    Outputs:
        logits: float32 ``[batch, labels]``.
        hidden_states, attentions: on request.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=99))
    >>> tuple(model({"input_ids": np.array([[2, 71, 3]])})["logits"].shape)
    (1, 2)
    """

    @classmethod
    def head(cls, config: BertConfig, policy: Any) -> Parts:
        """Dropout and the classifier."""
        return {"dropout": _dropout(config, policy), "classifier": _dense(config, config.num_labels, "classifier")}

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """The functional graph from named inputs to named outputs."""
        outputs = cls.pool(parts, inputs, **extra)
        pooled = outputs.pop("pooler_output")
        return {"logits": parts["classifier"](parts["dropout"](pooled)), **outputs}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForTokenClassification(BertPreTrainedModel):
    """A label for each token.

    Args: see ``BertPreTrainedModel``; ``config.id2label`` has the labels.

    Outputs:
        logits: float32 ``[batch, length, labels]``.
        hidden_states, attentions: on request.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertForTokenClassification(BertConfig.preset("tiny", vocab_size=99))
    >>> tuple(model({"input_ids": np.array([[2, 71, 3]])})["logits"].shape)
    (1, 3, 2)
    """

    has_pooler: ClassVar[bool] = False

    @classmethod
    def head(cls, config: BertConfig, policy: Any) -> Parts:
        """Dropout and the classifier."""
        return {"dropout": _dropout(config, policy), "classifier": _dense(config, config.num_labels, "classifier")}

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """The functional graph from named inputs to named outputs."""
        outputs = cls.encode(parts, inputs, **extra)
        states = outputs.pop("last_hidden_state")
        return {"logits": parts["classifier"](parts["dropout"](states)), **outputs}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForQuestionAnswering(BertPreTrainedModel):
    """Where in the second segment the answer to the first starts and ends.

    Args: see ``BertPreTrainedModel``.

    Outputs:
        start_logits, end_logits: float32 ``[batch, length]``.
        hidden_states, attentions: on request.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertForQuestionAnswering(BertConfig.preset("tiny", vocab_size=99))
    >>> tuple(model({"input_ids": np.array([[2, 71, 3]])})["start_logits"].shape)
    (1, 3)
    """

    has_pooler: ClassVar[bool] = False

    @classmethod
    def head(cls, config: BertConfig, policy: Any) -> Parts:
        """The layer of two outputs a token."""
        return {"qa_outputs": _dense(config, 2, "qa_outputs")}

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """The functional graph from named inputs to named outputs."""
        outputs = cls.encode(parts, inputs, **extra)
        logits = parts["qa_outputs"](outputs.pop("last_hidden_state"))
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1], **outputs}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class FlattenChoices(keras.layers.Layer):
    """``[batch, choices, length]`` to ``[batch * choices, length]``; an absent input stays absent."""

    def call(self, values: Any) -> Any:
        """See the class."""
        return None if values is None else ops.reshape(values, (-1, ops.shape(values)[-1]))

    def compute_output_shape(self, values_shape: Any) -> tuple[int | None, ...]:
        """Given, for tracing with stand-ins for unknown lengths cannot know it."""
        return (None, values_shape[-1])


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class UnflattenChoices(keras.layers.Layer):
    """Scores ``[batch * choices, 1]`` to ``[batch, choices]``."""

    def call(self, scores: Any, input_ids: Any) -> Any:
        """See the class; ``input_ids`` tell batch and choices."""
        return ops.reshape(scores, ops.shape(input_ids)[:2])

    def compute_output_shape(self, scores_shape: Any, input_ids_shape: Any) -> tuple[int | None, ...]:
        """Given, for the same reason."""
        return tuple(input_ids_shape[:2])


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForMultipleChoice(BertPreTrainedModel):
    """Which of several texts fits best.

    Args: see ``BertPreTrainedModel``.

    Inputs: those of ``BertPreTrainedModel``, each ``[batch, choices, length]``.

    Outputs:
        logits: float32 ``[batch, choices]``.
        hidden_states, attentions: on request, with ``batch * choices`` rows.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertForMultipleChoice(BertConfig.preset("tiny", vocab_size=99))
    >>> tuple(model({"input_ids": np.array([[[2, 71, 3], [2, 5, 3]]])})["logits"].shape)
    (1, 2)
    """

    input_rank: ClassVar[int] = 3

    @classmethod
    def head(cls, config: BertConfig, policy: Any) -> Parts:
        """Dropout, the scorer, and the layers that fold the choices into the batch and back."""
        return {
            "dropout": _dropout(config, policy),
            "classifier": _dense(config, 1, "classifier"),
            "flatten": FlattenChoices(dtype=policy, name="flatten"),
            "unflatten": UnflattenChoices(dtype="float32", name="unflatten"),
        }

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """The functional graph from named inputs to named outputs."""
        flat = {name: parts["flatten"](value) for name, value in inputs.items()}
        outputs = cls.pool(parts, flat, **extra)
        pooled = outputs.pop("pooler_output")
        scores = parts["classifier"](parts["dropout"](pooled))
        return {"logits": parts["unflatten"](scores, inputs["input_ids"]), **outputs}
