"""Training: optimizer and schedule, fine-tuning, the directory of a run."""

from keras_bert_impl.training.finetune import FineTuning, finetune
from keras_bert_impl.training.optimizers import WarmupLinearDecay, adamw

__all__ = ["FineTuning", "WarmupLinearDecay", "adamw", "finetune"]
