"""Multiple choice: rows against the tokenizer's own pairs; files; what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import LengthBatches
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization import BertTokenizer

TASK = TASKS["multiple-choice"]
CONFIG = BertConfig.preset("tiny", vocab_size=90, max_position_embeddings=64)
COLUMNS: dict[str, list[Any]] = {
    "text": ["a b", "c", ""],
    "choices": [["d", "e f g", ""], ["h i j k l", "m", "n"], ["o", "", "p"]],
    "label": [1, 0, "2"],
}


def test_a_batch_has_an_axis_of_choices(letters: BertTokenizer) -> None:
    features = TASK.encode(COLUMNS, letters, CONFIG, max_length=32)
    assert features.lengths.tolist() == [8, 9, 4]
    batches = LengthBatches(features, 3, seed=1)
    inputs, labels = batches[0]
    order = batches.get_rows(0)
    assert labels["logits"].tolist() == [[1, 0, 2][row] for row in order]
    for values, shape in zip(inputs.values(), batches.get_spec()[0].values(), strict=True):
        assert values.shape == (3, 3, 9)
        assert shape[0] == (None, 3, None)
    for place, row in enumerate(order):
        expected = letters([COLUMNS["text"][row]] * 3, COLUMNS["choices"][row])
        length = expected["input_ids"].shape[1]
        for name, values in expected.items():
            np.testing.assert_array_equal(inputs[name][place, :, :length], values)
            assert not inputs[name][place, :, length:].any()


@pytest.mark.parametrize("label", [1, "1", 1.0, "1.0", True, np.int64(1), np.float32(1)], ids=repr)
def test_numbers_of_choices_may_have_any_type(label: object, letters: BertTokenizer) -> None:
    columns = {"text": ["a"], "choices": [["b", "c"]], "label": [label]}
    assert TASK.encode(columns, letters, CONFIG, max_length=16).labels["logits"].tolist() == [1]
    assert TASK.score([{"label": 1}], columns) == {"accuracy": 1.0}


@pytest.mark.parametrize("label", [None, float("nan"), "", 1.5, 2, -1], ids=repr)
def test_other_labels_are_refused(label: object, letters: BertTokenizer) -> None:
    columns = {"text": ["a"], "choices": [["b", "c"]], "label": [label]}
    with pytest.raises(InputError, match=r"example 1: the label is .*; the number of a choice, 0 to 1, was expected"):
        TASK.encode(columns, letters, CONFIG, max_length=16)


def test_long_pairs_are_truncated_as_the_tokenizer_does(letters: BertTokenizer) -> None:
    columns = {"text": ["a " * 40], "choices": [["b", "c " * 40]]}
    features = TASK.encode(columns, letters, CONFIG, max_length=16)
    expected = letters(columns["text"] * 2, columns["choices"][0], max_length=16)["input_ids"]
    (inputs,) = features.batch(np.array([0]), length=16)
    np.testing.assert_array_equal(inputs["input_ids"][0], expected)
    assert features.truncated == 2


def test_predictions(letters: BertTokenizer) -> None:
    features = TASK.encode(COLUMNS, letters, CONFIG, max_length=32)
    logits = np.log(np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], np.float32))
    predictions = TASK.decode({"logits": logits}, features, COLUMNS, CONFIG)
    assert [(p["label"], p["choice"]) for p in predictions] == [(1, "e f g"), (2, "n"), (2, "p")]
    np.testing.assert_allclose([p["scores"] for p in predictions], np.exp(logits), rtol=1e-5)
    assert json.loads(json.dumps(predictions)) == predictions
    assert TASK.score(predictions, COLUMNS) == {"accuracy": pytest.approx(2 / 3)}


def test_files(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("text\tchoice1\tchoice0\tlabel\nq\tb\ta\t1\n", encoding="utf-8")
    rows = [{"start": "q", "choices": ["a", "b"], "label": 1}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    expected = {"text": ["q"], "choices": [["a", "b"]], "label": [1]}
    table = TASK.read_file(tmp_path / "x.tsv", columns={})
    lines = TASK.read_file(tmp_path / "x.jsonl", columns={"text": "start"})
    for columns in (table, lines):
        assert {name: columns[name] for name in expected} == expected
    (chunk,) = TASK.read_chunks(tmp_path / "x.tsv", 5, columns={})
    assert "label" not in chunk
    assert TASK.from_fields([["q", "a", "b"]]) == {"text": ["q"], "choices": [["a", "b"]]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\tchoice0\tlabel\nq\ta\t1\n", r"x\.tsv, line 2: the label is '1'; the number of a choice, 0 to 0, was"),
        ("text\tchoice0\tlabel\nq\ta\tx\n", r"line 2: the label is 'x'"),
        ("text\tlabel\nq\t0\n", r"the columns are 'text', 'label'; 'text', 'label' and 'choice0', 'choice1' … were"),
        ("question\tchoice0\tlabel\nq\ta\t0\n", r"the columns are 'question', 'choice0', 'label'; 'text', 'label' and"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        TASK.read_file(tmp_path / "x.tsv", columns={})


def test_what_cannot_be_encoded(letters: BertTokenizer) -> None:
    with pytest.raises(InputError, match="example 2 has 1 choices, the first example has 2; the same number above 0"):
        TASK.encode({"text": ["a", "b"], "choices": [["c", "d"], ["e"]]}, letters, CONFIG, max_length=16)
    with pytest.raises(InputError, match="multiple choice needs choices"):
        TASK.from_texts(["a"])
