"""The models whose head is one small dense layer."""

from typing import Any, ClassVar

import keras
from keras import ops

from keras_bert_impl.config import BertConfig
from keras_bert_impl.layers.base import make_logits_dense
from keras_bert_impl.models.base import BertPreTrainedModel, Parts, Tensors


def _make_classifier(config: BertConfig, policy: Any, units: int) -> Parts:
    rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
    dropout = keras.layers.Dropout(rate, dtype=policy, name="dropout")
    return {"dropout": dropout, "classifier": make_logits_dense(config, units, "classifier")}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForSequenceClassification(BertPreTrainedModel):
    """Classification of a text or a pair of texts; with one label, regression.

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
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the dropout and the classifier."""
        return _make_classifier(config, policy, config.num_labels)

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
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
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the dropout and the classifier."""
        return _make_classifier(config, policy, config.num_labels)

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        outputs = cls.connect_encoder(parts, inputs, **extra)
        states = outputs.pop("last_hidden_state")
        return {"logits": parts["classifier"](parts["dropout"](states)), **outputs}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForQuestionAnswering(BertPreTrainedModel):
    """The start and end of an answer in the second segment to a question in the first.

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
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the layer with two outputs per token."""
        return {"qa_outputs": make_logits_dense(config, 2, "qa_outputs")}

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        outputs = cls.connect_encoder(parts, inputs, **extra)
        logits = parts["qa_outputs"](outputs.pop("last_hidden_state"))
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1], **outputs}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class FlattenChoices(keras.layers.Layer):
    """Reshapes ``[batch, choices, length]`` to ``[batch * choices, length]``; an absent input remains absent."""

    def call(self, values: Any) -> Any:
        """See the class."""
        return None if values is None else ops.reshape(values, (-1, ops.shape(values)[-1]))

    def compute_output_shape(self, values_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape, because Keras cannot infer it for unknown lengths."""
        return (None, values_shape[-1])


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class UnflattenChoices(keras.layers.Layer):
    """Reshapes scores ``[batch * choices, 1]`` to ``[batch, choices]``."""

    def call(self, scores: Any, input_ids: Any) -> Any:
        """See the class; the shape of ``input_ids`` gives batch and choices."""
        return ops.reshape(scores, ops.shape(input_ids)[:2])

    def compute_output_shape(self, scores_shape: Any, input_ids_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape, because Keras cannot infer it for unknown lengths."""
        return tuple(input_ids_shape[:2])


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForMultipleChoice(BertPreTrainedModel):
    """Multiple choice: a score for each of several texts.

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
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the dropout, the scorer, and the layers that flatten and unflatten the choices."""
        return {
            **_make_classifier(config, policy, 1),
            "flatten": FlattenChoices(dtype=policy, name="flatten"),
            "unflatten": UnflattenChoices(dtype="float32", name="unflatten"),
        }

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        flat = {name: parts["flatten"](value) for name, value in inputs.items()}
        outputs = cls.pool(parts, flat, **extra)
        pooled = outputs.pop("pooler_output")
        scores = parts["classifier"](parts["dropout"](pooled))
        return {"logits": parts["unflatten"](scores, inputs["input_ids"]), **outputs}
