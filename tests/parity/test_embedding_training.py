"""`finetune` of embeddings on JAX and on replicas: the losses and scores of one device, with prompts not pooled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small

from keras_bert_impl import BertForSentenceEmbedding

COMMAND = "import sys; from keras_bert_impl.cli.main import main; sys.exit(main(sys.argv[1:]))"
# Makes every import of TensorFlow fail.
WITHOUT_TENSORFLOW = "import sys; sys.modules['tensorflow'] = None; "
PROMPTS = {"query": "a film: ", "document": "not a book, "}
ROWS = 24


@pytest.mark.slow
def test_training_is_the_same_on_all_devices(tmp_path: Path, small_bert: Path, film_texts: list[str]) -> None:
    embedder = small.write_embedder(tmp_path / "embedder", small_bert, include_prompt=False, prompts=PROMPTS)
    texts, positives = film_texts[:ROWS], film_texts[ROWS : 2 * ROWS]
    assert len({*texts, *positives}) == 2 * ROWS
    rows = [("anchor", "positive"), *zip(texts, positives, strict=True)]
    (tmp_path / "pairs.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    data = [part for name in ("train", "valid") for part in (f"--{name}", tmp_path / "pairs.tsv")]
    # An epoch is one batch.
    settings = ["--epochs", "3", "--batch-size", str(ROWS), "--dropout", "0", "--max-length", "53"]
    settings += ["--learning-rate", "1e-3", "--task", "embedding"]
    runs = {
        "one": ("tensorflow", []),
        "mirrored": ("tensorflow", ["--strategy", "mirrored", "--devices", "2", "--accumulate", "2"]),
        "jax": ("jax", []),
        "parallel": ("jax", ["--strategy", "data-parallel", "--devices", "2"]),
    }
    metrics = {}
    for name, (backend, options) in runs.items():
        code = (WITHOUT_TENSORFLOW if backend == "jax" else "") + COMMAND
        arguments = ["finetune", embedder, *data, *settings, *options, "--output", tmp_path / name]
        environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        metrics[name] = json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8"))

    # Before the first step: cross entropy of the cosines times 20.
    model = BertForSentenceEmbedding.from_pretrained(embedder)
    queries, documents = model.encode_query(texts), model.encode_document(positives)
    pooled = model.encode([PROMPTS["query"] + text for text in texts])
    assert np.abs(queries - pooled).max() > 1e-3
    logits = 20 * np.float64(model.similarity(queries, documents))
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))
    one = metrics["one"]
    losses = one["training_loss"]["loss"]
    assert losses[0] == pytest.approx(expected, rel=1e-5)
    assert losses[-1] < 0.9 * losses[0]
    for name, others in metrics.items():
        np.testing.assert_allclose(others["training_loss"]["loss"], losses, rtol=1e-4, err_msg=name)
        for scores, theirs in zip(one["validation"], others["validation"], strict=True):
            assert theirs == pytest.approx(scores, abs=1e-3), name
    # What was scored is what is saved.
    trained = BertForSentenceEmbedding.from_pretrained(tmp_path / "mirrored")
    assert trained.settings == model.settings
