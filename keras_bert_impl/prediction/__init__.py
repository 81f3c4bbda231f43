"""From text to answers in Python."""

from keras_bert_impl.prediction.predictor import Predictor

__all__ = ["Predictor"]
