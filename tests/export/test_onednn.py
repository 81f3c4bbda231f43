"""SavedModels with oneDNN's operations, with products in integers, and without either."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import transformers_models

from keras_bert_impl.cli.main import main
from keras_bert_impl.export import export_model
from keras_bert_impl.export.saved_model import ONEDNN, list_operations
from keras_bert_impl.export.saved_model import open as open_export
from keras_bert_impl.ops.dense import _has_fused_kernel
from keras_bert_impl.tokenization import BertTokenizer

TEXTS = ["A good film.", "", "Naïve, not good – and far too long", "bad 日本", "so dull"]
pytestmark = pytest.mark.skipif(not _has_fused_kernel(tf.float32), reason="this TensorFlow has no fused products")


def compute(run: Path, export: Path) -> tuple[np.ndarray, np.ndarray]:
    """The logits of an export, and those of transformers."""
    inputs = BertTokenizer.from_pretrained(run)(TEXTS)
    expected = transformers_models.compute_outputs("BertForSequenceClassification", run, inputs)["logits"]
    return open_export(export / "saved_model.pb")(inputs)["logits"], expected


def measure_weights(export: Path) -> int:
    return (export / "variables" / "variables.data-00000-of-00001").stat().st_size


def run_without_onednn(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keras_bert_impl.cli.main", *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def int8_export(sentiment_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("int8") / "sentiment" / "1"
    return export_model(sentiment_run, directory, precision="int8").directory


def test_int8_computes_in_integers(int8_export: Path, sentiment_run: Path, sentiment_export: Path) -> None:
    found, expected = compute(sentiment_run, int8_export)
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert np.abs(found - expected).max() > 1e-5
    assert list_operations(int8_export / "saved_model.pb") & set(ONEDNN) == {"_QuantizedMatMul", "_MklLayerNorm"}
    assert list_operations(sentiment_export / "saved_model.pb") & set(ONEDNN) == {"_FusedMatMul", "_MklLayerNorm"}
    assert measure_weights(int8_export) < 0.45 * measure_weights(sentiment_export)


def test_serve_check_runs_the_operations(int8_export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve-check", str(int8_export)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ok      oneDNN" in [line[:14] for line in lines]
    assert max(map(len, lines)) <= 80


def test_an_export_for_all_processors(sentiment_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "sentiment" / "1"
    assert main(["export", str(sentiment_run), str(target), "--no-fused"]) == 0
    assert not list_operations(target / "saved_model.pb") & set(ONEDNN)
    np.testing.assert_allclose(*compute(sentiment_run, target), atol=1e-5)


def test_int8_without_fused_operations(sentiment_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "sentiment" / "1"
    assert main(["export", str(sentiment_run), str(target), "--no-fused", "--precision", "int8"]) == 2
    assert "--no-fused was given. Choose int8-weights" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_tensorflow_without_onednn(sentiment_export: Path, sentiment_run: Path, tmp_path: Path) -> None:
    checked = run_without_onednn("serve-check", sentiment_export)
    assert checked.returncode == 1
    assert "Fusion is not implemented" in checked.stdout
    assert "export the model with --no-fused" in " ".join(checked.stdout.split())
    predicted = run_without_onednn("predict", sentiment_export, "A good film.")
    assert predicted.returncode == 2
    assert "export the model with --no-fused" in " ".join(predicted.stderr.split())
    target = tmp_path / "sentiment" / "1"
    assert run_without_onednn("export", sentiment_run, target).returncode == 0
    assert "_FusedMatMul" not in list_operations(target / "saved_model.pb")
