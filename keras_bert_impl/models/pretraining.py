"""The models of pretraining: masked LM, next sentence, and both."""

from typing import Any, ClassVar

import keras

from keras_bert_impl.config import BertConfig
from keras_bert_impl.layers import BertOnlyMLMHead, BertOnlyNSPHead, BertPreTrainingHeads
from keras_bert_impl.models.base import BertPreTrainedModel, Parts, Tensors


def _get_decoder(parts: Parts) -> Any:
    """Returns the word embedding matrix if the decoder is tied to it, else None."""
    return parts["embeddings"].word_embeddings.embeddings if parts["cls"].config.tie_word_embeddings else None


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForPreTraining(BertPreTrainedModel):
    """BERT with the masked-LM and the next-sentence head, as it is pretrained.

    Args: see ``BertPreTrainedModel``.

    Inputs: see ``BertPreTrainedModel``, and
        masked_lm_positions: ``[batch, predictions]``, the positions to predict; default: all.
        next_sentence_positions: ``[batch, sequences]``, the position of each packed sequence's ``[CLS]``; default 0.

    Outputs:
        prediction_logits: float32 ``[batch, predictions or length, vocab_size]``.
        seq_relationship_logits: float32 ``[batch, 2]`` or ``[batch, sequences, 2]``; label 0 means that the second
            segment is the next sentence.
        hidden_states, attentions: on request.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertForPreTraining(BertConfig.preset("tiny", vocab_size=99))
    >>> outputs = model({"input_ids": np.array([[2, 71, 3]]), "masked_lm_positions": np.array([[1]])})
    >>> tuple(outputs["prediction_logits"].shape)
    (1, 1, 99)
    """

    input_names: ClassVar[tuple[str, ...]] = (
        *BertPreTrainedModel.input_names,
        "masked_lm_positions",
        "next_sentence_positions",
    )

    @classmethod
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the two heads."""
        return {"cls": BertPreTrainingHeads(config, dtype=policy, name="cls")}

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        outputs = cls.connect_encoder(parts, inputs, **extra)
        states = outputs.pop("last_hidden_state")
        pooled = parts["pooler"](states, positions=inputs["next_sentence_positions"])
        logits = parts["cls"](
            states, pooled, word_embeddings=_get_decoder(parts), positions=inputs["masked_lm_positions"]
        )
        return {**logits, **outputs}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForMaskedLM(BertPreTrainedModel):
    """BERT with the masked-LM head alone.

    Args: see ``BertPreTrainedModel``.

    Inputs: see ``BertPreTrainedModel``, and ``masked_lm_positions``, ``[batch, predictions]``; default: all.

    Outputs:
        logits: float32 ``[batch, predictions or length, vocab_size]``.
        hidden_states, attentions: on request.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=99))
    >>> tuple(model({"input_ids": np.array([[2, 71, 3]])})["logits"].shape)
    (1, 3, 99)
    """

    input_names: ClassVar[tuple[str, ...]] = (*BertPreTrainedModel.input_names, "masked_lm_positions")
    has_pooler: ClassVar[bool] = False

    @classmethod
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the masked-LM head."""
        return {"cls": BertOnlyMLMHead(config, dtype=policy, name="cls")}

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        outputs = cls.connect_encoder(parts, inputs, **extra)
        states = outputs.pop("last_hidden_state")
        logits = parts["cls"](states, word_embeddings=_get_decoder(parts), positions=inputs["masked_lm_positions"])
        return {"logits": logits, **outputs}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForNextSentencePrediction(BertPreTrainedModel):
    """BERT with the next-sentence head alone.

    Args: see ``BertPreTrainedModel``.

    Outputs:
        logits: float32 ``[batch, 2]``; label 0 means that the second segment is the next sentence.
        hidden_states, attentions: on request.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertForNextSentencePrediction(BertConfig.preset("tiny", vocab_size=99))
    >>> tuple(model({"input_ids": np.array([[2, 71, 3]])})["logits"].shape)
    (1, 2)
    """

    @classmethod
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the next-sentence head."""
        return {"cls": BertOnlyNSPHead(config, dtype=policy, name="cls")}

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        outputs = cls.pool(parts, inputs, **extra)
        pooled = outputs.pop("pooler_output")
        return {"logits": parts["cls"](pooled), **outputs}
