"""Training: optimizer and schedule, fine-tuning, the directory of a run."""

from keras_bert_impl.training.finetune import finetune
from keras_bert_impl.training.optimizers import WarmupLinearDecay, adamw
from keras_bert_impl.training.settings import PRECISIONS, FineTuning

__all__ = ["PRECISIONS", "FineTuning", "WarmupLinearDecay", "adamw", "finetune"]
