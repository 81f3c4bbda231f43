"""Training: settings, optimizers and schedule, fine-tuning, pretraining, exact resume, several devices."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_bert_impl.training.distribution import Distribution, LossScaleOptimizer, accumulate, start_strategy
    from keras_bert_impl.training.fine_tuning import finetune
    from keras_bert_impl.training.optimizers import Lamb, WarmupPolynomialDecay, adamw, lamb
    from keras_bert_impl.training.pretraining import pretrain
    from keras_bert_impl.training.published import RECIPES, Recipe
    from keras_bert_impl.training.run import fit_with_resume
    from keras_bert_impl.training.settings import (
        PRECISIONS,
        FineTuningSettings,
        PretrainingSettings,
        SavingSettings,
        TrainingSettings,
    )
    from keras_bert_impl.training.states import SaveStates
    from keras_bert_impl.training.weight_history import WeightHistory

# Public name: its module, imported at first use, because settings are read without starting Keras.
_MODULES = {
    "PRECISIONS": "settings",
    "RECIPES": "published",
    "Distribution": "distribution",
    "FineTuningSettings": "settings",
    "Lamb": "optimizers",
    "LossScaleOptimizer": "distribution",
    "PretrainingSettings": "settings",
    "Recipe": "published",
    "SaveStates": "states",
    "SavingSettings": "settings",
    "TrainingSettings": "settings",
    "WarmupPolynomialDecay": "optimizers",
    "WeightHistory": "weight_history",
    "accumulate": "distribution",
    "adamw": "optimizers",
    "start_strategy": "distribution",
    "finetune": "fine_tuning",
    "lamb": "optimizers",
    "pretrain": "pretraining",
    "fit_with_resume": "run",
}

__all__ = [
    "PRECISIONS",
    "RECIPES",
    "Distribution",
    "FineTuningSettings",
    "Lamb",
    "LossScaleOptimizer",
    "PretrainingSettings",
    "Recipe",
    "SaveStates",
    "SavingSettings",
    "TrainingSettings",
    "WarmupPolynomialDecay",
    "WeightHistory",
    "accumulate",
    "adamw",
    "finetune",
    "fit_with_resume",
    "lamb",
    "pretrain",
    "start_strategy",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
