"""A model whose outputs are compared with those of a teacher."""

from collections.abc import Mapping
from typing import Any

from keras import ops

from keras_bert_impl.models.wrapper import TrainingWrapper

HIDDEN_STATES = "hidden_states"


class Student(TrainingWrapper):
    """A model with an output for each loss of distillation: one output may have several losses.

    Args:
        model: the model; with the output ``hidden_states`` if they are compared too.
        sources: for each output of this model, the output of ``model`` that it is.

    Outputs:
        those of ``sources``; and ``hidden_states``, ``[batch, length, (num_hidden_layers + 1) * hidden_size]``, all
        hidden states of a token in one vector, if ``model`` has them.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig, BertForSequenceClassification
    >>> classifier = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=99), output_hidden_states=True)
    >>> student = Student(classifier, {"logits": "logits", "teacher_logits": "logits"})
    >>> outputs = student({"input_ids": np.array([[2, 71, 3]])})
    >>> {name: tuple(values.shape) for name, values in outputs.items()}
    {'logits': (1, 2), 'teacher_logits': (1, 2), 'hidden_states': (1, 3, 384)}
    """

    def __init__(self, model: Any, sources: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        self.sources = dict(sources)

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Returns the outputs of the model under the names of the losses."""
        outputs = self.wrapped(inputs, training=training)
        named = {name: outputs[source] for name, source in self.sources.items()}
        if HIDDEN_STATES in outputs:
            named[HIDDEN_STATES] = ops.concatenate(outputs[HIDDEN_STATES], axis=-1)
        return named
