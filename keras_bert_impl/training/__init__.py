"""Training: optimizers and schedule, fine-tuning, pretraining, the directory of a run."""

from keras_bert_impl.training.accumulation import accumulate
from keras_bert_impl.training.distribution import Distribution, distributed
from keras_bert_impl.training.finetune import finetune
from keras_bert_impl.training.optimizers import Lamb, LossScaleOptimizer, WarmupPolynomialDecay, adamw, lamb
from keras_bert_impl.training.pretrain import pretrain
from keras_bert_impl.training.published import RECIPES, Recipe
from keras_bert_impl.training.resume import SaveStates, resumable_fit
from keras_bert_impl.training.settings import PRECISIONS, FineTuning, PreTraining, Saving
from keras_bert_impl.training.weight_history import WeightHistory

__all__ = [
    "PRECISIONS",
    "RECIPES",
    "Distribution",
    "FineTuning",
    "Lamb",
    "LossScaleOptimizer",
    "PreTraining",
    "Recipe",
    "SaveStates",
    "Saving",
    "WarmupPolynomialDecay",
    "WeightHistory",
    "accumulate",
    "adamw",
    "distributed",
    "finetune",
    "lamb",
    "pretrain",
    "resumable_fit",
]
