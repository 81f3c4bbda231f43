"""Each verb on typical input."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import small
import transformers_models

from keras_bert_impl.export import FORMATS
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks import TASKS

Run = Callable[..., Any]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Gives bytes as standard input."""
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def parse_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_convert_writes_files_that_transformers_opens(run: Run, small_bert: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "bert"
    ran = run("convert", small_bert, target)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        str(small_bert),
        "  39 tensors loaded, 50,858 parameters",
        f"written to {target}",
    ]
    assert sum(array.size for array in transformers_models.load_state_dict("BertModel", target).values()) == 50_858
    text = "A good film 😀"
    assert transformers_models.Tokenizer(target)(text) == transformers_models.Tokenizer(small_bert)(text)


def test_convert_lists_all_tensors(run: Run, small_bert: Path, tmp_path: Path) -> None:
    ran = run("convert", small_bert / "model.safetensors", tmp_path / "bert", "--all", "--strict")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 40
    assert re.search(r"^embeddings\.word_embeddings\.weight +997×32 +loaded$", ran.out, re.MULTILINE)


def test_lines_that_finetune_prints(sentiment_run: Path, small_bert: Path) -> None:
    lines = sentiment_run.with_name("lines.txt").read_text(encoding="utf-8").splitlines()
    metrics = json.loads((sentiment_run / "metrics.json").read_text())
    truncated = "texts are longer than 29 tokens and were truncated; predictions read up to 131 tokens."
    assert lines[0] == f"train: 52 of 61 {truncated}"
    assert lines[3:8] == [
        str(small_bert),
        "  39 tensors loaded, 50,858 parameters",
        "  2 newly initialized: not in the file",
        "    classifier.weight  32×2",
        "    classifier.bias  2",
    ]
    assert lines[8] == "Epoch 1/12"
    assert "val_accuracy: {:.4f}".format(metrics["validation"][11]["accuracy"]) in lines[-4]
    for split, line in zip(("valid", "test"), lines[-3:-1], strict=True):
        assert line == f"{split}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics[split].items())
    assert lines[-1] == f"written to {sentiment_run}"


@pytest.mark.filterwarnings("default")
def test_evaluate_prints_the_metrics_of_the_run(run: Run, sentiment_run: Path, snippets: Path) -> None:
    ran = run("evaluate", sentiment_run, "--data", snippets / "test.tsv", "--max-length", "29")
    assert ran.code == 0
    expected = json.loads((sentiment_run / "metrics.json").read_text())["test"]
    assert json.loads(ran.out) == {"examples": 17, **expected}
    assert ran.err == "keras-bert: warning: 16 of 17 texts are longer than 29 tokens and were truncated.\n"


