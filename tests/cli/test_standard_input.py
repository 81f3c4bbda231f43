"""Commands that read standard input answer each line as soon as it arrives."""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small

from keras_bert_impl.cli.options import read_standard_input
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction import Predictor

COMMAND = [sys.executable, "-c", "from keras_bert_impl.cli.main import run_command; run_command()"]


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The end of a pipe whose other end is standard input."""
    reader, end = os.pipe()
    with open(reader) as stdin, open(end, "wb", buffering=0) as file:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield file


def test_lines_that_arrived_together_are_read_together(writer: Any) -> None:
    lines = read_standard_input()
    writer.write("\ufeffa\r\n\nb😀\nc".encode())
    assert next(lines) == ["a", "", "b😀"]
    writer.write(b"d\n")
    assert next(lines) == ["cd"]
    writer.write(b"no line break")
    writer.close()
    assert list(lines) == [["no line break"]]


def test_a_large_input_is_read_in_blocks(writer: Any) -> None:
    texts = [f"text {i}" for i in range(100_000)]
    feeding = threading.Thread(target=lambda: (writer.write("\n".join(texts).encode()), writer.close()))
    feeding.start()
    chunks = list(read_standard_input())
    feeding.join()
    assert [text for chunk in chunks for text in chunk] == texts
    assert 1 < len(chunks) < 1000


def test_the_line_of_a_broken_text_is_counted_over_all_blocks(writer: Any) -> None:
    lines = read_standard_input()
    for data in (b"a\nb\n", b"c\nd\xff\n"):
        writer.write(data)
        if data[:1] == b"a":
            assert next(lines) == ["a", "b"]
    with pytest.raises(InputError, match="standard input, line 4 is not UTF-8: byte 1 is invalid"):
        next(lines)


def start(*arguments: Any) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *map(str, arguments)], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)


def ask(process: "subprocess.Popen[bytes]", line: str) -> Any:
    """Writes a line and returns the answer, while standard input stays open."""
    process.stdin.write(f"{line}\n".encode())
    ready, _, _ = select.select([process.stdout], [], [], 300)
    assert ready, "there was no answer"
    return json.loads(process.stdout.readline())


def test_predict_answers_each_line_and_ends_when_nobody_reads(sentiment_run: Path) -> None:
    texts = ["A good film.", "so bad 😀"]
    with start("predict", sentiment_run) as process:
        answers = [ask(process, text) for text in texts]
        process.stdout.close()
        process.stdin.write(b"good\n")
        errors = process.stderr.read()
        assert process.wait(300) == 141
    assert errors == b""
    expected = [Predictor(sentiment_run).predict_texts([text])[0] for text in texts]
    for answer, prediction in zip(answers, expected, strict=True):
        assert answer["label"] == prediction["label"]
        assert answer["scores"] == pytest.approx(prediction["scores"], abs=1e-5)


@pytest.mark.slow
def test_embed_answers_each_line_and_ends_with_its_input(small_bert: Path, tmp_path: Path) -> None:
    with start("embed", small.write_embedder(tmp_path / "model", small_bert)) as process:
        vectors = [ask(process, text)["embedding"] for text in ("A good film.", "bad", "A good film.")]
        process.stdin.close()
        assert (process.wait(300), process.stdout.read(), process.stderr.read()) == (0, b"", b"")
    assert [len(vector) for vector in vectors] == [32, 32, 32]
    assert vectors[0] == vectors[2] != vectors[1]
