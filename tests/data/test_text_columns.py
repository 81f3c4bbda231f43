"""Tables of texts to embed: single texts, pairs with a score, and texts with positives and negatives."""

import json
from pathlib import Path
from typing import Any

import pytest

from keras_bert_impl.data.text_columns import iterate_text_columns
from keras_bert_impl.errors import InputError


def read(path: Path, content: str, **options: Any) -> list[dict[str, Any]]:
    """The examples of a file with this content, without their locations."""
    path.write_text(content, encoding="utf-8")
    examples = list(iterate_text_columns(path, **options))
    assert all(example.pop("location").startswith(f"{path}, line ") for example in examples)
    return examples


@pytest.mark.parametrize("header", ["text\ttext_pair\tlabel", "sentence1\tsentence2\tscore", "question\tanswer\tlabel"])
def test_scored_pairs(tmp_path: Path, header: str) -> None:
    content = f"{header}\na\tb\t4.5\n\tc \U0001f3b5\t0\n"
    examples = read(tmp_path / "x.tsv", content)
    assert examples == [
        {"text": "a", "text_pair": "b", "label": "4.5"},
        {"text": "", "text_pair": "c \U0001f3b5", "label": "0"},
    ]
    assert read(tmp_path / "x.tsv", content, labeled=False) == [
        {"text": example["text"], "text_pair": example["text_pair"]} for example in examples
    ]


@pytest.mark.parametrize("header", ["text\ttext_pair", "text\tpositive", "anchor\tpositive", "query\tpassage"])
def test_pairs(tmp_path: Path, header: str) -> None:
    assert read(tmp_path / "x.tsv", f"{header}\na\tb\n") == [{"text": "a", "positive": "b"}]
    # A pair to predict is compared; a pair to learn from is a text and one that it should be near to.
    assert read(tmp_path / "x.tsv", f"{header}\na\tb\n", labeled=False) == [{"text": "a", "text_pair": "b"}]


def test_negatives(tmp_path: Path) -> None:
    columns = "query\tnegative_10\tnegative_2\tpositive\tnegative"
    expected = [{"text": "a", "positive": "d", "negatives": ["e", "c", "b"]}]
    assert read(tmp_path / "x.tsv", f"{columns}\na\tb\tc\td\te\n") == expected
    lists = [{"anchor": "a", "positive": "d", "negatives": ["e", "c", "b"]}, {"anchor": "b", "positive": "d"}]
    assert read(tmp_path / "x.jsonl", json.dumps(lists[0])) == expected
    with pytest.raises(InputError, match=r"x\.jsonl, line 2: negatives is None; a list of strings was expected"):
        read(tmp_path / "x.jsonl", "\n".join(map(json.dumps, lists)))


def test_columns_that_are_named(tmp_path: Path) -> None:
    options = {"text": "0", "text_pair": "2", "label": "1"}
    assert read(tmp_path / "x.csv", "a,0.5,b\n", **options) == [{"text": "a", "text_pair": "b", "label": "0.5"}]
    content = "text\tanswer\tb\tgrade\na\tx\tc\t1\n"
    assert read(tmp_path / "x.tsv", content, text_pair="b", label="grade") == [
        {"text": "a", "text_pair": "c", "label": "1"}
    ]
    # With a column "text", other usual names are not second texts.
    assert read(tmp_path / "x.tsv", content, labeled=False) == [{"text": "a"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tsv", "text\tkind\na\tb\n", r"x\.tsv, line 2: there is no second text; pairs .* 'text', 'kind'.*--pair-c"),
        ("x.tsv", "kind\na\n", r"x\.tsv, line 2: there is no second text"),
        ("x.tsv", "kind\tpositive\na\tb\n", r"line 2: there is no column 'text'; the columns are 'kind', 'positive'"),
        ("x.tsv", "text\ttext_pair\n", r"x\.tsv contains only the line of column names"),
        ("x.tsv", "text\ttext_pair\tlabel\na\tb\t\n", r"line 2: the label in column 'label' is empty"),
        (
            "x.tsv",
            "query\tpositive\tnegative\tscore\na\tb\tc\t1\n",
            r"line 2: the columns 'score' and 'negative' exclude each other",
        ),
        (
            "x.jsonl",
            '{"query": "a", "answer": "b", "negatives": ["c", "d"]}\n{"query": "a", "answer": "b", "negatives": []}',
            r"x\.jsonl, line 2 has 0 negatives, the first example has 2; the same number was expected",
        ),
        (
            "x.jsonl",
            '{"query": "a", "answer": "b", "negatives": [1]}',
            r"line 1: negatives is 1; a string was expected",
        ),
        ("x.jsonl", '{"query": "a", "answer": "b"}\n{"query": "a"}', r"line 2: there is no column 'answer'"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / name, content)