def test_evaluate_on_an_export_and_columns_with_other_names(run: Run, sentiment_export: Path, tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    path.write_text('film,verdict\n"good, and bad",positive\nbad,negative\n')
    ran = run("evaluate", sentiment_export, "--data", path, "--text-column", "film", "--label-column", "verdict")
    assert (json.loads(ran.out)["examples"], ran.err) == (2, "")


def test_evaluate_counts_examples_without_locations(
    run: Run, sentiment_run: Path, snippets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is added may lack the key ``location`` in its examples."""

    def read_examples(*_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        yield from ({"text": text, "label": label} for text, label in [("good", "positive"), ("bad", "negative")])

    monkeypatch.setattr(type(TASKS["classification"]), "read_examples", read_examples)
    ran = run("evaluate", sentiment_run, "--data", snippets / "test.tsv")
    assert (ran.code, json.loads(ran.out)["examples"]) == (0, 2)


@pytest.mark.parametrize("name", FORMATS)
def test_predict_starts_the_framework_of_the_export(
    run: Run, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr("keras_bert_impl.cli.predict.start_framework", started.append)
    (tmp_path / FORMATS[name].file).touch()
    assert run("predict", tmp_path, "text").code == 2  # The export has no configuration.
    assert started == ([FORMATS[name].framework] if FORMATS[name].framework else [])
    assert ("tensorflow" in started) == (name == "saved_model")


@pytest.mark.parametrize("source", ["sentiment_run", pytest.param("sentiment_export", marks=pytest.mark.slow)])
def test_predict_takes_arguments_files_and_standard_input(
    run: Run, stdin: Callable[[bytes], None], tmp_path: Path, source: str, request: pytest.FixtureRequest
) -> None:
    directory = request.getfixturevalue(source)
    texts = ["A good film.", "", "so bad 😀"]
    expected = Predictor(directory).predict_texts(texts)
    assert parse_lines(run("predict", directory, *texts).out) == expected
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text, "label": "unknown"}) + "\n" for text in texts))
    assert parse_lines(run("predict", directory, "--file", file).out) == expected
    for ending in ("\n", "\r\n"):
        stdin(ending.join([*texts, ""]).encode())
        ran = run("predict", directory)
        assert (parse_lines(ran.out), ran.err) == (expected, "")
    pairs = Predictor(directory).predict_texts(["one", "two"], ["first", ""])
    assert parse_lines(run("predict", directory, "one\tfirst", "two\t").out) == pairs


@pytest.mark.parametrize(
    ("data", "count"), [(b"", 0), (b"\n", 1), (b"\n\n", 2), (b"no newline", 1), (b"\xef\xbb\xbfBOM\n", 1)]
)
def test_predict_prints_a_line_for_each_line(
    run: Run, stdin: Callable[[bytes], None], sentiment_run: Path, data: bytes, count: int
) -> None:
    stdin(data)
    ran = run("predict", sentiment_run)
    assert (ran.code, len(parse_lines(ran.out)), ran.err) == (0, count, "")


def test_predict_into_a_closed_pipe(sentiment_export: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        ran = run("predict", sentiment_export, *["good"] * 300)
    assert (ran.code, ran.err) == (141, "")


@pytest.mark.slow
def test_predict_takes_what_export_writes(run: Run, sentiment_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "saved_models" / "sentiment" / "3"
    ran = run("export", sentiment_run, target)
    compared, written = ran.out.splitlines()
    assert re.fullmatch(
        r"on 32 film snippets the outputs differ from the float32 model's by at most \d\.\de-\d\d", compared
    )
    assert (ran.code, written, ran.err) == (0, f"written to {target}", "")
    assert parse_lines(run("predict", target, "good").out)[0]["label"] in ("negative", "positive")


@pytest.mark.slow
def test_other_backends_predict_with_exports_but_cannot_write_them(sentiment_export: Path, sentiment_run: Path) -> None:
    program = """
import sys
from keras_bert_impl.cli.main import main

run, export, target = sys.argv[1:]
assert main(["predict", export, "good"]) == 0
assert main(["predict", run, "good"]) == 0
assert main(["export", run, target]) == 2
"""
    target = sentiment_run.parent / "model" / "1"
    command = [sys.executable, "-c", program, str(sentiment_run), str(sentiment_export), str(target)]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    exported, trained = parse_lines(result.stdout)
    assert trained["scores"] == pytest.approx(exported["scores"], abs=1e-5)
    assert result.stderr == (
        "keras-bert: error: exports need TensorFlow, but Keras uses the backend jax. Set KERAS_BACKEND=tensorflow.\n"
    )
    assert not target.parent.exists()


@pytest.mark.slow
def test_ctrl_c_saves_and_exits(small_bert: Path, snippets: Path, tmp_path: Path) -> None:
    arguments = small.make_finetune_arguments(small_bert, snippets, tmp_path / "runs" / "long", "--epochs", "100000")
    # A process that a shell started in the background ignores Ctrl-C by default.
    code = (
        "import signal; from keras_bert_impl.cli.main import run_command; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); run_command()"
    )
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Epoch 3/"):
                break
        assert (tmp_path / "runs" / ".long.partial" / "model.safetensors").exists()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    step = re.search(r"interrupted; the state after step (\d+) was saved; --resume continues from it\n$", errors)[1]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".long.partial"]
    states = tmp_path / "runs" / ".long.partial" / "states"
    assert [path.name for path in states.iterdir()] == [f"step-{int(step):012}.safetensors"]
