"""SavedModels with oneDNN's operations, with products in integers, and without either."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import transformers_models
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from keras_bert_impl.cli.main import main
from keras_bert_impl.export import export_model
from keras_bert_impl.export.graphs import inference_weights
from keras_bert_impl.export.saved_model import ONEDNN, list_operations
from keras_bert_impl.export.saved_model import open as open_export
from keras_bert_impl.ops.dense import Int8Kernel, _has_fused_kernel, multiply_int8
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


def test_int8_with_all_else_in_bfloat16(int8_export: Path, sentiment_run: Path, tmp_path: Path) -> None:
    mixed = export_model(sentiment_run, tmp_path / "mixed" / "1", precision="int8-bfloat16").directory
    found, expected = compute(sentiment_run, mixed)
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert count_products(mixed) == count_products(int8_export)
    assert list_layer_norm_dtypes(int8_export) == {types_pb2.DT_FLOAT}
    assert list_layer_norm_dtypes(mixed) == {types_pb2.DT_BFLOAT16}
    # The same integers: they are made from weights that were not rounded to bfloat16.
    assert measure_weights(mixed) == pytest.approx(measure_weights(int8_export), rel=0.01)


def read_functions(export: Path) -> Any:
    """The functions in the graph of a SavedModel."""
    content = saved_model_pb2.SavedModel.FromString((export / "saved_model.pb").read_bytes())
    return content.meta_graphs[0].graph_def.library.function


def list_layer_norm_dtypes(export: Path) -> set[int]:
    """The dtypes in which the graph normalizes layers."""
    functions = read_functions(export)
    return {node.attr["T"].type for function in functions for node in function.node_def if node.op == "_MklLayerNorm"}


def count_products(export: Path) -> int:
    """How often the graph multiplies in integers."""
    # The signatures call one function with the model.
    return max(sum(node.op == "_QuantizedMatMul" for node in function.node_def) for function in read_functions(export))


def test_layers_that_lose_too_much_stay_in_float32(
    int8_export: Path, sentiment_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((int8_export / "assets.extra" / "int8.json").read_text(encoding="utf-8"))
    errors = record["errors"]
    assert count_products(int8_export) == len(errors)
    assert record["not_in_integers"] == []
    middle = float(np.median(list(errors.values())))
    monkeypatch.setattr(inference_weights, "MAX_INT8_ERROR", middle)
    mixed = export_model(sentiment_run, tmp_path / "mixed" / "1", precision="int8").directory
    record = json.loads((mixed / "assets.extra" / "int8.json").read_text(encoding="utf-8"))
    assert record["errors"] == errors
    kept = record["not_in_integers"]
    assert set(kept) == {path for path, error in errors.items() if error > middle}
    assert count_products(mixed) == len(errors) - len(kept) < len(errors)
    (found, expected), (all_int8, _) = compute(sentiment_run, mixed), compute(sentiment_run, int8_export)
    assert np.abs(found - expected).max() < np.abs(all_int8 - expected).max()


def test_the_error_of_a_layer_is_that_of_its_operation() -> None:
    draw = np.random.default_rng(5)
    x, kernel, bias = draw.normal(0, [[1], [3]] * 20, (40, 48)), draw.normal(0, 1, (48, 24)), draw.normal(0, 1, 24)
    x, kernel, bias = (array.astype(np.float32) for array in (x, kernel, bias))
    for lowest, inputs in ((None, x), (-0.17, np.maximum(x, -0.17))):
        recorder = inference_weights._Recorder()
        recorder(inputs)
        prepared = inference_weights._make_int8_kernel(kernel, bias, recorder.largest, lowest)
        int8_kernel = Int8Kernel(*(value if value is None else tf.Variable(value) for value in prepared))
        run = tf.function(lambda x, kernel=int8_kernel: multiply_int8(x, kernel), autograph=False)
        exact = inputs.astype(np.float64) @ kernel + bias
        difference = run(tf.constant(inputs)).numpy() - exact
        expected = np.sqrt((difference**2).mean() / ((exact - exact.mean(axis=0)) ** 2).mean())
        found = inference_weights._compute_error(kernel, bias, prepared, recorder)
        assert found == pytest.approx(expected, rel=0.02)
        assert 0.002 < found < 0.05


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
