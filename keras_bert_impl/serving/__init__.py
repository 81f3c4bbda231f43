"""Exports for servers, and prediction with models and exports."""

from keras_bert_impl.serving.predictor import Predictor
from keras_bert_impl.serving.saved_model import export_saved_model, is_saved_model

__all__ = ["Predictor", "export_saved_model", "is_saved_model"]
