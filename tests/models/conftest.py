"""Every model class twice, in transformers and here, over the same random weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import beside_torch
import numpy as np
import pytest

from keras_bert_impl import models

CASES = {
    "BertModel": {},
    "BertForPreTraining": {},
    "BertForPreTraining-untied": {"tie_word_embeddings": False},
    "BertForMaskedLM": {},
    "BertForMaskedLM-untied": {"tie_word_embeddings": False},
    "BertForNextSentencePrediction": {},
    "BertForSequenceClassification": {},
    "BertForTokenClassification": {},
    "BertForQuestionAnswering": {},
    "BertForMultipleChoice": {},
}


@dataclass(frozen=True)
class Pair:
    """``theirs`` saved in ``directory`` by transformers, ``ours`` read from there."""

    name: str
    theirs: Any
    directory: Path
    ours: models.BertPreTrainedModel
    inputs: dict[str, np.ndarray]

    def reload(self, **options: Any) -> models.BertPreTrainedModel:
        """Ours once more, with other options."""
        return type(self.ours).from_pretrained(self.directory, **options)


@pytest.fixture(scope="session", params=CASES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    name = request.param.split("-")[0]
    theirs = beside_torch.bert(name, num_hidden_layers=2, **CASES[request.param])
    directory = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(directory)
    ours = getattr(models, name).from_pretrained(directory)
    return Pair(name, theirs, directory, ours, beside_torch.inputs(choices=name == "BertForMultipleChoice"))
