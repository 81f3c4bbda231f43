"""The quick start: end to end on a small random checkpoint, and on the real one."""

import json
from pathlib import Path

import pytest

from keras_bert_impl.cli.main import main
from keras_bert_impl.recipes.quickstart import SENTENCES, quickstart


def test_results_are_reused(sentiment_run: Path, sentiment_export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run and the export are those of the commands; only the prediction in a new process is made again."""
    labels = quickstart(checkpoint="unused", output=sentiment_run, export=sentiment_export)
    printed = capsys.readouterr().out
    assert_results(printed, sentiment_run, labels)
    assert f"{sentiment_run} exists and is reused" in printed
    assert f"{sentiment_export} exists and is reused" in printed


def assert_results(printed: str, output: Path, labels: list[str]) -> None:
    """The lines say the four steps, the metrics of the run and the label of each sentence."""
    metrics = json.loads((output / "metrics.json").read_text())
    for step in ("1. Checkpoint", "2. Fine-tuning", "3. Export", "4. The export in a new process"):
        assert step in printed
    assert f"test: accuracy {metrics['test']['accuracy']:.4f}" in printed
    for answer, sentence, label in zip(printed.splitlines()[-4:], SENTENCES, labels, strict=True):
        assert label in ("negative", "positive")
        assert answer == f"   {label}  {sentence}"


@pytest.mark.slow
def test_end_to_end_and_again(
    small_bert: Path, snippets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, export = tmp_path / "runs" / "sentiment", tmp_path / "saved_models" / "sentiment" / "1"
    labels = quickstart(checkpoint=small_bert, data=snippets, output=output, export=export, epochs=1)
    assert_results(capsys.readouterr().out, output, labels)
    assert json.loads((output / "metrics.json").read_text())["examples"] == {"train": 61, "valid": 23, "test": 17}

    assert quickstart(checkpoint=small_bert, data=snippets, output=output, export=export, epochs=1) == labels
    printed = capsys.readouterr().out
    assert f"{output} exists and is reused" in printed
    assert f"{export} exists and is reused" in printed
    assert_results(printed, output, labels)


@pytest.mark.slow
def test_on_minilm(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["quickstart", "--checkpoint", str(minilm), "--epochs", "3"]) == 0
    metrics = json.loads(Path("runs/sentiment/metrics.json").read_text())
    assert metrics["valid"]["accuracy"] > 0.83
    assert metrics["test"]["accuracy"] > 0.83
    assert metrics["examples"] == {"train": 8452, "valid": 1057, "test": 1057}
    answers = [line.split()[0] for line in capsys.readouterr().out.splitlines()[-4:]]
    assert answers[:2] == ["positive", "negative"]
