"""The layers of BERT as Keras layers: ``keras.ops`` only, serializable, each usable alone."""

from keras_bert_impl.layers.base import BertLayerNorm as BertLayerNorm
from keras_bert_impl.layers.base import LogitsDense as LogitsDense
from keras_bert_impl.layers.bert import BertAttention as BertAttention
from keras_bert_impl.layers.bert import BertAttentionBias as BertAttentionBias
from keras_bert_impl.layers.bert import BertEmbeddings as BertEmbeddings
from keras_bert_impl.layers.bert import BertEncoder as BertEncoder
from keras_bert_impl.layers.bert import BertIntermediate as BertIntermediate
from keras_bert_impl.layers.bert import BertLayer as BertLayer
from keras_bert_impl.layers.bert import BertOutput as BertOutput
from keras_bert_impl.layers.bert import BertPooler as BertPooler
from keras_bert_impl.layers.bert import BertSelfAttention as BertSelfAttention
from keras_bert_impl.layers.bert import BertSelfOutput as BertSelfOutput
from keras_bert_impl.layers.heads import BertLMPredictionHead as BertLMPredictionHead
from keras_bert_impl.layers.heads import BertOnlyMLMHead as BertOnlyMLMHead
from keras_bert_impl.layers.heads import BertOnlyNSPHead as BertOnlyNSPHead
from keras_bert_impl.layers.heads import BertPredictionHeadTransform as BertPredictionHeadTransform
from keras_bert_impl.layers.heads import BertPreTrainingHeads as BertPreTrainingHeads
from keras_bert_impl.layers.sentence import L2Normalization as L2Normalization
from keras_bert_impl.layers.sentence import SentencePooling as SentencePooling
