"""Checkpoints as names and arrays: reads every published format of BERT weights, writes safetensors."""

from keras_bert_impl.checkpoints.matching import LoadReport
from keras_bert_impl.checkpoints.sentence_settings import DenseSettings, SentenceSettings
from keras_bert_impl.checkpoints.weight_files import read_tensors, write_tensors

__all__ = ["DenseSettings", "LoadReport", "SentenceSettings", "read_tensors", "write_tensors"]
