"""Interpretation of a model: contextual word vectors, attention, and attributions of predictions to words."""

from keras_bert_impl.interpret.attention import AttentionView, attend
from keras_bert_impl.interpret.attribution import Attribution, Target, attribute, attribute_all
from keras_bert_impl.interpret.faithfulness import compute_removal_curves
from keras_bert_impl.interpret.vectors import WordVectors, compute_word_vectors

__all__ = [
    "AttentionView",
    "Attribution",
    "Target",
    "WordVectors",
    "attend",
    "attribute",
    "attribute_all",
    "compute_removal_curves",
    "compute_word_vectors",
]
