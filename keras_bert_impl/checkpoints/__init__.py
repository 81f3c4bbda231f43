"""Checkpoints as names and arrays: reads every published format of BERT weights, writes safetensors."""

from keras_bert_impl.checkpoints.readers import read_tensors
from keras_bert_impl.checkpoints.report import LoadReport
from keras_bert_impl.checkpoints.writers import write_tensors

__all__ = ["LoadReport", "read_tensors", "write_tensors"]
