"""Every model class twice, in transformers and here, over the same random weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers_models

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
    """A model of transformers, saved in ``directory``, and ``ours``, read from there."""

    name: str
    directory: Path
    ours: models.BertPreTrainedModel
    inputs: dict[str, np.ndarray]

    def reload(self, **options: Any) -> models.BertPreTrainedModel:
        """Loads ours again, with other options."""
        return type(self.ours).from_pretrained(self.directory, **options)

    def run_transformers(self, arrays: dict[str, np.ndarray], **options: Any) -> dict[str, Any]:
        """The outputs of transformers' model."""
        return transformers_models.compute_outputs(self.name, self.directory, arrays, **options)


@pytest.fixture(scope="session", params=CASES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    name = request.param.split("-")[0]
    directory = tmp_path_factory.mktemp(request.param)
    transformers_models.save(name, directory, num_hidden_layers=2, **CASES[request.param])
    ours = getattr(models, name).from_pretrained(directory)
    return Pair(name, directory, ours, transformers_models.make_inputs(choices=name == "BertForMultipleChoice"))
