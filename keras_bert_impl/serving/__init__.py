"""Exports for servers and other runtimes, and prediction with models and exports."""

from keras_bert_impl.serving.export import Exported, export_model
from keras_bert_impl.serving.formats import FORMATS, format_of
from keras_bert_impl.serving.predictor import Predictor

__all__ = ["FORMATS", "Exported", "Predictor", "export_model", "format_of"]
