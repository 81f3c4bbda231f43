"""BERT as functional Keras models, one class for each head."""

from keras_bert_impl.models.auto import AutoModel
from keras_bert_impl.models.base import BertPreTrainedModel
from keras_bert_impl.models.bert import BertModel
from keras_bert_impl.models.classification import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from keras_bert_impl.models.pretraining import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
)
from keras_bert_impl.models.sentence_embedding import BertForSentenceEmbedding

__all__ = [
    "AutoModel",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSentenceEmbedding",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "BertPreTrainedModel",
]
