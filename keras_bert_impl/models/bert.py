"""The backbone as a model."""

from typing import ClassVar

import keras

from keras_bert_impl.models.base import BertPreTrainedModel, Parts, Tensors


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertModel(BertPreTrainedModel):
    """The encoder with its pooler, as published.

    Args: see ``BertPreTrainedModel``.

    Inputs: see ``BertPreTrainedModel``, and for packed rows ``next_sentence_positions``, ``[batch, sequences]``, the
    position of each sequence's ``[CLS]``; default 0.

    Outputs:
        last_hidden_state: ``[batch, length, hidden]``.
        pooler_output: ``[batch, hidden]``, or ``[batch, sequences, hidden]`` with ``next_sentence_positions``.
        hidden_states, attentions: on request.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertModel(BertConfig.preset("tiny", vocab_size=99))
    >>> tuple(model({"input_ids": np.array([[2, 71, 3]])})["pooler_output"].shape)
    (1, 128)
    """

    input_names: ClassVar[tuple[str, ...]] = (*BertPreTrainedModel.input_names, "next_sentence_positions")
    checkpoint_prefix: ClassVar[str] = ""

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        outputs = cls.connect_encoder(parts, inputs, **extra)
        pooled = parts["pooler"](outputs["last_hidden_state"], positions=inputs["next_sentence_positions"])
        return {**outputs, "pooler_output": pooled}
