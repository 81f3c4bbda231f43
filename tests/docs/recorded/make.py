"""Writes the files in this directory: a small checkpoint, and the results of other libraries' code for it.

    python make.py checkpoint                # my-bert/ and bert.params; needs torch and transformers 5
    python make.py PAGE [DIRECTORY]          # PAGE.npz and PAGE.json; needs the library of docs/migration/PAGE.md

Each page has its own environment (Python 3.11):

    transformers-4        pip install transformers==4.52.4 tensorflow tf-keras
    sentence-transformers pip install "sentence-transformers[train]==6.2.0"
    keras-hub             pip install tensorflow keras-hub
    pytorch-scripts       pip install torch transformers==5.24.0
    pytorch-transformers  pip install torch pytorch-transformers==1.2.0 safetensors
    run-mlm               pip install torch "transformers>=5"
    d2l                   pip install --no-deps d2l==1.0.3; pip install torch pandas requests ipython matplotlib
                          matplotlib-inline scipy pillow
"""

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from migration_pairs import RECORDED, compute_fingerprint, copy_files, flatten, make_sentence_models, run, run_scripts

# All different, so that a swapped axis fails.
SIZES = {
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 29,
}
WORDS = """
[PAD] [UNK] [CLS] [SEP] [MASK] . , ! ? the a i we he she it was is to in on of and went sat bank river money deposit
water great film movie waste time boring wonderful play ##ed ##ing ##s ##er read book quiet loud plot actor deep
shallow cold warm door shut down by fire then sky green
""".split()
LABELS = ("negative", "neutral", "positive")
LIBRARIES = {
    "transformers-4": ("transformers", "tensorflow", "tf_keras"),
    "sentence-transformers": ("sentence_transformers", "transformers", "torch"),
    "keras-hub": ("keras_hub", "keras", "tensorflow"),
    "pytorch-scripts": ("transformers", "torch"),
    "pytorch-transformers": ("pytorch_transformers", "torch"),
    "run-mlm": ("transformers", "torch"),
    "d2l": ("d2l", "torch"),
}


def make_checkpoint() -> None:
    """Writes a random BERT with the heads for pretraining and classification in transformers' format."""
    import torch
    import transformers

    torch.manual_seed(7)
    # Ten times the usual range, so that such a small network gives different results for different texts.
    config = transformers.BertConfig(
        vocab_size=len(WORDS), **SIZES, initializer_range=0.2, id2label=dict(enumerate(LABELS))
    )
    model = transformers.BertForPreTraining(config)
    model.classifier = torch.nn.Linear(config.hidden_size, len(LABELS))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name or name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    directory = RECORDED / "my-bert"
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    settings = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def make_d2l() -> None:
    """Writes random weights for the book's ``BERTModel``.

    It has no layer norm after the embeddings, and these weights need none: words, positions and segments use separate
    dimensions, each part with mean 0 and a fixed norm, so that every sum has mean 0 and variance 1.
    """
    import torch

    generator = np.random.default_rng(7)
    hidden, intermediate, layers = SIZES["hidden_size"], SIZES["intermediate_size"], SIZES["num_hidden_layers"]

    def make_embedding(rows: int, begin: int, end: int) -> np.ndarray:
        values = np.zeros((rows, hidden))
        part = generator.normal(size=(rows, end - begin))
        part -= part.mean(axis=1, keepdims=True)
        values[:, begin:end] = part * np.sqrt(end - begin) / np.linalg.norm(part, axis=1, keepdims=True)
        return values

    def make_dense(name: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        return {
            f"{name}.weight": generator.normal(scale=0.3, size=(outputs, inputs)),
            f"{name}.bias": generator.normal(scale=0.1, size=outputs),
        }

    def make_norm(name: str) -> dict[str, np.ndarray]:
        return {
            f"{name}.weight": 1 + generator.normal(scale=0.1, size=hidden),
            f"{name}.bias": generator.normal(scale=0.1, size=hidden),
        }

    tensors = {
        "encoder.token_embedding.weight": make_embedding(len(WORDS), 0, 9),
        "encoder.pos_embedding": make_embedding(SIZES["max_position_embeddings"], 9, 17)[None],
        "encoder.segment_embedding.weight": make_embedding(2, 17, hidden),
        **make_dense("hidden.0", hidden, hidden),
        **make_dense("mlm.mlp.0", hidden, hidden),
        **make_norm("mlm.mlp.2"),
        **make_dense("mlm.mlp.3", hidden, len(WORDS)),
        **make_dense("nsp.output", hidden, 2),
    }
    for layer in range(layers):
        block = f"encoder.blks.{layer}"
        for name in ("W_q", "W_k", "W_v", "W_o"):
            tensors |= make_dense(f"{block}.attention.{name}", hidden, hidden)
        tensors |= make_dense(f"{block}.ffn.dense1", hidden, intermediate)
        tensors |= make_dense(f"{block}.ffn.dense2", intermediate, hidden)
        tensors |= make_norm(f"{block}.addnorm1.ln") | make_norm(f"{block}.addnorm2.ln")
    torch.save(
        {name: torch.tensor(array, dtype=torch.float32) for name, array in tensors.items()}, RECORDED / "bert.params"
    )


def prepare_pytorch_transformers() -> None:
    """Converts the checkpoint to the only format that pytorch-transformers reads."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file("my-bert/model.safetensors"), "my-bert/pytorch_model.bin")


def prepare_pytorch_scripts() -> None:
    """Writes the files of the scripts on the page."""
    run_scripts("pytorch-scripts")


def prepare_d2l() -> None:
    """Replaces torchvision, which the book imports for images and its BERT does not need, by empty modules."""
    torchvision = types.ModuleType("torchvision")
    torchvision.transforms = types.ModuleType("transforms")
    sys.modules["torchvision"] = torchvision


def prepare_sentence_transformers() -> None:
    """Writes the directories of an embedding model and of a reranker."""
    make_sentence_models(Path())


PREPARE = {
    "pytorch-scripts": prepare_pytorch_scripts,
    "pytorch-transformers": prepare_pytorch_transformers,
    "sentence-transformers": prepare_sentence_transformers,
    "d2l": prepare_d2l,
}


def record_page(page: str, output: Path) -> None:
    """Runs the other library's code of a page; writes its values, the versions, and the hash of the code."""
    with tempfile.TemporaryDirectory() as scratch:
        copy_files(Path(scratch))
        os.chdir(scratch)
        PREPARE.get(page, lambda: None)()
        values = flatten(run(page, "theirs"))
        os.chdir(output)
    np.savez_compressed(f"{page}.npz", **values)
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in (*LIBRARIES[page], "numpy")}
    record = {"versions": versions, "code": compute_fingerprint(page)}
    Path(f"{page}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for name, array in values.items():
        print(name, array.dtype, array.shape)


if __name__ == "__main__":
    target, *directory = sys.argv[1:]
    if target == "checkpoint":
        make_checkpoint()
        make_d2l()
    else:
        record_page(target, Path(*directory or [RECORDED]).resolve())
