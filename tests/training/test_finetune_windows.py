"""Training on windows over long texts, from the files to the export: what only the end of a text says is learned."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from page_code import extract_blocks

from keras_bert_impl.cli.main import main
from keras_bert_impl.data import read_table
from keras_bert_impl.errors import Interrupted
from keras_bert_impl.export import export_model
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks.options import ClassificationOptions
from keras_bert_impl.training import FineTuningSettings, finetune

SETTINGS = FineTuningSettings(epochs=6, batch_size=8, learning_rate=3e-3, max_length=15, dropout=0.0)
OPTIONS = ClassificationOptions(stride=4, window_pooling="max", max_windows=5)
# Texts of no words, one window, two windows, and more than can be read.
LONG = ["", "the film", "the film is not good and not bad , it is a film .", "a good film " * 40]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Path:
    """``train.tsv`` and ``valid.tsv``: texts of 21 to 45 words; the last words say what the label is."""
    tokens = (small_bert / "vocab.txt").read_text(encoding="utf-8").split()
    words = [token for token in tokens if token.isalpha() and len(token) > 3][:60]
    draw = np.random.default_rng(1)
    directory = tmp_path_factory.mktemp("data")
    for name, count in {"train": 96, "valid": 24}.items():
        lines = ["text\tlabel"]
        for i in range(count):
            filler = draw.choice(words[2:], draw.integers(18, 43)).tolist()
            text = " ".join([*filler, *[words[i % 2]] * 3])
            lines.append(f"{text}\t{('dull', 'fine')[i % 2]}")
        (directory / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


def train(checkpoint: Path, data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    arguments = {"settings": SETTINGS, "options": OPTIONS, "log": lambda line: None, **changes}
    return finetune(checkpoint, train=data / "train.tsv", valid=data / "valid.tsv", output=output, **arguments)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_bert: Path, data: Path) -> Path:
    output = tmp_path_factory.mktemp("runs") / "windows"
    lines: list[str] = []
    train(small_bert, data, output, log=lines.append)
    assert not any("truncated" in line for line in lines)
    return output


def read_metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def test_the_end_of_texts_is_learned(run: Path) -> None:
    metrics = read_metrics(run)
    assert metrics["valid"]["accuracy"] > 0.9
    assert metrics["options"] == {"stride": 4, "window_pooling": "max", "max_windows": 5}
    # An epoch has 96 / 8 steps: each text counts once.
    assert len(metrics["training_loss"]["loss"]) == 6 * 12


@pytest.mark.slow
def test_without_windows_the_end_is_not_read(small_bert: Path, data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    cut = train(small_bert, data, tmp_path / "cut", options=None, log=lines.append)
    assert lines[0].startswith("train: 96 of 96 texts are longer than 15 tokens and were truncated")
    assert cut["valid"]["accuracy"] < 0.8
    assert "text_windows" not in json.loads((tmp_path / "cut" / "config.json").read_text(encoding="utf-8"))


def test_the_run_predicts_and_evaluates_long_texts(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(run), "--data", str(data / "valid.tsv")]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics.pop("examples") == 24
    assert metrics == pytest.approx(read_metrics(run)["valid"])
    text = read_table(data / "valid.tsv")["text"][1]
    assert main(["predict", str(run), text]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "fine"
    with pytest.warns(UserWarning, match="1 of 4 texts are longer than 5 windows of 15 tokens and were truncated"):
        Predictor(run).predict_texts(LONG)


def serve(export: Path, signature: str, **texts: list[str]) -> dict[str, np.ndarray]:
    loaded = tf.saved_model.load(str(export))
    outputs = loaded.signatures[signature](**{name: tf.constant(values, tf.string) for name, values in texts.items()})
    return {name: values.numpy() for name, values in outputs.items()}


@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_an_export_reads_long_texts(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = export_model(run, tmp_path / "windows" / "1").directory
    texts = [*LONG, *read_table(data / "valid.tsv")["text"][:7]]
    pairs = texts[::-1]
    for arguments in ({"text": texts}, {"text": texts, "text_pair": pairs}):
        expected = Predictor(run).predict_texts(*arguments.values())
        answer = serve(export, "serving_default" if len(arguments) == 1 else "pair", **arguments)
        assert [label.decode() for label in answer["label"]] == [prediction["label"] for prediction in expected]
        scores = [list(prediction["scores"].values()) for prediction in expected]
        np.testing.assert_allclose(answer["scores"], scores, atol=1e-5)
        # The export from ids has a row per window.
        found = [
            list(prediction["scores"].values()) for prediction in Predictor(export).predict_texts(*arguments.values())
        ]
        np.testing.assert_allclose(found, scores, atol=1e-5)
    assert serve(export, "serving_default", text=[])["scores"].shape == (0, 2)
    capsys.readouterr()
    assert main(["serve-check", str(export)]) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
@pytest.mark.parametrize("name", ["onnx", "openvino", "litert"])
def test_formats_with_ids_have_a_row_per_window(run: Path, data: Path, tmp_path: Path, name: str) -> None:
    export = export_model(run, tmp_path / name, format=name).directory
    texts = [*LONG, *read_table(data / "valid.tsv")["text"][:7]]
    expected = Predictor(run).predict_texts(texts)
    scores = [list(prediction["scores"].values()) for prediction in expected]
    found = [list(prediction["scores"].values()) for prediction in Predictor(export).predict_texts(texts)]
    np.testing.assert_allclose(found, scores, atol=1e-5)
    # The README's code pools the logits of windows.
    (code,) = extract_blocks((export / "README.md").read_text(encoding="utf-8"))
    code = code.replace('texts = ["It was a great movie.", "A dull film."]', f"texts = {texts!r}")
    code += "import json; print(json.dumps(outputs['logits'].tolist()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=export, capture_output=True, text=True, check=True)
    logits = np.array(json.loads(done.stdout.splitlines()[-1]))
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    # OpenVINO computes in bfloat16 here.
    np.testing.assert_allclose(exponents / exponents.sum(axis=1, keepdims=True), scores, atol=0.02)


def test_an_export_with_rows_that_are_too_short_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), str(tmp_path / "x" / "1"), "--max-length", "6"]) == 2
    assert "stride is 4, but a window of 6 tokens has space for 4 tokens of a text" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_interrupted_run_is_resumed(run: Path, small_bert: Path, data: Path, tmp_path: Path) -> None:
    def interrupt(batch: int, logs: Any) -> None:
        if batch == 2:
            signal.raise_signal(signal.SIGTERM)

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    with pytest.raises(Interrupted):
        train(small_bert, data, tmp_path / "run", callbacks=[callback])
    resumed = train(small_bert, data, tmp_path / "run", resume=True)
    assert {**resumed, "seconds": 0} == {**read_metrics(run), "seconds": 0}
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_parts_and_replicas_train_like_one_batch(run: Path, small_bert: Path, data: Path, tmp_path: Path) -> None:
    command = (
        f"--train {data}/train.tsv --valid {data}/valid.tsv --epochs 6 --batch-size 8 --dropout 0 --max-length 15 "
    )
    command += "--learning-rate 3e-3 --stride 4 --window-pooling max --max-windows 5 --output"
    start = [sys.executable, "-m", "keras_bert_impl.cli.main", "finetune", str(small_bert), *command.split()]
    expected = read_metrics(run)["training_loss"]["loss"]
    for name, more in {"parts": "--accumulate 2", "replicas": "--strategy mirrored --devices 2"}.items():
        subprocess.run([*start, str(tmp_path / name), *more.split()], check=True, capture_output=True)
        losses = read_metrics(tmp_path / name)["training_loss"]["loss"]
        np.testing.assert_allclose(losses, expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--stride 13", "stride is 13, but a window of 15 tokens has space for 13 tokens of a text"),
        ("--stride -1", "stride is -1; a number of tokens, 0 or more, was expected"),
        (
            "--stride 4 --task tagging",
            "--stride is an option of the tasks classification, multi-label-classification, regression and reranking",
        ),
    ],
)
def test_options_that_cannot_be_used(
    given: str, message: str, small_bert: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", str(small_bert), "--train", str(data / "train.tsv"), "--valid", str(data / "valid.tsv")]
    command += ["--max-length", "15"]
    assert main([*command, "--output", str(tmp_path / "run"), *given.split()]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
