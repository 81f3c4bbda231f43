"""Masked language modeling: the masks against the paper's fractions, the metrics against NumPy and torch's formula."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers_models

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.sources import open_source
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.masked_lm import MaskedLM
from keras_bert_impl.tokenization import BertTokenizer

TASK = TASKS["masked-lm"]
CONFIG = BertConfig.preset("tiny", vocab_size=90, max_position_embeddings=384)
TEXT = "a b c d e f g h i j k l m n o p q r s t "


def test_masks_are_those_of_the_paper(letters: BertTokenizer) -> None:
    """Of the tokens 15 % are predicted: 80 % of these become [MASK], 10 % another token, 10 % stay the same."""
    texts = [TEXT * 3] * 500
    features = TASK.encode({"text": texts, "label": texts}, letters, CONFIG, max_length=64)
    (original,) = letters(texts[:1])["input_ids"]
    shown = features.inputs["input_ids"].to_padded(np.arange(500), length=62)
    positions, weights = features.inputs["masked_lm_positions"], features.weights["logits"].astype(bool)
    labels = features.labels["logits"]
    assert weights.sum() == pytest.approx(0.15 * 500 * 60, rel=0.02)
    replaced = np.take_along_axis(shown, positions, axis=1)[weights]
    true = original[positions][weights]
    np.testing.assert_array_equal(labels[weights], true)
    assert (replaced == letters.mask_token_id).mean() == pytest.approx(0.8, abs=0.03)
    assert ((replaced != letters.mask_token_id) & (replaced != true)).mean() == pytest.approx(0.1, abs=0.02)
    assert (true > 4).all()  # Special tokens are not predicted.
    untouched = np.ones(shown.shape, bool)
    np.put_along_axis(untouched, positions, False, axis=1)
    np.testing.assert_array_equal(shown[untouched], np.tile(original, (500, 1))[untouched])


def test_masks_depend_on_the_seed_alone(letters: BertTokenizer) -> None:
    columns = {"text": [TEXT] * 9, "label": [TEXT] * 9}

    def encode_ids(task: MaskedLM) -> list[int]:
        return task.encode(columns, letters, CONFIG, max_length=32).inputs["input_ids"].flat.tolist()

    assert encode_ids(MaskedLM()) == encode_ids(MaskedLM()) == encode_ids(MaskedLM(top_k=9))
    assert encode_ids(MaskedLM()) != encode_ids(MaskedLM(seed=2))


def test_long_texts_are_split_for_training_and_truncated_for_prediction(letters: BertTokenizer) -> None:
    columns = {"text": [TEXT * 4, "a"], "label": [TEXT * 4, "a"]}
    features = TASK.encode(columns, letters, CONFIG, max_length=32)
    assert features.example.tolist() == [0, 0, 0, 1]
    assert features.lengths.tolist() == [32, 32, 22, 3]
    assert features.truncated == 0
    asked = TASK.encode({"text": [f"[MASK] {TEXT * 4} [MASK]", "a"]}, letters, CONFIG, max_length=32)
    assert (asked.lengths.tolist(), asked.truncated) == ([32, 3], 1)
    assert asked.inputs["masked_lm_positions"].tolist() == [[1], [0]]
    assert asked.counts.tolist() == [1, 0]


def test_each_token_is_masked_in_turn(letters: BertTokenizer) -> None:
    task = MaskedLM().choose_masks(each_token=True)
    columns = {"text": [TEXT * 2, "", "a b"], "label": [TEXT * 2, "", "a b"]}
    features = task.encode(columns, letters, CONFIG, max_length=32)
    rows = letters([TEXT * 2, "", "a b"], padding=False, max_length=32, return_overflowing=True)["input_ids"]
    tokens = [(row, i) for row in rows for i in range(1, len(row) - 1)]
    assert features.example.tolist() == [0] * 40 + [2] * 2
    assert features.counts.tolist() == [1] * 42
    for number, (row, i) in enumerate(tokens):
        expected = row.tolist()
        expected[i] = letters.mask_token_id
        assert features.inputs["input_ids"][number].tolist() == expected
        assert features.inputs["masked_lm_positions"][number].tolist() == [i]
        assert features.labels["logits"][number].tolist() == [row[i]]
    scores = task.score([{"masks": [{"tokens": ["a"], "label": "a", "log_probability": -2.0}]}], columns)
    assert scores == {"accuracy": 1.0, "loss": 2.0, "pseudo_perplexity": pytest.approx(np.exp(2))}


def test_pseudo_perplexity_is_that_of_transformers(film_texts: list[str]) -> None:
    """The weights of a bundled model, in float32 and in float64 sums."""
    texts = film_texts[:2]
    directory = open_source("bert-tiny-novels").directory
    assert directory is not None
    scores = Predictor(directory, task=MaskedLM(each_token=True)).score({"text": texts})
    tokenizer = BertTokenizer.from_pretrained(directory)
    losses = []
    for text in texts:
        inputs = tokenizer([text])
        count = inputs["input_ids"].shape[1] - 2
        rows = {name: np.repeat(values, count, axis=0) for name, values in inputs.items()}
        at = np.arange(count), np.arange(1, count + 1)
        true = rows["input_ids"][at].copy()
        rows["input_ids"][at] = tokenizer.mask_token_id
        outputs = transformers_models.compute_outputs(
            "BertForMaskedLM", directory, rows, allow_extra=True, changes={"dtype": "float32"}
        )
        logits = outputs["logits"][at].astype("float64")
        losses += (np.log(np.exp(logits).sum(-1)) - logits[np.arange(count), true]).tolist()
    assert scores["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert scores["pseudo_perplexity"] == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)


def draw_outputs(features: Any, generator: np.random.Generator) -> dict[str, np.ndarray]:
    return {"logits": generator.normal(size=(*features.inputs["masked_lm_positions"].shape, 90)).astype(np.float32) * 3}


def test_predictions_and_metrics(letters: BertTokenizer) -> None:
    columns = {"text": [TEXT, TEXT * 2, "a"], "label": [TEXT, TEXT * 2, "a"]}
    features = TASK.encode(columns, letters, CONFIG, max_length=64)
    logits = draw_outputs(features, np.random.default_rng(2))
    reduced = TASK.reduce(logits, {}, features.labels)
    predictions = TASK.decode(reduced, features, columns, CONFIG)
    exact = logits["logits"].astype(np.float64)
    log_probabilities = exact - np.log(np.exp(exact).sum(-1, keepdims=True))
    is_prediction = features.weights["logits"].astype(bool)
    true = np.take_along_axis(log_probabilities, features.labels["logits"][..., None], axis=-1)[..., 0][is_prediction]
    is_right = (exact.argmax(-1) == features.labels["logits"])[is_prediction]
    expected = {"accuracy": is_right.mean(), "loss": -true.mean(), "perplexity": np.exp(-true.mean())}
    assert TASK.score(predictions, columns) == pytest.approx(expected)
    assert [len(prediction["masks"]) for prediction in predictions] == is_prediction.sum(axis=1).tolist()
    words = [*letters.vocabulary, *[""] * 10]
    first = predictions[0]["masks"][0]
    order = np.argsort(-log_probabilities[0, 0])[:5]
    assert first["tokens"] == [words[token] for token in order]
    np.testing.assert_allclose(first["scores"], np.exp(log_probabilities[0, 0, order]))
    assert first["label"] == words[features.labels["logits"][0, 0]]


def test_files(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("one text\n\nanother\n", encoding="utf-8")
    (tmp_path / "x.tsv").write_text("words\tother\nthird\tx\n", encoding="utf-8")
    columns = TASK.read_file(tmp_path / "x.txt", columns={})
    assert columns["text"] == columns["label"] == ["one text", "another"]
    assert columns["location"][1].endswith("x.txt, line 3")
    (chunk,) = TASK.read_chunks(tmp_path / "x.tsv", 9, columns={"text": "words"})
    assert chunk.keys() == {"location", "text"}
    assert chunk["text"] == ["third"]


def test_what_cannot_be_used(letters: BertTokenizer) -> None:
    with pytest.raises(InputError, match="omit the second texts"):
        TASK.from_texts(["a"], ["b"])
    with pytest.raises(InputError, match="the column 'label' is missing; for masked-lm it contains the texts"):
        TASK.find_labels({"text": ["a"]})
    with pytest.raises(InputError, match="none of the texts has a word that could be masked"):
        TASK.score([{"masks": []}], {"text": [""], "label": [""]})
    with pytest.raises(InputError, match="top_k is 0; an integer above 0 was expected"):
        MaskedLM(0)
    with pytest.raises(InputError, match="the seed of masks is -1"):
        TASK.choose_masks(seed=-1)
    with pytest.raises(InputError, match="the model is for classification; masks are options of the task masked-lm"):
        TASKS["classification"].choose_masks(each_token=True)
