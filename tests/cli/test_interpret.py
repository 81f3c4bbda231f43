"""The verbs that look inside a model, on a fine-tuned one."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small

from keras_bert_impl import BertForSequenceClassification, BertTokenizer
from keras_bert_impl.interpret import compute_word_vectors

Run = Callable[..., Any]
TEXTS = ["A good film.", "Not a film, but a good book.", "film"]


def test_similar(run: Run, sentiment_run: Path, tmp_path: Path) -> None:
    ran = run(
        "similar", sentiment_run, "--word", "Film", "--layer", "1", *TEXTS, "--picture", tmp_path / "new" / "a.svg"
    )
    assert (ran.code, ran.err) == (0, "")
    rows = re.findall(r"^\d((?: +-?\d\.\d\d){3})$", ran.out, re.MULTILINE)
    model, tokenizer = (kind.from_pretrained(sentiment_run) for kind in (BertForSequenceClassification, BertTokenizer))
    cosines = compute_word_vectors(model, tokenizer, TEXTS, "film").compute_cosines(1)
    np.testing.assert_allclose([[float(value) for value in row.split()] for row in rows], cosines, atol=0.0051)
    assert ">film<" in ran.out
    assert "Film" not in ran.out
    assert (tmp_path / "new" / "a.svg").is_file()


def test_similar_by_senses(run: Run, sentiment_run: Path, tmp_path: Path) -> None:
    (tmp_path / "film.csv").write_text("sense,text\na,A good film.\na,A film.\nb,film\n", encoding="utf-8")
    pictures = ["--picture", tmp_path / "a.png", "--layers-picture", tmp_path / "b.png"]
    ran = run("similar", sentiment_run, "--word", "film", tmp_path / "film.csv", *pictures)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-2:] == [f"written to {tmp_path / 'a.png'}", f"written to {tmp_path / 'b.png'}"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))


def test_similar_with_an_embedding_model_that_lower_cases(run: Run, small_bert: Path, tmp_path: Path) -> None:
    """Its own files say it, not those of its tokenizer."""
    directory = small.write_embedder(tmp_path / "model", small_bert)
    files = {"sentence_bert_config.json": {"max_seq_length": 53}, "tokenizer_config.json": {}}
    for (name, values), do_lower_case in zip(files.items(), (True, False), strict=True):
        (directory / name).write_text(json.dumps({**values, "do_lower_case": do_lower_case}), encoding="utf-8")
    ran = run("similar", directory, "--word", "film", "A good film.", "A GOOD FILM.", "a film, not good")
    assert (ran.code, ran.err) == (0, "")
    rows = [row.split() for row in re.findall(r"^\d((?: +-?\d\.\d\d){3})$", ran.out, re.MULTILINE)]
    assert rows[0] == rows[1]
    assert rows[0][:2] == ["1.00", "1.00"]
    assert rows[0][2] != "1.00"


@pytest.mark.parametrize("verb", ["attention", "attribute"])
def test_pages(run: Run, sentiment_run: Path, tmp_path: Path, verb: str) -> None:
    page = tmp_path / "new" / "page.html"
    ran = run(verb, sentiment_run, "A good film.", "--output", page)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == f"written to {page}"
    assert page.read_text("utf-8").startswith("<!doctype html>")
    if verb == "attribute":
        number = r"[+-]\d\.\d\d"
        heading = rf"logit of '(negative|positive)': {number} compared with blank words, sum over the words {number}\n"
        assert re.match(heading, ran.out)
        assert "  good\n" in ran.out


@pytest.mark.slow
def test_the_target_and_the_steps(run: Run, sentiment_run: Path, tmp_path: Path) -> None:
    for target in ("negative", "positive"):
        options = ["--target", target, "--steps", "20", "--output", tmp_path / "page.html"]
        assert run("attribute", sentiment_run, "A good film.", *options).out.startswith(f"logit of '{target}'")


WHY = ["--output", "why.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["similar", "RUN", "--word", "book", "A film."], "text 1 does not contain the word 'book': 'A film.'"),
        (
            ["similar", "RUN", "--word", "film", "--layer", "3", "A film."],
            "there is no layer 3; the model has the",
        ),
        (["similar", "RUN", "--word", "film", "film.tsv"], "film.tsv cannot be read"),
        (["similar", "RUN", "--word", "film", "A film.", "--layers-picture", "a.png"], "compares senses"),
        (["similar", "RUN", "--word", "film", *["film"] * 3, "--picture", "a.pdf"], "pictures are written as"),
        (
            ["attention", "RUN", "word " * 130, *WHY],
            "has 132 tokens, special ones included; the model has 131 pos",
        ),
        (["attention", "RUN", " ", *WHY], "has no words"),
        (["attention", "RUN", "A film.", "--output", "file/view.html"], "file/view.html cannot be written"),
        (["attribute", "RUN", "A film.", "--output", "file/why.html"], "file/why.html cannot be written"),
        (["attribute", "BERT", "A film.", *WHY], "explain is not available for embedding"),
        (
            ["attribute", "RUN", "A film.", "--target", "great", *WHY],
            "no label 'great'; it has 'negative', 'positive'",
        ),
        (["attribute", "RUN", "A film.", "--steps", "0", *WHY], "steps is 0"),
    ],
)
def test_bad_input(
    run: Run,
    sentiment_run: Path,
    small_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    """One line, exit code 2, and nothing written."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    places = {"RUN": str(sentiment_run), "BERT": str(small_bert)}
    ran = run(*(places.get(argument, argument) for argument in arguments))
    assert ran.code == 2
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
