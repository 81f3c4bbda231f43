"""Base of the models that are trained in place of another one."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_impl.models.multi_worker import MultiWorkerMixin


class TrainingWrapper(MultiWorkerMixin, keras.Model):
    """Base of models with the weights of another one, and the inputs and outputs that a loss needs.

    Args:
        model: the model of this package that is trained and saved.
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        # Keras scales the loss if this policy is float16.
        super().__init__(dtype=model.dtype_policy, **kwargs)
        self.wrapped = model

    @property
    def config(self) -> Any:
        """The configuration of the model."""
        return self.wrapped.config

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns the weights of the model; see `BertPreTrainedModel.state_dict`."""
        return self.wrapped.state_dict()

    def save_pretrained(self, directory: str | Path, *, dtype: str = "float32") -> None:
        """Writes the model; see `BertPreTrainedModel.save_pretrained`."""
        self.wrapped.save_pretrained(directory, dtype=dtype)

    def gradient_checkpointing_enable(self, enable: bool = True) -> None:
        """Makes training store only the inputs of each block; see `BertPreTrainedModel`."""
        self.wrapped.gradient_checkpointing_enable(enable)
        self.train_function = None  # `fit` traces it again.
