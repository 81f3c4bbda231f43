"""Small models of every class over one vocabulary, as transformers saves them."""

from pathlib import Path
from typing import Any

import pytest
import small

from keras_bert_impl import BertTokenizer, models

LABELS = {"id2label": {0: "bad", 1: "so-so", 2: "good"}, "label2id": {"bad": 0, "so-so": 1, "good": 2}}
TAGS = {"id2label": {0: "O", 1: "B-film", 2: "I-film"}, "label2id": {"O": 0, "B-film": 1, "I-film": 2}}
CONFIGS: dict[str, dict[str, Any]] = {
    "BertForSequenceClassification": LABELS,
    "BertForTokenClassification": TAGS,
    "BertForMultipleChoice": {},
    "BertForQuestionAnswering": {},
    "BertForMaskedLM": {},
    "BertForNextSentencePrediction": {},
    "BertForPreTraining": {},
    "BertModel": {},
}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, film_texts: list[str]) -> dict[str, Path]:
    """A checkpoint of each class."""
    root = tmp_path_factory.mktemp("interpret")
    return {
        name: small.write_checkpoint(root / name, film_texts[:500], model=name, **changes)
        for name, changes in CONFIGS.items()
    }


@pytest.fixture(scope="session")
def tokenizer(checkpoints: dict[str, Path]) -> BertTokenizer:
    return BertTokenizer.from_pretrained(checkpoints["BertModel"], do_lower_case=True)


@pytest.fixture(scope="session")
def loaded(checkpoints: dict[str, Path]) -> dict[str, Any]:
    """The model of each class."""
    return {name: getattr(models, name).from_pretrained(path) for name, path in checkpoints.items()}
