"""One name for each class, whatever type a file or an array gives its labels; and labels of several per text."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from keras_bert_impl.data.label_lists import iterate_label_lists
from keras_bert_impl.data.labels import make_key, make_label, parse_label_list, sort_labels
from keras_bert_impl.errors import InputError

ONES = [1, 1.0, "1", "1.0", "1.00", " 1 ", np.int8(1), np.int64(1), np.float32(1), np.float64(1), np.str_("1")]
TRUE = [True, np.True_, "true", "True", "TRUE", *ONES]


@pytest.mark.parametrize("value", ONES, ids=repr)
def test_integers_have_one_name(value: Any) -> None:
    assert make_label(value, location="x") == "1"


@pytest.mark.parametrize("value", TRUE, ids=repr)
def test_true_is_one(value: Any) -> None:
    assert make_key(make_label(value, location="x")) == "1"


def test_different_labels_stay_different() -> None:
    values = [0, 1, -1, 10, 1.5, "01", "+1", "1.", ".0", "1e0", "1,0", "1.01", "yes", "Yes", "truth", "１"]
    keys = [make_key(make_label(value, location="x")) for value in values]
    assert len(set(keys)) == len(values)


@pytest.mark.parametrize(
    "array",
    [np.array([3, 7, 3]), np.array([3.0, 7.0, 3.0]), np.array(["3", "7.0", "3"]), np.array([3, 7.0, "3"], object)],
    ids=lambda array: str(array.dtype),
)
def test_arrays_have_the_labels_of_lists(array: np.ndarray) -> None:
    assert [make_label(value, location="x") for value in array] == ["3", "7", "3"]


def test_the_texts_that_pandas_and_json_write() -> None:
    table = pandas.DataFrame({"whole": [1.0, 2.0], "true": [True, False], "part": [0.1, 2.5]})
    from_csv = [line.split(",") for line in table.to_csv(index=False, header=False).splitlines()]
    from_json = [list(row.values()) for row in json.loads(table.to_json(orient="records"))]
    for rows in (from_csv, from_json):
        names = [[make_key(make_label(value, location="x")) for value in row] for row in rows]
        assert names == [["1", "1", "0.1"], ["2", "0", "2.5"]]


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, np.float32("nan"), "", "  "], ids=repr)
def test_missing_labels_are_named(value: Any) -> None:
    with pytest.raises(InputError, match=r"x\.csv, line 3: the label in column 'y' is empty.*remove the row"):
        make_label(value, location="x.csv, line 3", column="y")


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"a", pandas.NA, Decimal(1), np.array([1, 2])], ids=repr)
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"example 2: the label is .*; a string, a number or a truth value"):
        make_label(value, location="example 2")


def test_sorting_merges_names_of_one_class() -> None:
    assert sort_labels(["false", "true", "1", "10"]) == ["1", "10", "false"]
    assert sort_labels(["10", "9", "2", "9"]) == ["2", "9", "10"]
    assert sort_labels([]) == []


@pytest.mark.parametrize("values", [["b", 2.0], ("b", "2"), np.array(["b", "2"]), ["b", np.int32(2)]], ids=repr)
def test_lists_of_labels(values: Any) -> None:
    assert parse_label_list(values, location="x") == ["b", "2"]


def test_a_set_and_a_single_label() -> None:
    assert sorted(parse_label_list({"a", "b"}, location="x")) == ["a", "b"]
    assert parse_label_list(3.0, location="x") == ["3"]
    assert parse_label_list([], location="x") == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a,b", r"example 4: the labels are the string 'a,b'; a list of labels was expected"),
        (None, r"example 4: the label in column 'label' is empty \(None\)"),
        (float("nan"), r"example 4: the label in column 'label' is empty \(nan\)"),
        (["a", None], r"example 4: the label in column 'label' is empty \(None\)"),
        ([1, 0, 0], r"example 4: the label '0' is there twice in \[1, 0, 0\]; the names of the labels"),
    ],
)
def test_bad_lists_are_refused(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_label_list(value, location="example 4")


# ---- Files with several labels per text

EXPECTED = [["toxic", "insult"], [], ["2"]]
FORMS: dict[str, tuple[str, str, dict[str, str]]] = {
    "list": (
        "x.jsonl",
        '{"text": "a", "label": ["toxic", "insult"]}\n{"text": "b", "label": []}\n{"text": "c", "label": [2.0]}\n',
        {},
    ),
    "labels": (
        "x.jsonl",
        '{"text": "a", "labels": ["toxic", "insult"]}\n{"text": "b", "labels": ""}\n{"text": "c", "labels": 2}\n',
        {},
    ),
    "commas": ("x.tsv", "text\tlabel\na\ttoxic, insult\nb\t\nc\t2.0\n", {}),
    "csv": ("x.csv", 'text,kinds\na,"toxic,insult"\nb,\nc,2\n', {"label": "kinds"}),
    "bars": ("x.tsv", "text\tlabel\na\ttoxic|insult\nb\t\nc\t2\n", {"label_delimiter": "|"}),
    "columns": (
        "x.csv",
        "text,toxic,insult,2\na,1,1,0\nb,0,0,0\nc,0.0,False,True\n",
        {"label_columns": "toxic, insult,2"},
    ),
    "list of columns": (
        "x.csv",
        "text,toxic,insult,2\na,1,1,0\nb,0,0,0\nc,0.0,False,True\n",
        {"label_columns": ["toxic", "insult", "2"]},
    ),
    "columns of truth values": (
        "x.jsonl",
        '{"text": "a", "toxic": true, "insult": 1, "2": false}\n{"text": "b", "toxic": 0, "insult": 0.0, "2": "0"}\n'
        '{"text": "c", "toxic": false, "insult": "False", "2": 1.0}\n',
        {"label_columns": "toxic,insult,2"},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_labels(form: str, tmp_path: Path) -> None:
    name, content, columns = FORMS[form]
    (tmp_path / name).write_text(content, encoding="utf-8")
    examples = list(iterate_label_lists(tmp_path / name, **columns))
    assert [example["label"] for example in examples] == EXPECTED
    assert [example["text"] for example in examples] == ["a", "b", "c"]
    assert all("label" not in example for example in iterate_label_lists(tmp_path / name, **columns, labeled=False))


def test_pairs_and_weights_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("text\ttext_pair\tlabel\tw\na\tb\tx\t2.5\n", encoding="utf-8")
    (example,) = iterate_label_lists(tmp_path / "x.tsv", weight="w")
    assert {name: example[name] for name in ("text_pair", "label", "weight")} == {
        "text_pair": "b",
        "label": ["x"],
        "weight": 2.5,
    }


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("text\tlabel\na\tx,x\n", {}, r"x\.tsv, line 2: the label 'x' is there twice in 'x,x'"),
        ("text\tkind\na\tx\n", {}, r"x\.tsv, line 2: there is no column 'label'; .*'text', 'kind'\. .*contain the lab"),
        ("text\tx\na\t1\nb\t2\n", {"label_columns": "x"}, r"x\.tsv, line 3: column 'x' is '2'; 1 was expected"),
        ("text\tx\na\t\n", {"label_columns": "x"}, r"x\.tsv, line 2: the label in column 'x' is empty"),
        ("text\tx\na\t1\n", {"label_columns": "x,y"}, r"x\.tsv, line 2: there is no column 'y'"),
        ("text\tx\na\t1\n", {"label_columns": "x", "label": "x"}, r"only one of these was expected"),
        (
            "text\tx\na\t1\n",
            {"label_columns": "x", "label_delimiter": ";"},
            r"delimiter of labels, ';', and a column for",
        ),
        ("text\tx\na\t1\n", {"label_columns": "x,x"}, r"the columns of the labels are x, x; 'x' is there twice"),
        ("text\tlabel\na\t1,0,1\n", {}, r"the label '1' is there twice .* its own column \(label_columns\)"),
        ("text\tlabel\na\t1\n", {"label_delimiter": ""}, r"the delimiter of labels is empty"),
        ("text\tlabel\n", {}, r"x\.tsv contains only the line of column names"),
    ],
)
def test_bad_files_are_refused(content: str, columns: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        list(iterate_label_lists(tmp_path / "x.tsv", **columns))
