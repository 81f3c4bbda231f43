"""The verb ``embed``."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small

from keras_bert_impl import BertForSentenceEmbedding
from keras_bert_impl.prediction.encoding import encode

Run = Callable[..., Any]
TEXTS = ["A good film.", "", "bad 😀"]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Path:
    """A sentence-transformers directory with mean pooling and prompts."""
    directory = tmp_path_factory.mktemp("embedders") / "model"
    return small.write_embedder(directory, small_bert, prompts={"query": "find: "})


@pytest.fixture(scope="module")
def model(embedder: Path) -> BertForSentenceEmbedding:
    return BertForSentenceEmbedding.from_pretrained(embedder)


def parse_vectors(output: str) -> np.ndarray:
    return np.array([json.loads(line)["embedding"] for line in output.splitlines()], np.float32)


def test_texts_are_printed_as_json(run: Run, embedder: Path, model: BertForSentenceEmbedding) -> None:
    ran = run("embed", embedder, *TEXTS)
    assert (ran.code, ran.err) == (0, "")
    np.testing.assert_allclose(parse_vectors(ran.out), encode(model, TEXTS), atol=2e-6)
    ran = run("embed", embedder, *TEXTS, "--prompt-text", "find: ", "--normalize", "--truncate-dim", "7")
    expected = encode(model, TEXTS, prompt_name="query", normalize_embeddings=True, truncate_dim=7)
    np.testing.assert_allclose(parse_vectors(ran.out), expected, atol=2e-6)


def test_standard_input_has_a_text_per_line(
    run: Run, embedder: Path, model: BertForSentenceEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "\ufeffA good film.\r\n\r\nbad 😀".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    np.testing.assert_allclose(parse_vectors(run("embed", embedder).out), encode(model, TEXTS), atol=2e-6)


class Pipe:
    """A standard input that notes how much was printed when each of its blocks was read."""

    def __init__(self, blocks: list[bytes]) -> None:
        self.buffer = self
        self.blocks = blocks
        self.printed: list[int] = []

    def read1(self, size: int) -> bytes:
        self.printed.append(sys.stdout.tell())
        return self.blocks.pop(0) if self.blocks else b""


@pytest.mark.parametrize(("precision", "size"), [("float32", 32), ("ubinary", 4)])
def test_vectors_are_printed_while_lines_arrive(
    run: Run,
    embedder: Path,
    model: BertForSentenceEmbedding,
    film_texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    size: int,
) -> None:
    texts = film_texts[:150]
    pipe = Pipe([f"{text}\n".encode() for text in texts[:3]] + ["\n".join([*texts[3:], ""]).encode()])
    monkeypatch.setattr(sys, "stdin", pipe)
    printed = parse_vectors(run("embed", embedder, "--precision", precision).out)
    assert printed.shape == (150, size)
    assert np.mean(np.abs(printed - encode(model, texts, precision=precision)) < 2e-6) > 0.99
    assert len(pipe.printed) == 5
    assert pipe.printed[0] == 0
    assert np.diff(pipe.printed).min() > 0


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", "float32"), ("uint8", "uint8")])
def test_a_file_is_written(
    run: Run,
    embedder: Path,
    model: BertForSentenceEmbedding,
    tmp_path: Path,
    film_texts: list[str],
    precision: str,
    dtype: str,
) -> None:
    (tmp_path / "x.tsv").write_text("line\n" + "\n".join(film_texts[:101]) + "\n", encoding="utf-8")
    output = tmp_path / "vectors.npy"
    options: list[Any] = ["--prompt", "query", "--batch-size", "7"]
    options += ["--file", tmp_path / "x.tsv", "--column", "line", "--output", output, "--precision", precision]
    ran = run("embed", embedder, *options)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"101 vectors of 32 dimensions written to {output} ({dtype})\n"
    vectors = np.load(output)
    assert (vectors.shape, vectors.dtype) == ((101, 32), dtype)
    expected = encode(model, film_texts[:101], prompt_name="query", precision=precision)
    assert np.abs(vectors.astype(np.float64) - expected).max() <= (1 if dtype == "uint8" else 2e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["a", "--file", "x.txt"],
            "texts and --file x.txt were given; only one of them was expected.",
        ),
        (["a", "--column", "x"], "--column x names a column of --file, which was not given. Add it."),
        (
            ["a", "--prompt", "q"],
            "the model has no prompt 'q'; its prompts are 'query', 'document'.",
        ),
        (
            ["a", "--precision", "int8"],
            "int8 needs the ranges of many vectors, and there is one. ",
        ),
        (["--file", "absent.txt"], "absent.txt cannot be read: No such file or directory."),
        (["a", "--output", "x.json/v.npy"], "x.json/v.npy cannot be written: File exists."),
        (["a", "--truncate-dim", "0"], "truncate_dim is 0; a number of dimensions from 1 to 32 was expected."),
    ],
)
def test_bad_input(
    run: Run, embedder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.json").touch()
    ran = run("embed", embedder, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"keras-bert: error: {message}")
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_standard_input_that_is_not_utf8(run: Run, embedder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"good\nb\xffd\n")))
    ran = run("embed", embedder)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "keras-bert: error: standard input, line 2 is not UTF-8: byte 1 is invalid. Convert it to UTF-8.\n"
    )
