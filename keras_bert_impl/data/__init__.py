"""Examples from files, encoded examples, and batches of them; corpora for pretraining."""

from keras_bert_impl.data.batches import BUCKETS, LengthBatches, restore
from keras_bert_impl.data.columns import Columns, where
from keras_bert_impl.data.conll import read_conll
from keras_bert_impl.data.corpus import Lines, find_parts, read_documents
from keras_bert_impl.data.features import Features, Ragged
from keras_bert_impl.data.feed import Batches, for_evaluation, for_fit, to_grain
from keras_bert_impl.data.prepare import prepare
from keras_bert_impl.data.pretraining import Objective, PretrainingBatches
from keras_bert_impl.data.shards import TokenCorpus
from keras_bert_impl.data.shares import Shares, summing
from keras_bert_impl.data.squad import read_squad
from keras_bert_impl.data.tables import read_table

__all__ = [
    "BUCKETS",
    "Batches",
    "Columns",
    "Features",
    "LengthBatches",
    "Lines",
    "Objective",
    "PretrainingBatches",
    "Ragged",
    "Shares",
    "TokenCorpus",
    "find_parts",
    "for_evaluation",
    "for_fit",
    "prepare",
    "read_conll",
    "read_documents",
    "read_squad",
    "read_table",
    "restore",
    "summing",
    "to_grain",
    "where",
]
