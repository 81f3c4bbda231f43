"""Examples from files, encoded examples, and batches of them; corpora for pretraining.

Each name is imported on first use, so that fine-tuning does not import what only pretraining needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_bert_impl.data.batch_splitter import BatchSplitter, use_sum_reduction
    from keras_bert_impl.data.batches import BUCKETS, Features, LengthBatches, Ragged, restore_order
    from keras_bert_impl.data.column_batches import ColumnBatches, ColumnFeatures
    from keras_bert_impl.data.conll import read_conll
    from keras_bert_impl.data.corpus import Lines, find_parts, read_documents
    from keras_bert_impl.data.document_batches import DocumentBatches, DocumentFeatures
    from keras_bert_impl.data.feed import Batches, make_evaluation_data, make_fit_data, to_grain
    from keras_bert_impl.data.in_memory import MemoryTable
    from keras_bert_impl.data.objective import Objective
    from keras_bert_impl.data.preparation import prepare
    from keras_bert_impl.data.pretraining import PretrainingBatches
    from keras_bert_impl.data.retrieval import read_beir
    from keras_bert_impl.data.shards import TokenCorpus
    from keras_bert_impl.data.splitting import split_off
    from keras_bert_impl.data.squad import read_squad
    from keras_bert_impl.data.tables import Columns, location, read_table

# Public name: the module that defines it.
_MODULES = {
    "BUCKETS": "batches",
    "BatchSplitter": "batch_splitter",
    "Batches": "feed",
    "ColumnBatches": "column_batches",
    "ColumnFeatures": "column_batches",
    "Columns": "tables",
    "DocumentBatches": "document_batches",
    "DocumentFeatures": "document_batches",
    "Features": "batches",
    "LengthBatches": "batches",
    "Lines": "corpus",
    "MemoryTable": "in_memory",
    "Objective": "objective",
    "PretrainingBatches": "pretraining",
    "Ragged": "batches",
    "TokenCorpus": "shards",
    "find_parts": "corpus",
    "make_evaluation_data": "feed",
    "make_fit_data": "feed",
    "location": "tables",
    "prepare": "preparation",
    "read_beir": "retrieval",
    "read_conll": "conll",
    "read_documents": "corpus",
    "read_squad": "squad",
    "read_table": "tables",
    "restore_order": "batches",
    "split_off": "splitting",
    "to_grain": "feed",
    "use_sum_reduction": "batch_splitter",
}

__all__ = [
    "BUCKETS",
    "BatchSplitter",
    "Batches",
    "ColumnBatches",
    "ColumnFeatures",
    "Columns",
    "DocumentBatches",
    "DocumentFeatures",
    "Features",
    "LengthBatches",
    "Lines",
    "MemoryTable",
    "Objective",
    "PretrainingBatches",
    "Ragged",
    "TokenCorpus",
    "find_parts",
    "location",
    "make_evaluation_data",
    "make_fit_data",
    "prepare",
    "read_beir",
    "read_conll",
    "read_documents",
    "read_squad",
    "read_table",
    "restore_order",
    "split_off",
    "to_grain",
    "use_sum_reduction",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
