"""Training: settings, optimizers and schedules, fine-tuning, pretraining, exact resume, several devices."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_bert_impl.training.distribution import Distribution, LossScaleOptimizer, accumulate, start_strategy
    from keras_bert_impl.training.fine_tuning import finetune
    from keras_bert_impl.training.optimizers import Adafactor, Lamb, Lion, adafactor, adamw, lamb, lion
    from keras_bert_impl.training.pretraining import pretrain
    from keras_bert_impl.training.published import RECIPES, Recipe
    from keras_bert_impl.training.run import fit_with_resume
    from keras_bert_impl.training.schedules import (
        WarmupConstant,
        WarmupCosineDecay,
        WarmupInverseSquareRootDecay,
        WarmupPolynomialDecay,
    )
    from keras_bert_impl.training.settings import (
        PRECISIONS,
        DistillationSettings,
        FineTuningSettings,
        PretrainingSettings,
        SavingSettings,
        TrainingSettings,
    )
    from keras_bert_impl.training.states import SaveStates
    from keras_bert_impl.training.tensorboard import TensorBoard
    from keras_bert_impl.training.weight_history import WeightHistory

# Public name: its module, imported at first use, because settings are read without starting Keras.
_MODULES = {
    "PRECISIONS": "settings",
    "RECIPES": "published",
    "Adafactor": "optimizers",
    "DistillationSettings": "settings",
    "Distribution": "distribution",
    "FineTuningSettings": "settings",
    "Lamb": "optimizers",
    "Lion": "optimizers",
    "LossScaleOptimizer": "distribution",
    "PretrainingSettings": "settings",
    "Recipe": "published",
    "SaveStates": "states",
    "SavingSettings": "settings",
    "TensorBoard": "tensorboard",
    "TrainingSettings": "settings",
    "WarmupConstant": "schedules",
    "WarmupCosineDecay": "schedules",
    "WarmupInverseSquareRootDecay": "schedules",
    "WarmupPolynomialDecay": "schedules",
    "WeightHistory": "weight_history",
    "accumulate": "distribution",
    "adafactor": "optimizers",
    "adamw": "optimizers",
    "finetune": "fine_tuning",
    "fit_with_resume": "run",
    "lamb": "optimizers",
    "lion": "optimizers",
    "pretrain": "pretraining",
    "start_strategy": "distribution",
}

__all__ = [
    "PRECISIONS",
    "RECIPES",
    "Adafactor",
    "DistillationSettings",
    "Distribution",
    "FineTuningSettings",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "PretrainingSettings",
    "Recipe",
    "SaveStates",
    "SavingSettings",
    "TensorBoard",
    "TrainingSettings",
    "WarmupConstant",
    "WarmupCosineDecay",
    "WarmupInverseSquareRootDecay",
    "WarmupPolynomialDecay",
    "WeightHistory",
    "accumulate",
    "adafactor",
    "adamw",
    "finetune",
    "fit_with_resume",
    "lamb",
    "lion",
    "pretrain",
    "start_strategy",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
