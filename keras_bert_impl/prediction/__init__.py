"""Predictions from texts or files, in Python."""

from keras_bert_impl.prediction.fill_mask import fill_mask
from keras_bert_impl.prediction.next_sentence import next_sentence
from keras_bert_impl.prediction.predictor import Predictor

__all__ = ["Predictor", "fill_mask", "next_sentence"]
