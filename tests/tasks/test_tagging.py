"""Tagging, compared with the tokenizers library and torch."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import Features, Ragged, read_conll
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization import BertTokenizer

TASK = TASKS["tagging"]
NAMES = ["O", "B-x", "I-x"]


@pytest.fixture
def config() -> BertConfig:
    return BertConfig.preset("tiny", vocab_size=30522, **TASK.make_config_changes(NAMES))


@pytest.fixture(scope="module")
def wnut(shared_data: Path) -> Columns:
    return read_conll(shared_data / "wnut17" / "emerging.dev.conll")


def make_outputs(features: Features, tags: Columns) -> dict[str, Ragged]:
    """Logits that are highest for the true tag at the token of each word, and random at other tokens."""
    word = features.alignment["word"]
    logits = np.random.default_rng(1).normal(size=(len(word.flat), len(NAMES))).astype(np.float32)
    for row, example in enumerate(features.example):
        for position, number in enumerate(word[row]):
            if number >= 0:
                logits[word.offsets[row] + position, NAMES.index(tags["label"][example][number])] += 30
    return {"logits": Ragged(logits, word.offsets)}


def test_complete_sentences_are_labeled_at_first_pieces(
    minilm: Path, minilm_tokenizer: BertTokenizer, wnut: Columns
) -> None:
    names = TASK.find_labels(wnut)
    assert names[0] == "O"
    assert names[1:] == sorted(names[1:])
    config = BertConfig.preset("tiny", **TASK.make_config_changes(names))
    features = TASK.encode(wnut, minilm_tokenizer, config, max_length=384)
    reference = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    reference.no_padding()
    reference.no_truncation()
    assert len(features) == len(wnut["words"]) == 1009
    for row, encoding in enumerate(reference.encode_batch(wnut["words"], is_pretokenized=True)):
        words = encoding.word_ids
        first = [word is not None and word != words[i - 1] for i, word in enumerate(words)]
        assert features.inputs["input_ids"][row].tolist() == encoding.ids
        assert features.weights["logits"][row].tolist() == first
        # Some words are signs that the tokenizer removes.
        expected = [wnut["label"][row][words[i]] for i, is_first in enumerate(first) if is_first]
        labels = features.labels["logits"][row]
        assert [names[labels[i]] for i, is_first in enumerate(first) if is_first] == expected


@pytest.mark.parametrize("max_length", [8, 12, 25])
def test_long_sentences_become_windows_that_have_each_word_once(
    letters: BertTokenizer, config: BertConfig, max_length: int
) -> None:
    words = [["abcd", "e", "fg"] * 9, ["a"], ["abcdefghi" * 3, "b"], []]
    tags = [["B-x", "I-x", "O"] * 9, ["O"], ["B-x", "O"], []]
    columns = {"words": words, "label": tags}
    features = TASK.encode(columns, letters, config, max_length=max_length)
    assert len(features) > 4
    assert features.lengths.max() <= max_length
    word = features.alignment["word"]
    for example, expected in enumerate(words):
        rows = np.flatnonzero(features.example == example)
        numbers = [number for row in rows for number in word[row] if number >= 0]
        assert sorted(numbers) == list(range(len(expected)))
    predictions = TASK.decode(make_outputs(features, columns), features, columns, config)
    assert [prediction["tags"] for prediction in predictions] == tags


def test_a_word_is_predicted_where_most_text_surrounds_it(letters: BertTokenizer, config: BertConfig) -> None:
    # Windows of ten words that share three: words 0 to 9, and 7 to 13.
    features = TASK.encode({"words": [["a"] * 14]}, letters, config, max_length=12)
    assert features.example.tolist() == [0, 0]
    first, second = (features.alignment["word"][row].tolist() for row in (0, 1))
    assert first == [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, -1, -1]
    assert second == [-1, -1, -1, 9, 10, 11, 12, 13, -1]


def test_words_without_tokens_get_the_first_tag(letters: BertTokenizer, config: BertConfig) -> None:
    columns = {"words": [["a", "\u200b", "b"]], "label": [["B-x", "O", "B-x"]]}
    features = TASK.encode(columns, letters, config, max_length=9)
    (prediction,) = TASK.decode(make_outputs(features, columns), features, columns, config)
    assert prediction["tags"] == ["B-x", "O", "B-x"]
    assert prediction["scores"][1] == 0
    assert min(prediction["scores"][0], prediction["scores"][2]) > 0.99


def test_unknown_tags_are_refused_with_line_and_word(
    tmp_path: Path, letters: BertTokenizer, config: BertConfig
) -> None:
    (tmp_path / "x.conll").write_text("a O\n\nb B-x\nc B-hat\n")
    columns = read_conll(tmp_path / "x.conll")
    message = r"x\.conll, line 3, word 2 \('c'\): the label 'B-hat' was not in .* knows 'O', 'B-x', 'I-x'\."
    with pytest.raises(InputError, match=message):
        TASK.encode(columns, letters, config, max_length=9)


@run_in_torch_process
def compute_torch_cross_entropy(logits: np.ndarray, classes: np.ndarray) -> float:
    import torch

    return torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(classes).long()).item()


def test_the_loss_counts_words_alone() -> None:
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(4, 7, 3)).astype(np.float32) * 4
    labels = generator.integers(0, 3, (4, 7)).astype(np.int32)
    weights = (generator.random((4, 7)) < 0.4).astype(np.float32)
    # Torch ignores the label -100.
    expected = compute_torch_cross_entropy(logits.reshape(28, 3), np.where(weights > 0, labels, -100).reshape(28))
    found = TASK.make_loss()["logits"](labels, logits, sample_weight=weights)
    np.testing.assert_allclose(float(found), float(expected), rtol=1e-6)


def test_entities_have_positions_in_the_text(letters: BertTokenizer, config: BertConfig) -> None:
    columns = TASK.from_texts(["a  Bc, de!"])
    assert columns["words"] == [["a", "Bc", ",", "de", "!"]]
    features = TASK.encode(columns, letters, config, max_length=12)
    tags = {"label": [["B-x", "I-x", "O", "I-x", "O"]]}
    (prediction,) = TASK.decode(make_outputs(features, tags), features, columns, config)
    entities = [{key: entity[key] for key in ("kind", "text", "start", "end")} for entity in prediction["entities"]]
    assert entities == [
        {"kind": "x", "text": "a  Bc", "start": 0, "end": 5},
        {"kind": "x", "text": "de", "start": 7, "end": 9},
    ]
    assert prediction["entities"][0]["score"] == pytest.approx(np.mean(prediction["scores"][:2]))
    json.dumps(prediction)


def test_entities_of_given_words_have_positions_in_the_joined_words(letters: BertTokenizer, config: BertConfig) -> None:
    columns = {"words": [["ab", "c", "def"]], "label": [["O", "B-x", "I-x"]]}
    features = TASK.encode(columns, letters, config, max_length=12)
    (prediction,) = TASK.decode(make_outputs(features, columns), features, columns, config)
    (entity,) = prediction["entities"]
    assert (entity["text"], entity["start"], entity["end"]) == ("c def", 3, 8)


def test_scores_count_entities_and_words() -> None:
    predictions = [{"tags": ["B-x", "I-x", "O"]}, {"tags": ["O", "B-x"]}]
    metrics = TASK.score(predictions, {"label": [["B-x", "I-x", "O"], ["B-x", "B-x"]]})
    assert metrics == pytest.approx({"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "accuracy": 0.8})


def test_second_texts_are_refused() -> None:
    with pytest.raises(InputError, match="omit the second texts"):
        TASK.from_texts(["a"], ["b"])
