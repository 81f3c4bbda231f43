"""The layers of BERT as Keras layers: ``keras.ops`` only, serializable, each usable alone."""

from keras_bert_impl.layers.attention import BertAttention as BertAttention
from keras_bert_impl.layers.attention import BertAttentionBias as BertAttentionBias
from keras_bert_impl.layers.attention import BertSelfAttention as BertSelfAttention
from keras_bert_impl.layers.attention import BertSelfOutput as BertSelfOutput
from keras_bert_impl.layers.base import BertLayerNorm as BertLayerNorm
from keras_bert_impl.layers.base import LogitsDense as LogitsDense
from keras_bert_impl.layers.embeddings import BertEmbeddings as BertEmbeddings
from keras_bert_impl.layers.encoder import BertEncoder as BertEncoder
from keras_bert_impl.layers.encoder import BertIntermediate as BertIntermediate
from keras_bert_impl.layers.encoder import BertLayer as BertLayer
from keras_bert_impl.layers.encoder import BertOutput as BertOutput
from keras_bert_impl.layers.heads import BertLMPredictionHead as BertLMPredictionHead
from keras_bert_impl.layers.heads import BertOnlyMLMHead as BertOnlyMLMHead
from keras_bert_impl.layers.heads import BertOnlyNSPHead as BertOnlyNSPHead
from keras_bert_impl.layers.heads import BertPooler as BertPooler
from keras_bert_impl.layers.heads import BertPredictionHeadTransform as BertPredictionHeadTransform
from keras_bert_impl.layers.heads import BertPreTrainingHeads as BertPreTrainingHeads
