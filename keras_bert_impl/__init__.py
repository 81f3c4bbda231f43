"""BERT for Keras 3 and TensorFlow: load PyTorch checkpoints, fine-tune with ``fit``, serve with TF Serving."""

import importlib
from typing import TYPE_CHECKING, Any

from keras_bert_impl.registration import register

if TYPE_CHECKING:
    from keras_bert_impl.config import BertConfig
    from keras_bert_impl.export.tokenizer.layer import BertTokenizerLayer
    from keras_bert_impl.models import (
        AutoModel,
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForPreTraining,
        BertForQuestionAnswering,
        BertForSentenceEmbedding,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
    )
    from keras_bert_impl.tokenization import AutoTokenizer, BertTokenizer

__version__ = "0.1.0"

__all__ = [
    "AutoModel",
    "AutoTokenizer",
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSentenceEmbedding",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "BertTokenizer",
    "BertTokenizerLayer",
    "__version__",
]

# Where the public names that are not model classes are. Modules are imported at first use, so that commands that need
# no model start fast.
_MODULES = {
    "AutoTokenizer": "tokenization",
    "BertConfig": "config",
    "BertTokenizer": "tokenization",
    "BertTokenizerLayer": "export.tokenizer.layer",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'models')}"), name)
    if name in _list_submodules():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_list_submodules()})


def _list_submodules() -> set[str]:
    import pkgutil

    return {module.name for module in pkgutil.iter_modules(__path__)}


register()
