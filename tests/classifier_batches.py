"""The batches on which a classifier is trained, for the same training in torch."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import LengthBatches
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training import FineTuningSettings

Batch = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


def make_batches(checkpoint: Path, columns: dict[str, list[Any]], settings: FineTuningSettings) -> list[Batch]:
    """The batches of the training, in its order."""
    names = {"negative": "LABEL_0", "positive": "LABEL_1"}
    columns = {**columns, "label": [names[label] for label in columns["label"]]}
    encode = {"config": BertConfig.from_pretrained(checkpoint), "max_length": settings.max_length}
    features = TASKS["classification"].encode(columns, BertTokenizer.from_pretrained(checkpoint), **encode)
    batches = LengthBatches(features, settings.batch_size, seed=settings.seed)
    return [batches[k] for k in range(len(batches))]
