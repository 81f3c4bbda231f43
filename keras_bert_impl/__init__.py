"""BERT for Keras 3 and TensorFlow: load PyTorch checkpoints, fine-tune with ``fit``, serve with TF Serving."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_bert_impl.config import BertConfig
    from keras_bert_impl.models import (
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForPreTraining,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
    )
    from keras_bert_impl.tokenization import BertTokenizer

__version__ = "0.1.0"

# Public name: the room that has it. Rooms are imported on first use, so that commands which need no model start fast.
_HOMES = {
    "BertConfig": "config",
    "BertTokenizer": "tokenization",
    "BertModel": "models",
    "BertForPreTraining": "models",
    "BertForMaskedLM": "models",
    "BertForNextSentencePrediction": "models",
    "BertForSequenceClassification": "models",
    "BertForTokenClassification": "models",
    "BertForQuestionAnswering": "models",
    "BertForMultipleChoice": "models",
}
_ROOMS = (
    "checkpoints",
    "data",
    "export",
    "interop",
    "interpret",
    "layers",
    "models",
    "prediction",
    "recipes",
    "tasks",
    "tokenization",
    "training",
)

__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "BertTokenizer",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
