"""Writes the archives in this directory: checkpoints of other libraries, and the outputs of their models.

    python make.py tensorflow     # pip install transformers==4.52.4 tensorflow==2.21.0 tf-keras==2.21.0
    python make.py flax           # pip install transformers==4.52.4 flax==0.10.2 jax==0.4.38 jaxlib==0.4.38
    python make.py keras_nlp      # pip install keras==3.3.3 keras-nlp==0.12.1 tensorflow==2.16.2

The last one is the preset of a classifier, as it was before Keras wrote the names of layers. Each of the others
contains ``inputs.npz``, ``versions.json``, and for each class a directory of that name with the files of
``save_pretrained`` and ``outputs.npz``; ``sharded`` is ``BertForPreTraining`` again, in several files.
"""

import importlib.metadata
import io
import json
import os
import platform
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
VOCABULARY = HERE.parents[1] / "docs" / "recorded" / "my-bert" / "vocab.txt"
CLASSES = (
    *("BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction"),
    *("BertForSequenceClassification", "BertForTokenClassification", "BertForQuestionAnswering"),
    "BertForMultipleChoice",
)
LIBRARIES = {
    "tensorflow": ("transformers", "tensorflow", "tf_keras"),
    "flax": ("transformers", "flax", "jax", "jaxlib"),
    "keras_nlp": ("keras_nlp", "keras", "tensorflow"),
}
# All different, so that a swapped axis fails.
SIZES = {
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 29,
    "type_vocab_size": 2,
}
BATCH, CHOICES, LENGTH, LABELS = 7, 8, 11, 6
MAX_SHARD_SIZE = "20KB"


def make_inputs(vocab_size: int, *, choices: bool) -> dict[str, np.ndarray]:
    """Returns ids, segments and mask, int32 ``[BATCH, LENGTH]``; ``choices`` adds an axis. Most rows are padded."""
    rng = np.random.default_rng(3)
    shape = (BATCH, CHOICES, LENGTH) if choices else (BATCH, LENGTH)
    mask = np.arange(LENGTH) < rng.integers(2, LENGTH + 1, (*shape[:-1], 1))
    ids = rng.integers(1, vocab_size, shape) * mask
    arrays = {"input_ids": ids, "token_type_ids": rng.integers(0, 2, shape) * mask, "attention_mask": mask}
    return {name: array.astype("int32") for name, array in arrays.items()}


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random weights, the same for the same name: large, so that such a small network depends on its input."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    is_scale = name.endswith(("gamma", "scale"))
    return (is_scale + rng.normal(scale=0.1 if is_scale or len(shape) == 1 else 0.2, size=shape)).astype("float32")


def make_tensorflow(name: str, config: Any, arrays: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """Returns a random ``TFBert…`` and its outputs."""
    import transformers

    model = getattr(transformers, f"TF{name}")(config)
    model(arrays)  # It creates the weights.
    for weight in model.weights:
        weight.assign(draw(weight.name.split("/", 1)[1].removesuffix(":0"), tuple(weight.shape)))
    return model, model(arrays, output_hidden_states=name == "BertModel")


def make_flax(name: str, config: Any, arrays: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """Returns a random ``FlaxBert…`` and its outputs."""
    import transformers
    from flax.traverse_util import flatten_dict, unflatten_dict

    model = getattr(transformers, f"Flax{name}")(config)
    flat = flatten_dict(model.params, sep="/")
    drawn = {key: draw(key.removeprefix("bert/"), array.shape) for key, array in flat.items()}
    model.params = unflatten_dict(drawn, sep="/")
    return model, model(**arrays, output_hidden_states=name == "BertModel")


def list_arrays(outputs: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the outputs, each hidden state by its number."""
    for name, value in outputs.items():
        if name == "hidden_states":
            yield from ((f"hidden_states_{number}", np.asarray(state)) for number, state in enumerate(value))
        else:
            yield name, np.asarray(value)


def write_keras_nlp(directory: Path) -> None:
    """Writes the preset of a classifier, its inputs and its outputs."""
    import keras_nlp

    words = VOCABULARY.read_text(encoding="utf-8").splitlines()
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=len(words),
        hidden_dim=SIZES["hidden_size"],
        num_layers=SIZES["num_hidden_layers"],
        num_heads=SIZES["num_attention_heads"],
        intermediate_dim=SIZES["intermediate_size"],
        max_sequence_length=SIZES["max_position_embeddings"],
        num_segments=SIZES["type_vocab_size"],
    )
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=words, lowercase=True)
    preprocessor = keras_nlp.models.BertPreprocessor(tokenizer, sequence_length=LENGTH)
    model = keras_nlp.models.BertClassifier(backbone, num_classes=LABELS, preprocessor=preprocessor)
    for weight in model.weights:
        weight.assign(draw(weight.path, tuple(weight.shape)))
    inputs = make_inputs(len(words), choices=False)
    names = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
    model.save_to_preset(str(directory / "preset"))
    np.savez(directory / "inputs.npz", **inputs)
    outputs = model({theirs: inputs[ours] for theirs, ours in names.items()})
    np.savez(directory / "preset" / "outputs.npz", logits=np.asarray(outputs))


def write_transformers(library: str, directory: Path) -> None:
    """Writes the files and the outputs of each class."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import transformers

    vocab_size = len(VOCABULARY.read_text(encoding="utf-8").splitlines())
    config = transformers.BertConfig(vocab_size=vocab_size, **SIZES)
    labels = transformers.BertConfig(
        vocab_size=vocab_size, **SIZES, id2label={number: f"label {number}" for number in range(LABELS)}
    )
    inputs = {choices: make_inputs(vocab_size, choices=choices) for choices in (False, True)}
    np.savez(directory / "inputs.npz", **inputs[False])
    np.savez(directory / "choices.npz", **inputs[True])
    for name in CLASSES:
        make = {"tensorflow": make_tensorflow, "flax": make_flax}[library]
        model, outputs = make(
            name,
            labels if name in ("BertForSequenceClassification", "BertForTokenClassification") else config,
            inputs[name == "BertForMultipleChoice"],
        )
        model.save_pretrained(directory / name)
        (directory / name / "vocab.txt").write_bytes(VOCABULARY.read_bytes())
        np.savez(directory / name / "outputs.npz", **dict(list_arrays(outputs)))
        if name == "BertForPreTraining":
            model.save_pretrained(directory / "sharded", max_shard_size=MAX_SHARD_SIZE)


def write(library: str, directory: Path) -> None:
    """Writes the content of the archive."""
    if library == "keras_nlp":
        write_keras_nlp(directory)
    else:
        write_transformers(library, directory)
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in (*LIBRARIES[library], "numpy")}
    (directory / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")


def pack(directory: Path, archive: Path) -> None:
    """Packs a directory without times and owners, so that the same content gives the same bytes."""
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(path.relative_to(directory).as_posix())
            entry.size = path.stat().st_size
            tar.addfile(entry, io.BytesIO(path.read_bytes()))


if __name__ == "__main__":
    (library,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        write(library, Path(temporary))
        pack(Path(temporary), HERE / f"{library}.tar.xz")
