"""Data sets in BEIR's layout: what is read, and which file is broken where."""

import json
from pathlib import Path

import pytest

from keras_bert_impl.data.retrieval import Corpus, is_beir, read_beir
from keras_bert_impl.errors import InputError

CORPUS = [
    {"_id": "d1", "title": "Planes", "text": "They fly.", "metadata": {"url": "x"}},
    {"_id": "d2", "title": "", "text": "A flute \U0001f3b5"},
    {"_id": "d10", "text": ""},
]
QUERIES = [{"_id": "q1", "text": "What flies?"}, {"_id": "q2", "text": "Music"}, {"_id": "q3", "text": "Nothing"}]
HEADER = "query-id\tcorpus-id\tscore\n"
JUDGMENTS = "q1\td1\t2\nq1\td2\t0\nq2\td2\t1\nq3\td2\t0\n"


def write_beir(directory: Path, **judgments: str) -> Path:
    """Writes the corpus, the queries, and a file of judgments for each keyword."""
    for name, records in (("corpus", CORPUS), ("queries", QUERIES)):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (directory / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (directory / "qrels").mkdir()
    for name, text in judgments.items():
        (directory / "qrels" / f"{name}.tsv").write_text(text, encoding="utf-8")
    return directory


@pytest.mark.parametrize("header", [HEADER, "", "qid\tdocument\trelevance\n"])
def test_what_is_read(tmp_path: Path, header: str) -> None:
    columns = read_beir(write_beir(tmp_path, test=header + JUDGMENTS))
    assert columns["text"] == ["What flies?", "Music"]  # No document is relevant to the third query.
    assert columns["query_id"] == ["q1", "q2"]
    assert columns["relevant"] == [{"d1": 2, "d2": 0}, {"d2": 1}]
    assert columns["location"][1] == f"{tmp_path}/queries.jsonl, line 2"
    first, second = columns["corpus"]
    assert first is second
    assert first.ids == ("d1", "d2", "d10")
    assert first.texts == ("Planes They fly.", "A flute \U0001f3b5", "")


def test_prediction_needs_no_judgments(tmp_path: Path) -> None:
    columns = read_beir(write_beir(tmp_path), labeled=False)
    assert columns["query_id"] == ["q1", "q2", "q3"]
    assert "relevant" not in columns


def test_which_judgments_are_read(tmp_path: Path) -> None:
    directory = write_beir(tmp_path, train="q2\td2\t1\n")
    assert read_beir(directory)["query_id"] == ["q2"]
    (directory / "qrels" / "other.tsv").write_text("q1\td1\t1\n")
    with pytest.raises(InputError, match=r"qrels has other\.tsv, train\.tsv\. Name one of them, such as .*other\.tsv"):
        read_beir(directory)
    assert is_beir(directory / "qrels" / "other.tsv")
    assert read_beir(directory / "qrels" / "other.tsv")["query_id"] == ["q1"]
    (directory / "qrels" / "dev.tsv").write_text("q3\td10\t1\n")
    assert read_beir(directory)["query_id"] == ["q3"]
    (directory / "qrels" / "test.tsv").write_text("q1\td1\t1\nq2\td10\t1\n")
    assert read_beir(directory)["query_id"] == ["q1", "q2"]
    assert not is_beir(directory / "corpus.jsonl")


def test_checksums_of_a_corpus_depend_on_its_texts() -> None:
    texts = {repr(Corpus(("a", "b"), ("x", "y"))), repr(Corpus(("a", "b"), ("xy", ""))), repr(Corpus(("a",), ("x",)))}
    assert len(texts) == 3
    assert repr(Corpus(("a", "b"), ("x", "y"))) in texts


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", None, r"has no corpus\.jsonl; BEIR's layout is corpus\.jsonl, queries\.jsonl and qrels/NAME"),
        ("queries.jsonl", None, r"has no queries\.jsonl; BEIR's layout is"),
        ("qrels/test.tsv", None, r"qrels has no \.tsv file; BEIR's layout is"),
        ("corpus.jsonl", '{"_id": "d1"}', r"corpus\.jsonl, line 1: there is no 'text'; the fields are '_id'"),
        ("corpus.jsonl", '{"_id": 1, "text": ""}', r"corpus\.jsonl, line 1: _id is 1; a string was expected"),
        (
            "queries.jsonl",
            '{"_id": "q", "text": ""}\n' * 2,
            r"queries\.jsonl, line 2: the _id 'q' occurs in two lines\. Give each line a different id",
        ),
        (
            "qrels/test.tsv",
            f"{HEADER}q1\td1\t1\nq1\td9\t1\n",
            r"qrels/test\.tsv, line 3: the document 'd9' is not in corpus\.jsonl, which has 3 lines\. Correct the id",
        ),
        ("qrels/test.tsv", "q1\td1\t1\nq7\td1\t1\n", r"line 2: the query 'q7' is not in queries\.jsonl"),
        ("qrels/test.tsv", "q1\td1\t1\nq2\td2\thigh\n", r"line 2: the grade 'high' is not an integer"),
        ("qrels/test.tsv", "q1\td1\thigh\n", r"line 1: the grade 'high' is not an integer"),
        ("qrels/test.tsv", "q1\t0\td1\t1\n", r"line 1 has 4 fields; query, document and grade, separated by TABs"),
        ("qrels/test.tsv", "q1\td1\t0\n", r"test\.tsv: no document is relevant to a query; a grade above 0"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = write_beir(tmp_path, test=HEADER + JUDGMENTS) / name
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_beir(tmp_path)
