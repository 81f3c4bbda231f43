"""Checkpoints as names and arrays: reading every format that BERT comes in, writing safetensors."""

from keras_bert_impl.checkpoints.readers import read_tensors
from keras_bert_impl.checkpoints.report import LoadReport
from keras_bert_impl.checkpoints.writers import write_tensors

__all__ = ["LoadReport", "read_tensors", "write_tensors"]
