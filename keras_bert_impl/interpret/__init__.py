"""Interpretation of a model: contextual word vectors, attention, and attributions of predictions to words."""

from keras_bert_impl.interpret.attention import AttentionView, attend
from keras_bert_impl.interpret.attribution import Attribution, Target, attribute, attribute_all
from keras_bert_impl.interpret.faithfulness import removal_curves
from keras_bert_impl.interpret.vectors import WordVectors, word_vectors

__all__ = [
    "AttentionView",
    "Attribution",
    "Target",
    "WordVectors",
    "attend",
    "attribute",
    "attribute_all",
    "removal_curves",
    "word_vectors",
]
