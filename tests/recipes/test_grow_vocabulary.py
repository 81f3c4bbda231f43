"""A checkpoint with tokens for the words of a corpus: losses, and ids and outputs of transformers, also fine-tuned."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers_models
from transformers_models import Tokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForPreTraining, BertForSequenceClassification
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.recipes.grow_vocabulary import grow_vocabulary
from keras_bert_impl.tasks.masked_lm import MaskedLM
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training import FineTuningSettings, finetune

NOVELS = "bert-tiny-novels"


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, film_texts: list[str]) -> Path:
    """bert-tiny-novels with 500 words of film snippets."""
    directory = tmp_path_factory.mktemp("grown") / "novels"
    words = grow_vocabulary(NOVELS, film_texts, directory, size=500)
    assert len(words) == 500
    assert {"film", "movie", "comedy"} <= {word.word for word in words[:5]}
    return directory


def test_the_loss_of_other_texts_does_not_change(grown: Path, film_texts: list[str]) -> None:
    old, new = BertTokenizer.from_pretrained(NOVELS), BertTokenizer.from_pretrained(grown)
    assert len(new) == len(old) + 500
    assert new.extends(old)
    rows = zip(*(each(film_texts, padding=False)["input_ids"] for each in (old, new)), strict=True)
    texts = [text for text, (a, b) in zip(film_texts, rows, strict=True) if np.array_equal(a, b)]
    assert len(texts) > 1000
    # Each token masked in turn: no random token can be a new one.
    losses = [
        Predictor(source, task=MaskedLM(each_token=True)).score({"text": texts[:9]})["loss"]
        for source in (NOVELS, grown)
    ]
    assert 4 < losses[0] < 7
    assert abs(losses[1] - losses[0]) < 1e-6


def test_transformers_opens_it(grown: Path, film_texts: list[str]) -> None:
    texts = film_texts[:13]
    batch = BertTokenizer.from_pretrained(grown)(texts)
    assert batch["input_ids"].max() >= 8000
    reference = Tokenizer(grown)(texts, padding=True, return_tensors="np")
    for name, values in batch.items():
        np.testing.assert_array_equal(values, reference[name])
    ours = BertForPreTraining.from_pretrained(grown)(batch)
    theirs = transformers_models.compute_outputs("BertForPreTraining", grown, batch)
    mask = batch["attention_mask"].astype(bool)
    np.testing.assert_allclose(
        np.asarray(ours["prediction_logits"])[mask], theirs["prediction_logits"][mask], rtol=1e-5, atol=1e-4
    )


@pytest.mark.slow
def test_a_fine_tuned_model_opens_in_transformers(grown: Path, snippets: Path, tmp_path: Path) -> None:
    files: dict[str, Any] = {name: snippets / f"{name}.tsv" for name in ("train", "valid")}
    finetune(grown, **files, output=tmp_path / "run", settings=FineTuningSettings(epochs=1), log=lambda _: None)
    batch = BertTokenizer.from_pretrained(tmp_path / "run")(["A great film.", "A dull comedy about nothing"])
    ours = BertForSequenceClassification.from_pretrained(tmp_path / "run")(batch)["logits"]
    theirs = transformers_models.compute_outputs("BertForSequenceClassification", tmp_path / "run", batch)["logits"]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_model_with_more_rows_than_tokens(small_bert: Path, film_texts: list[str], tmp_path: Path) -> None:
    """The words take the rows that no token had, and all rows after them are new."""
    from keras_bert_impl.models import BertModel

    tokenizer = BertTokenizer.from_pretrained(small_bert)
    padded = BertModel.from_pretrained(small_bert).resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
    padded.save_pretrained(tmp_path / "padded")
    tokenizer.save_pretrained(tmp_path / "padded")
    words = grow_vocabulary(tmp_path / "padded", film_texts[:2000], tmp_path / "grown", size=11)
    config = json.loads((tmp_path / "grown" / "config.json").read_text())
    assert config["vocab_size"] == padded.config.vocab_size == 1024
    grown = BertModel.from_pretrained(tmp_path / "grown").state_dict()["embeddings.word_embeddings.weight"]
    old = padded.state_dict()["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(grown[: len(tokenizer)], old[: len(tokenizer)])
    for number, word in enumerate(words):
        pieces = tokenizer.convert_tokens_to_ids(list(word.pieces))
        np.testing.assert_allclose(grown[len(tokenizer) + number], old[pieces].mean(axis=0), rtol=1e-5, atol=1e-7)
    with pytest.raises(InputError, match="no word occurs at least 5 times in the texts"):
        grow_vocabulary(tmp_path / "padded", ["Nothing."], tmp_path / "none")
    assert not (tmp_path / "none").exists()
