"""Reads the pairs of code on the pages of docs/migration, and runs them.

A pair is the code of the other library (``theirs``), ours, and the names whose values must be equal.

It imports only NumPy and, where it is used, safetensors, because it also runs in the environments of the other
libraries.
"""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
MIGRATION = ROOT / "docs" / "migration"
RECORDED = ROOT / "tests" / "docs" / "recorded"
TF_CHECKPOINTS = ROOT / "tests" / "checkpoints" / "recorded" / "tensorflow.tar.xz"

_PAIR = re.compile(
    r"""^\#\#\ (?P<title>[^\n]+)\n
    (?:(?!^\#\#\ ).)*?
    ^<div\ class="grid"\ markdown>\n+
    ^```python\ title="(?!keras_bert_impl)[^"]+"\n(?P<theirs>.*?)^```\n+
    ^```python\ title="keras_bert_impl"\n(?P<ours>.*?)^```\n+
    ^</div>\n+
    ^Same\ values:\ (?P<same>[^.]+)\.\n""",
    flags=re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_SCRIPT = re.compile(r'^```python title="\w+\.py"\n(.*?)^```', flags=re.DOTALL | re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Pair:
    """One pair: its heading, the code of both sides, and the names whose values must be equal."""

    title: str
    theirs: str
    ours: str
    same: tuple[str, ...]


# The files of sentence-transformers next to a BERT: mean pooling, normalization, and a prompt for queries.
_EMBEDDER = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 20, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 29, "do_lower_case": False},
    "config_sentence_transformers.json": {"prompts": {"query": "we read . ", "document": "the book . "}},
}
_RERANKER = {
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
}


def copy_files(directory: Path) -> None:
    """Copies the checkpoints that the pages use into a directory."""
    shutil.copytree(RECORDED / "my-bert", directory / "my-bert")
    shutil.copy(RECORDED / "bert.params", directory)
    with tempfile.TemporaryDirectory() as temporary, tarfile.open(TF_CHECKPOINTS) as archive:
        archive.extractall(temporary, filter="data")
        shutil.copytree(Path(temporary) / "BertForSequenceClassification", directory / "my-tf-bert")


def make_sentence_models(directory: Path) -> None:
    """Writes ``my-embedder`` and ``my-reranker``, with the weights of ``my-bert``, next to it."""
    from safetensors.numpy import load_file, save_file

    for name in ("my-embedder", "my-reranker"):
        shutil.copytree(directory / "my-bert", directory / name)
    (directory / "my-embedder" / "1_Pooling").mkdir()
    for name, content in _EMBEDDER.items():
        (directory / "my-embedder" / name).write_text(json.dumps(content), encoding="utf-8")
    config, weights = (directory / "my-reranker" / name for name in ("config.json", "model.safetensors"))
    config.write_text(json.dumps({**json.loads(config.read_text(encoding="utf-8")), **_RERANKER}), encoding="utf-8")
    tensors = load_file(weights)
    tensors |= {name: tensors[name][:1] for name in ("classifier.weight", "classifier.bias")}
    save_file(tensors, weights, metadata={"format": "pt"})


def read_page(page: str) -> str:
    """Returns the Markdown of a page."""
    return (MIGRATION / f"{page}.md").read_text(encoding="utf-8")


def read_pairs(page: str) -> list[Pair]:
    """Returns the pairs of a page, in order; later pairs use the variables of earlier ones."""
    result = [
        Pair(match["title"], match["theirs"], match["ours"], tuple(re.findall(r"`(\w+)`", match["same"])))
        for match in _PAIR.finditer(read_page(page))
    ]
    assert len(result) == read_page(page).count('<div class="grid" markdown>'), f"{page}: a pair has an unexpected form"
    assert all(pair.same for pair in result)
    return result


def run(page: str, side: str) -> list[dict[str, np.ndarray]]:
    """Runs one side of a page, ``theirs`` or ``ours``, from top to bottom; returns the compared values of each pair.

    The scripts of the page, which are blocks titled ``NAME.py``, run before ours. Each runs in a process of its own,
    because torch may crash in one process with TensorFlow.
    """
    names: dict[str, Any] = {"__name__": page}
    if side == "ours":
        run_scripts(page)
    values = []
    for pair in read_pairs(page):
        exec(compile(getattr(pair, side), f"{page}.md, {pair.title}, {side}", "exec"), names)
        values.append({name: to_array(names[name]) for name in pair.same})
    return values


def run_scripts(page: str) -> None:
    """Runs the scripts of a page."""
    for script in _SCRIPT.findall(read_page(page)):
        subprocess.run([sys.executable, "-c", script], check=True)


def compute_fingerprint(page: str) -> str:
    """Returns a hash of the other library's code, to detect a change after its results were recorded."""
    return hashlib.sha256("\n".join(pair.theirs for pair in read_pairs(page)).encode()).hexdigest()


def to_array(value: Any) -> np.ndarray:
    """Converts a number, a list, or a tensor of any library to an array."""
    value = value.detach() if hasattr(value, "detach") else value
    array = np.asarray(value)
    assert array.dtype.kind in "biufU", f"{value!r} cannot be compared"
    return array


def flatten(values: list[dict[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """Returns all values of a page by the names that are used in the recorded files."""
    return {f"{number}_{name}": array for number, pair in enumerate(values) for name, array in pair.items()}
