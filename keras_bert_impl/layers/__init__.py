"""The layers of BERT as Keras layers: ``keras.ops`` only, serializable, each usable alone."""

from keras_bert_impl.layers.attention import BertAttention, BertSelfAttention, BertSelfOutput
from keras_bert_impl.layers.attention_bias import BertAttentionBias
from keras_bert_impl.layers.embeddings import BertEmbeddings
from keras_bert_impl.layers.encoder import BertEncoder, BertLayer
from keras_bert_impl.layers.feed_forward import BertIntermediate, BertOutput
from keras_bert_impl.layers.heads import (
    BertLMPredictionHead,
    BertOnlyMLMHead,
    BertOnlyNSPHead,
    BertPredictionHeadTransform,
    BertPreTrainingHeads,
)
from keras_bert_impl.layers.layer_norm import BertLayerNorm
from keras_bert_impl.layers.pooler import BertPooler

__all__ = [
    "BertAttention",
    "BertAttentionBias",
    "BertEmbeddings",
    "BertEncoder",
    "BertIntermediate",
    "BertLMPredictionHead",
    "BertLayer",
    "BertLayerNorm",
    "BertOnlyMLMHead",
    "BertOnlyNSPHead",
    "BertOutput",
    "BertPooler",
    "BertPreTrainingHeads",
    "BertPredictionHeadTransform",
    "BertSelfAttention",
    "BertSelfOutput",
]
