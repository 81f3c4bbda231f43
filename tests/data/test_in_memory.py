"""Data in memory, compared with files of the same rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest

from keras_bert_impl.data import MemoryTable, read_squad
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS

ROWS = [
    {"film": "A great film.", "stars": 5, "year": 1999},
    {"film": "caf\u00e9, 😀; dull\n", "stars": 1, "year": 2001},
    {"film": "", "stars": 3, "year": 2004},
]
NAMES = {"text": "film", "label": "stars"}
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


def make_tf_data(columns: dict[str, Any]) -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(columns)


KINDS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(ROWS, index=[7, 5, 3]),
    "pandas categories": lambda: pd.DataFrame(ROWS).astype({"stars": "category"}),
    "polars": lambda: pl.DataFrame(ROWS),
    "datasets": lambda: datasets.Dataset.from_list(ROWS),
    "tf.data": lambda: make_tf_data(COLUMNS),
    "list": lambda: ROWS,
    "generator": lambda: (row for row in ROWS),
    "columns": lambda: COLUMNS,
    "columns of arrays": lambda: {name: np.array(values) for name, values in COLUMNS.items()},
}


def without_location(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: values for name, values in columns.items() if name != "location"}


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_give_the_columns_of_a_file(tmp_path: Path, kind: str) -> None:
    task = TASKS["classification"]
    columns = task.read_file(KINDS[kind](), columns=NAMES, name="train")
    assert columns["location"] == ["train, row 1", "train, row 2", "train, row 3"]
    path = write_jsonl(tmp_path / "x.jsonl", ROWS)
    assert without_location(columns) == without_location(task.read_file(path, columns=NAMES))
    chunks = list(task.read_chunks(KINDS[kind](), 2, columns={"text": "film"}))
    assert [chunk["text"] for chunk in chunks] == [COLUMNS["film"][:2], COLUMNS["film"][2:]]


# Rows of each task, which a JSONL file may also contain.
TASK_ROWS: dict[str, list[dict[str, Any]]] = {
    "regression": [{"text": "a", "text_pair": "b", "label": 0.1}, {"text": "c", "text_pair": "", "label": 2.0}],
    "reranking": [{"query": "a", "passage": "b", "score": 0.25}, {"query": "c", "passage": "d", "score": 1.0}],
    "next-sentence": [{"text": "a", "text_pair": "b", "label": "is_next"}],
    "multiple-choice": [
        {"text": "a", "choices": ["b", "c"], "label": 1},
        {"text": "", "choices": ["", "d"], "label": 0},
    ],
    "embedding": [{"anchor": "a", "positive": "b", "negatives": ["c", "d"]}],
    "masked-lm": [{"text": "a"}, {"text": "b"}],
    "tagging": [{"tokens": ["a", "b"], "ner_tags": ["O", "B-x"]}, {"tokens": ["c"], "ner_tags": ["O"]}],
}


@pytest.mark.parametrize("kind", ["pandas", "polars", "datasets", "list"])
@pytest.mark.parametrize("name", TASK_ROWS)
def test_all_tasks_take_data_in_memory(tmp_path: Path, name: str, kind: str) -> None:
    rows = TASK_ROWS[name]
    make = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "datasets": datasets.Dataset.from_list, "list": list}[kind]
    for labeled in (True, False):
        expected = TASKS[name].read_file(write_jsonl(tmp_path / "x.jsonl", rows), labeled=labeled)
        assert without_location(TASKS[name].read_file(make(rows), labeled=labeled)) == without_location(expected)


def test_questions_as_datasets_has_them(tmp_path: Path) -> None:
    answers = [{"text": ["Rome", "in Rome"], "answer_start": [11, 8]}, {"text": [], "answer_start": []}]
    questions = [
        {"id": f"q{i}", "question": "Where?", "context": "Ada was in Rome.", "answers": value}
        for i, value in enumerate(answers)
    ]
    paragraphs = [
        {
            "context": row["context"],
            "qas": [
                {
                    **row,
                    "answers": [
                        {"text": text, "answer_start": start}
                        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
                    ],
                }
            ],
        }
        for row in questions
    ]
    (tmp_path / "x.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    expected = without_location(read_squad(tmp_path / "x.json"))
    task = TASKS["question-answering"]
    for data in (datasets.Dataset.from_list(questions), pd.DataFrame(questions), questions):
        assert without_location(task.read_file(data)) == expected
    unnamed = [{"question": "Who?", "context": "Ada."}]
    assert task.read_file(unnamed, labeled=False, name="test")["id"] == ["test, row 1"]
    with pytest.raises(InputError, match=r"train, row 1: answers is .*'Ada'.*; the lists text and answer_start"):
        task.read_file([{**unnamed[0], "answers": {"text": "Ada", "answer_start": 0}}], name="train")
    with pytest.raises(InputError, match="train, row 1: there is no column 'context'; the columns are 'question', "):
        task.read_file([{"question": "Who?", "text": "Ada."}], name="train")
    with pytest.raises(InputError, match="train, row 1: there is no 'answers'"):
        task.read_file(unnamed, name="train")


def test_classes_get_their_names() -> None:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["bad", "good"]),
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-hat"])),
        }
    )
    rows = {"text": ["a", "b"], "label": [1, 0], "tokens": [["a", "hat"], []], "ner_tags": [[0, 1], []]}
    data = datasets.Dataset.from_dict(rows, features=features)
    assert TASKS["classification"].read_file(data)["label"] == ["good", "bad"]
    assert TASKS["tagging"].read_file(data)["label"] == [["O", "B-hat"], []]
    features = datasets.Features({name: features[name] for name in ("text", "label")})
    hidden = datasets.Dataset.from_dict({"text": ["a"], "label": [-1]}, features=features)
    with pytest.raises(InputError, match="row 1: the label in column 'label' is empty"):
        TASKS["classification"].read_file(hidden)


def test_strings_and_pairs_of_tf_data() -> None:
    import tensorflow as tf

    texts = tf.data.Dataset.from_tensor_slices(["caf\u00e9", "b"])
    assert TASKS["masked-lm"].read_file(texts)["text"] == ["caf\u00e9", "b"]
    assert TASKS["masked-lm"].read_file(["caf\u00e9", "b"])["text"] == ["caf\u00e9", "b"]
    labeled = tf.data.Dataset.zip((texts, tf.data.Dataset.from_tensor_slices([3, 4])))
    columns = TASKS["classification"].read_file(labeled)
    assert (columns["text"], columns["label"]) == (["caf\u00e9", "b"], ["3", "4"])
    with pytest.raises(InputError, match=r"train, row 1 is .*\(ndarray\); a dictionary of fields .* batched"):
        TASKS["classification"].read_file(texts.batch(2), name="train")


def test_labels_of_all_types() -> None:
    labels = [7, True, 2.5, "x", np.int64(4), np.bool_(False)]
    columns = TASKS["classification"].read_file({"text": ["a"] * 6, "label": labels})
    assert columns["label"] == ["7", "true", "2.5", "x", "4", "false"]


def test_columns_by_number() -> None:
    columns = TASKS["classification"].read_file(pd.DataFrame([["a", 1]]), columns={"text": "0", "label": "1"})
    assert (columns["text"], columns["label"]) == (["a"], ["1"])


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"text": ["a", None], "label": ["x", "y"]}),
        pd.DataFrame({"text": ["a", "b"], "label": [1, None]}),
        pd.DataFrame({"text": ["a", "b"], "label": pd.array([1, pd.NA], dtype="Int64")}),
        pd.DataFrame({"text": pd.array(["a", pd.NA], dtype="string"), "label": [1, 2]}),
        pl.DataFrame({"text": ["a", None], "label": ["x", "y"]}),
        pl.DataFrame({"text": ["a", "b"], "label": [0.5, float("nan")]}),
        datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", None]}),
        [{"text": "a", "label": 1}, {"text": float("nan"), "label": 2}],
        {"text": np.array(["a", "b"]), "label": np.array([1, np.nan])},
    ],
)
def test_missing_values_are_named_by_row(data: Any) -> None:
    with pytest.raises(
        InputError, match=r"valid, row 2: (text is missing; a string|the label in column 'label' is empty)"
    ):
        TASKS["classification"].read_file(data, name="valid")


def test_missing_values_in_other_columns_are_ignored() -> None:
    frame = pd.DataFrame({"text": ["a"], "label": ["x"], "note": [None], "seen": [pd.NaT]})
    assert TASKS["classification"].read_file(frame)["label"] == ["x"]
    assert TASKS["classification"].read_file(frame.drop(columns="label"), labeled=False)["text"] == ["a"]


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "columns": (
        lambda: pd.DataFrame({"review": ["a"], "stars": [1]}),
        r"^train, row 1: there is no column 'text'; the columns are 'review', 'stars'\. Say which of them contains the",
    ),
    "no rows": (lambda: pd.DataFrame({"text": [], "label": []}), "^train has no rows; examples were expected"),
    "no examples": (list, "^train has no rows"),
    "a number": (lambda: 5, r"^train has the type int; a file, a data frame, a data set, a dictionary of columns or"),
    "a lazy frame": (lambda: pl.LazyFrame({"text": ["a"]}), r"^train has the type LazyFrame; a file, a data frame"),
    "splits": (
        lambda: datasets.DatasetDict(test=datasets.Dataset.from_dict({"text": ["a"]})),
        r"^train has the splits 'test'\. Choose one of them",
    ),
    "lists": (lambda: [["a", 1]], r"^train, row 1 is \['a', 1\] \(list\); a dictionary of fields or a string was exp"),
    "one string": (lambda: {"text": "abc", "label": "xyz"}, r"^train: the column 'text' is 'abc' \(str\); a list with"),
    "lengths": (lambda: {"text": ["a"], "label": []}, r"^train: the columns have \{'text': 1, 'label': 0\} entries"),
    "a number as text": (lambda: [{"text": 5, "label": 1}], "^train, row 1: text is 5; a string was expected"),
    "bytes": (lambda: [{"text": b"\xff", "label": 1}], r"^train, row 1: text is b'\\xff'; a string was expected"),
    "a field less": (lambda: [{"text": "a", "label": 1}, {"text": "b"}], "^train, row 2: there is no column 'l"),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_data(case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(InputError, match=message):
        TASKS["classification"].read_file(make(), name="train")


def test_columns_of_a_reader_are_used_as_they_are() -> None:
    columns = {"location": ["x.tsv, line 2"], "text": ["a"], "label": ["b"]}
    assert TASKS["classification"].read_file(columns) is columns
    assert list(TASKS["classification"].read_chunks(columns, 5)) == [columns]
    assert TASKS["classification"].read_file(MemoryTable([{"text": "a", "label": 1}], name="x"))["label"] == ["1"]
