"""Tagging, compared with the tokenizers library and torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import Features, Ragged, read_conll
from keras_bert_impl.data.span_annotations import split_words
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.data.tag_schemes import convert_tags
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS, get_task
from keras_bert_impl.tasks.options import TaggingOptions
from keras_bert_impl.tokenization import BertTokenizer

TASK = TASKS["tagging"]
NAMES = ["O", "B-x", "I-x"]


@pytest.fixture
def config() -> BertConfig:
    return BertConfig.preset("tiny", vocab_size=30522, **TASK.make_config_changes(NAMES))


@pytest.fixture(scope="module")
def wnut(shared_data: Path) -> Columns:
    return read_conll(shared_data / "wnut17" / "emerging.dev.conll")


def make_outputs(features: Features, tags: Columns, names: Sequence[str] = NAMES) -> dict[str, Ragged]:
    """Logits that are highest for the true tag at the token of each word, and random at other tokens."""
    word = features.alignment["word"]
    logits = np.random.default_rng(1).normal(size=(len(word.flat), len(names))).astype(np.float32)
    for row, example in enumerate(features.example):
        for position, number in enumerate(word[row]):
            if number >= 0:
                logits[word.offsets[row] + position, names.index(tags["label"][example][number])] += 30
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


SPANS = [
    {"text": "Ada Lovelace was in Rome.", "label": [[0, 12, "person"], [20, 24, "place"]]},
    {"text": "a  film by Bo", "label": [[11, 13, "person"]]},
    {"text": "no names", "label": []},
]


@pytest.mark.parametrize("scheme", [None, "bio", "iobes", "bilou"])
def test_annotated_spans_are_predicted_and_scored_by_their_characters(
    letters: BertTokenizer, scheme: str | None
) -> None:
    task = get_task("tagging", TaggingOptions(scheme=scheme))
    columns = task.read_file(SPANS)
    names = task.find_labels(columns)
    assert {name[0] for name in names} == set({"iobes": "OBES", "bilou": "OBLU"}.get(str(scheme), "OBI"))
    config = BertConfig.preset("tiny", vocab_size=30522, **task.make_config_changes(names))
    features = task.encode(columns, letters, config, max_length=20)
    predictions = task.decode(make_outputs(features, columns, names), features, columns, config)
    for row, prediction in zip(SPANS, predictions, strict=True):
        found = [[entity["start"], entity["end"], entity["kind"]] for entity in prediction["entities"]]
        assert found == row["label"]
        assert all(entity["text"] == row["text"][entity["start"] : entity["end"]] for entity in prediction["entities"])
    assert task.score(predictions, columns) == {"precision": 1, "recall": 1, "f1": 1, "accuracy": 1}


def test_scores_of_random_spans_are_those_of_sets(letters: BertTokenizer) -> None:
    """Precision, recall and F1 of sets of characters with a label, computed without tags."""
    draw = np.random.default_rng(4)
    text = "ab c de. f gh, ij k lm n op"
    _, words = split_words(text)

    def draw_spans() -> list[list[Any]]:
        bounds = sorted(draw.choice(len(words) + 1, 6, replace=False).tolist())
        pairs = [pair for pair in zip(bounds[::2], bounds[1::2], strict=True) if draw.random() < 0.8]
        return [[words[begin][0], words[end - 1][1], str(draw.choice(["x", "y"]))] for begin, end in pairs]

    true, predicted = ([draw_spans() for _ in range(60)] for _ in range(2))
    # Half of the predicted spans are right.
    predicted = [spans if i % 2 else other for i, (spans, other) in enumerate(zip(true, predicted, strict=True))]
    columns, guesses = ({"text": [text] * 60, "label": spans} for spans in (true, predicted))
    columns, guesses = TASK.read_file(columns), TASK.read_file(guesses)
    metrics = TASK.score([{"tags": tags} for tags in guesses["label"]], columns)
    sets = [{(i, *span) for i, spans in enumerate(side) for span in spans} for side in (true, predicted)]
    matches = len(sets[0] & sets[1])
    assert 0 < matches < min(map(len, sets))
    assert metrics["precision"] == pytest.approx(matches / len(sets[1]))
    assert metrics["recall"] == pytest.approx(matches / len(sets[0]))
    assert metrics["f1"] == pytest.approx(2 * matches / (len(sets[0]) + len(sets[1])))


@pytest.mark.parametrize("scheme", ["iobes", "bilou"])
def test_a_model_is_scored_on_tags_of_another_scheme(letters: BertTokenizer, scheme: str) -> None:
    """The tags of an entity of three words differ at each of its words but the inner one."""
    bio = {"words": [["a", "b", "c", "d"], ["e"]], "label": [["B-x", "I-x", "I-x", "O"], ["B-x"]]}
    other = {"words": bio["words"], "label": [convert_tags(tags, scheme) for tags in bio["label"]]}
    for columns, data in ((bio, other), (other, bio)):
        names = TASK.find_labels(columns)
        config = BertConfig.preset("tiny", vocab_size=30522, **TASK.make_config_changes(names))
        features = TASK.encode(data, letters, config, max_length=20)
        same = TASK.encode(columns, letters, config, max_length=20)
        np.testing.assert_array_equal(features.labels["logits"].flat, same.labels["logits"].flat)
        predictions = TASK.decode(make_outputs(same, columns, names), features, data, config)
        assert predictions[0]["tags"] == columns["label"][0]
        assert TASK.score(predictions, data) == {"precision": 1, "recall": 1, "f1": 1, "accuracy": 1}


def test_the_option_converts_conll_files(tmp_path: Path) -> None:
    (tmp_path / "x.conll").write_text("a I-x\nb I-x\nc O\nd U-y\n")
    task = get_task("tagging", TaggingOptions(scheme="iobes"))
    assert task.read_file(tmp_path / "x.conll")["label"] == [["B-x", "E-x", "O", "S-y"]]
    with pytest.raises(InputError, match="scheme is 'iob'; bio, iobes or bilou was expected"):
        TaggingOptions(scheme="iob")
