"""Registers this package's classes with Keras without importing them.

Keras looks up custom classes in the dictionary ``keras.saving.get_custom_objects()``. A class is entered there when its
module is imported. ``import keras_bert_impl`` imports neither Keras nor those modules. It enters a placeholder for each
class; when Keras makes an object from the placeholder, the module is imported. Keras has no hook for libraries: if
Keras is not imported yet, the placeholders are entered right after its import.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE = "keras_bert_impl"

# Module: its classes with the decorator `keras.saving.register_keras_serializable`.
_CLASSES = {
    "export.tokenizer.layer": ("BertTokenizerLayer",),
    "layers.base": ("BertLayerNorm", "LogitsDense"),
    "layers.bert": (
        "BertAttention",
        "BertAttentionBias",
        "BertEmbeddings",
        "BertEncoder",
        "BertIntermediate",
        "BertLayer",
        "BertOutput",
        "BertPooler",
        "BertSelfAttention",
        "BertSelfOutput",
    ),
    "layers.heads": (
        "BertLMPredictionHead",
        "BertOnlyMLMHead",
        "BertOnlyNSPHead",
        "BertPreTrainingHeads",
        "BertPredictionHeadTransform",
    ),
    "layers.sentence": ("L2Normalization", "SentencePooling"),
    "models.bert": ("BertModel",),
    "models.classification": (
        "BertForMultipleChoice",
        "BertForQuestionAnswering",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "FlattenChoices",
        "UnflattenChoices",
    ),
    "models.pretraining": ("BertForMaskedLM", "BertForNextSentencePrediction", "BertForPreTraining"),
    "models.sentence_embedding": ("BertForSentenceEmbedding",),
    "tasks.contrastive": (
        "CoSENTLoss",
        "CosineSimilarityLoss",
        "MatryoshkaLoss",
        "MultipleNegativesRankingLoss",
        "TripletLoss",
    ),
    "tasks.losses": (
        "BinaryCrossEntropy",
        "CrossEntropy",
        "MeanCrossEntropy",
        "Perplexity",
        "SmoothedCrossEntropy",
        "SoftenedBinaryKLDivergence",
        "SoftenedKLDivergence",
    ),
    "training.distribution.base": ("LossScaleOptimizer",),
    "training.optimizers": ("Adafactor", "AdamW", "Lamb", "Lion"),
    "training.schedules": (
        "WarmupConstant",
        "WarmupCosineDecay",
        "WarmupInverseSquareRootDecay",
        "WarmupPolynomialDecay",
    ),
}


class _Placeholder:
    """Stands in Keras' dictionary for a class, until the class's module is imported and replaces it."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def from_config(self, config: dict[str, Any]) -> Any:
        """Makes an object of the class; Keras calls this."""
        return getattr(importlib.import_module(self._module), self._name).from_config(config)


def _enter_placeholders(keras: ModuleType) -> None:
    for module, names in _CLASSES.items():
        for name in names:
            placeholder = _Placeholder(f"{_PACKAGE}.{module}", name)
            keras.saving.get_custom_objects().setdefault(f"{_PACKAGE}>{name}", placeholder)


class _AfterKeras:
    """An import finder that delegates to the others, and enters the placeholders after Keras is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        finders = [finder for finder in sys.meta_path if finder is not self]
        spec = next((spec for finder in finders if (spec := finder.find_spec(fullname, path, target))), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_enter(module: ModuleType) -> None:
            execute(module)
            _enter_placeholders(module)

        spec.loader.exec_module = execute_and_enter  # type: ignore[method-assign]
        return spec


def register() -> None:
    """Enters the placeholders, now or when Keras is imported."""
    if keras := sys.modules.get("keras"):
        _enter_placeholders(keras)
    else:
        sys.meta_path.insert(0, _AfterKeras())
