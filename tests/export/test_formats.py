"""Exports for all runtimes, in all precisions, compared with transformers on torch with the same weights."""

import functools
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import transformers_models
from page_code import extract_blocks
from torch_process import run_in_torch_process

from keras_bert_impl.cli.main import main
from keras_bert_impl.errors import InputError
from keras_bert_impl.export import FORMATS, export_model, find_format
from keras_bert_impl.export.graphs import int8
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tokenization import BertTokenizer

WITH_NNCF = pytest.mark.skipif(
    importlib.util.find_spec("nncf") is None, reason="nncf is an extra that the tests do not install"
)
TEXTS = ["A good film.", "", "Naïve, not good – and far too long", "bad 日本", "so dull"]


def compute_logits(run: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The logits of the fine-tuned model in transformers."""
    return transformers_models.compute_outputs("BertForSequenceClassification", run, inputs)["logits"]


@run_in_torch_process
def compute_int8_logits(run: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The same with each matrix rounded to 255 levels per output or token."""
    import torch
    import torch_models

    model = torch_models.load("BertForSequenceClassification", run)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                scale = parameter.abs().amax(1, keepdim=True).double().clamp(min=1e-30) / 127
                parameter.copy_((parameter.double() / scale).round() * scale)
    return torch_models.run(model, inputs)["logits"]


@pytest.fixture(scope="module")
def export(sentiment_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Returns an export of a format in a precision, which is made once."""
    root = tmp_path_factory.mktemp("exports")

    @functools.cache
    def make(name: str, precision: str = "float32") -> Path:
        return export_model(sentiment_run, root / name / precision / "1", format=name, precision=precision).directory

    return make


def run_export(directory: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """An export's logits."""
    kind = find_format(directory)
    assert kind is not None
    return np.asarray(kind.open(directory / kind.file)(inputs)["logits"])


# SavedModels are compared with the Keras model in `test_saved_model.py`, and called from C in `test_stock_runtime.py`.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "saved_model" else ()) for name in FORMATS]
)
def test_float32_gives_the_logits_of_torch(export: Callable[..., Path], sentiment_run: Path, name: str) -> None:
    directory = export(name)
    tokenizer = BertTokenizer.from_pretrained(sentiment_run)
    for texts in (TEXTS, TEXTS[:1], TEXTS[2:4]):
        inputs = tokenizer(texts)
        np.testing.assert_allclose(run_export(directory, inputs), compute_logits(sentiment_run, inputs), atol=1e-5)
    found, expected = (Predictor(source).predict_texts(TEXTS) for source in (directory, sentiment_run))
    assert [prediction["label"] for prediction in found] == [prediction["label"] for prediction in expected]


@pytest.mark.slow
def test_bfloat16_is_near(export: Callable[..., Path], sentiment_run: Path) -> None:
    directory = export("saved_model", "bfloat16")
    inputs = BertTokenizer.from_pretrained(sentiment_run)(TEXTS)
    found, expected = run_export(directory, inputs), compute_logits(sentiment_run, inputs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert np.abs(found - expected).max() > 1e-5
    half, full = (
        (path / "variables" / "variables.data-00000-of-00001").stat().st_size
        for path in (directory, export("saved_model"))
    )
    assert half < 0.6 * full


def test_int8_gives_the_logits_of_rounded_weights(
    sentiment_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "_MIN_SIZE", 1)
    directory = export_model(sentiment_run, tmp_path / "x" / "1", precision="int8-weights").directory
    inputs = BertTokenizer.from_pretrained(sentiment_run)(TEXTS)
    exact = compute_logits(sentiment_run, inputs)
    expected = compute_int8_logits(sentiment_run, inputs)
    np.testing.assert_allclose(run_export(directory, inputs), expected, atol=1e-5)
    assert np.abs(exact - expected).max() > 1e-4
    # An export can be loaded a second time in a process, after the first one is freed.
    np.testing.assert_allclose(run_export(directory, inputs), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "precision", "tolerance", "size"),
    [
        ("openvino", "bfloat16", 0.03, 0.6),
        pytest.param("openvino", "int8-weights", 0.1, 0.7, marks=WITH_NNCF),
        ("onnx", "float16", 0.01, 0.8),
    ],
)
def test_smaller_files_of_other_runtimes(
    export: Callable[..., Path],
    sentiment_run: Path,
    name: str,
    precision: str,
    tolerance: float,
    size: float,
) -> None:
    directory = export(name, precision)
    inputs = BertTokenizer.from_pretrained(sentiment_run)(TEXTS)
    found, expected = run_export(directory, inputs), compute_logits(sentiment_run, inputs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert np.abs(found - expected).max() > 1e-6
    file = "model.onnx" if name == "onnx" else "model.bin"
    smaller, full = ((path / file).stat().st_size for path in (directory, export(name)))
    assert smaller < size * full


def test_openvino_without_nncf(sentiment_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", find_nothing)
    with pytest.raises(InputError, match=r"nncf is not installed, .* Run: pip install 'keras_bert_impl\[nncf\]'"):
        export_model(sentiment_run, tmp_path / "x", format="openvino", precision="int8-weights")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_int8_of_other_runtimes_is_near(export: Callable[..., Path], sentiment_run: Path, name: str) -> None:
    directory = export(name, "int8")
    inputs = BertTokenizer.from_pretrained(sentiment_run)(TEXTS)
    expected = compute_logits(sentiment_run, inputs)
    np.testing.assert_allclose(run_export(directory, inputs), expected, atol=0.1)


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if not kind.takes_text])
def test_the_page_of_an_export_runs(export: Callable[..., Path], sentiment_run: Path, name: str) -> None:
    directory = export(name)
    page = (directory / "README.md").read_text(encoding="utf-8")
    (code,) = extract_blocks(page)
    code += "import json; print(json.dumps(outputs['logits'].tolist()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, check=True)
    shape, values = done.stdout.splitlines()[-2:]
    assert shape == "logits (2, 2)"
    inputs = BertTokenizer.from_pretrained(sentiment_run)(["It was a great movie.", "A dull film."])
    np.testing.assert_allclose(json.loads(values), compute_logits(sentiment_run, inputs), atol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "x --format openvino --precision int8",
            "openvino supports float32 and bfloat16 and int8-weights, not int8, which is supported by saved_model",
        ),
        (
            "x --format onnx --precision bfloat16",
            "onnx supports float32 and float16 and int8, not bfloat16, which is supported by saved_model, openvino",
        ),
        ("x --format litert --attentions", "attention maps are a signature of a SavedModel"),
        ("x/v1", "x/v1 ends in 'v1'"),
    ],
)
def test_options_that_a_format_does_not_support_are_refused(
    sentiment_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    target, *rest = options.split()
    assert main(["export", str(sentiment_run), str(tmp_path / target), *rest]) == 2
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(sentiment_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"tf2onnx is not installed.* pip install 'keras_bert_impl\[onnx\]'"):
        export_model(sentiment_run, tmp_path / "x", format="onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_export_whose_metric_falls_is_refused_unless_forced(
    sentiment_run: Path,
    snippets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The run's most certain predictions as labels: rounding must not change any, and a broken model changes many.
    texts = [row.split("\t")[0] for row in (snippets / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    found = sorted(
        zip(texts, Predictor(sentiment_run).predict_texts(texts), strict=True), key=lambda pair: pair[1]["score"]
    )
    rows = [f"{text}\t{answer['label']}\n" for text, answer in found[len(found) // 2 :]]
    data = tmp_path / "certain.tsv"
    data.write_text("text\tlabel\n" + "".join(rows), encoding="utf-8")
    arguments = [
        "export",
        str(sentiment_run),
        str(tmp_path / "x" / "1"),
        "--precision",
        "int8-weights",
        "--data",
        str(data),
    ]
    monkeypatch.setattr(int8, "_MIN_SIZE", 1)
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"accuracy on \S+certain\.tsv: 1\.0000 before, 1\.0000 after", lines[1])
    # So few levels that the model is broken.
    monkeypatch.setattr(int8, "_LARGEST", 0.2)
    arguments[2] = str(tmp_path / "y" / "1")
    assert main(arguments) == 2
    assert re.search(r"accuracy on \S+ decreases from \S+ to \S+, by more than 0\.005", capsys.readouterr().err)
    assert not (tmp_path / "y").exists()
    assert main([*arguments, "--force"]) == 0
    assert (tmp_path / "y" / "1" / "saved_model.pb").is_file()
