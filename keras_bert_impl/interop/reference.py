"""Runs a checkpoint in transformers on torch. This module is imported in a process without TensorFlow."""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.checkpoints.names import find_wrappers, to_torch_names
from keras_bert_impl.checkpoints.weight_files import TRANSFORMERS_WEIGHTS, read_tensors
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source

Arrays = dict[str, Any]

try:
    import torch
    import transformers
    from transformers.utils import logging
except ModuleNotFoundError as error:
    raise InputError(
        f"verification compares with transformers on torch, and {error.name} is not installed: "
        '`pip install "keras_bert_impl[verify]"`.'
    ) from error
except (ImportError, OSError) as error:
    raise InputError(
        f"verification compares with transformers on torch, which cannot be imported: {error}. Install both again: "
        '`pip install --force-reinstall "keras_bert_impl[verify]"`.'
    ) from error

# Plain matrix product and softmax: torch's fused attention sums in another order, and its RMS error to float64 is
# larger by a factor of 1.3.
ATTENTION = "eager"

_ADVICE = "Run `keras-bert convert` and verify its output; this checks everything except reading the original file."

logging.set_verbosity_error()
logging.disable_progress_bar()


def require_classes(names: Sequence[str]) -> None:
    """Raises ``InputError`` if transformers lacks one of these model classes."""
    if missing := [name for name in names if not hasattr(transformers, name)]:
        raise InputError(
            f"transformers has no class {' and no class '.join(missing)} to compare this checkpoint with. To verify "
            "the backbone, save it alone: BertModel.from_pretrained(...).save_pretrained(...)."
        )


def run(name: str, source: Source, inputs: dict[str, np.ndarray]) -> tuple[Arrays, Arrays]:
    """Runs one batch through a BERT model of transformers; the most recent model is cached.

    Args:
        name: the class, for example ``BertForMaskedLM``.
        source: the checkpoint.
        inputs: ``input_ids``, ``token_type_ids`` and ``attention_mask``, integers ``[batch, length]``; for multiple
            choice ``[batch, choices, length]``.

    Returns:
        the outputs in float32 and in float64; ``hidden_states`` is a tuple of arrays, the others are arrays.
    """
    tensors = {name: torch.from_numpy(values).long() for name, values in inputs.items()}
    float32, float64 = (_run(model, tensors) for model in _load(name, source))
    return float32, float64


def tokenize(source: Source, columns: list[list[str]], *, max_length: int) -> dict[str, np.ndarray]:
    """Encodes texts, or pairs of texts as two columns, with the tokenizer that transformers finds in a source."""
    # Not all classes return segments by themselves.
    options = {"truncation": True, "padding": True, "return_tensors": "np", "return_token_type_ids": True}
    return dict(_load_tokenizer(source)(*columns, max_length=max_length, **options))


def list_versions() -> str:
    """Returns the libraries' versions, and which attention is used."""
    return f"transformers {transformers.__version__} on torch {torch.__version__} ({ATTENTION} attention)"


@functools.lru_cache(maxsize=1)
def _load(name: str, source: Source) -> tuple[Any, Any]:
    """Returns the model in float32 and in float64."""
    if not source.weights and not any(source.find_file(name) for name in TRANSFORMERS_WEIGHTS):
        raise InputError(f"transformers finds none of {', '.join(TRANSFORMERS_WEIGHTS)} in {source.name}. {_ADVICE}")
    state = _read(source.weights) if source.weights else _read_merged(name, source) if source.base else None
    if find_wrappers((state or read_tensors(source)).keys(), source=source.name):
        raise InputError(
            f"transformers does not read {source.name}, because the names are those of a wrapper. {_ADVICE}"
        )
    float32 = getattr(transformers, name).from_pretrained(
        None if state else _find_directory(source),
        config=_load_config(source),
        attn_implementation=ATTENTION,
        dtype=torch.float32,
        **({"state_dict": state} if state else {}),
    )
    return float32, copy.deepcopy(float32).double()


@functools.lru_cache(maxsize=1)
def _load_tokenizer(source: Source) -> Any:
    # Pass the configuration, because old tokenizers do not name their model type.
    return transformers.AutoTokenizer.from_pretrained(_find_directory(source), config=_load_config(source))


def _run(model: Any, tensors: dict[str, Any]) -> Arrays:
    with torch.no_grad():
        outputs = model(**tensors, output_hidden_states=True)
    return {
        name: tuple(state.numpy() for state in value) if name == "hidden_states" else value.numpy()
        for name, value in outputs.items()
    }


def _load_config(source: Source) -> Any:
    if source.base:  # Its labels are those of the adapter.
        return transformers.BertConfig.from_dict(BertConfig.from_pretrained(source).to_dict())
    return transformers.BertConfig.from_json_file(source.get_config())


def _find_directory(source: Source) -> Path:
    """Returns the local directory of the files; those of a hub name are in one directory of the hub's cache.

    For an adapter it is the directory of the tokenizer, which most adapters do not have.
    """
    tokenizer = source.base and (source.find_file("tokenizer.json") or source.find_file("vocab.txt"))
    return (tokenizer or source.get_config()).parent


def _read_merged(name: str, source: Source) -> dict[str, Any]:
    """Reads the weights of an adapter merged into its base, by the names that a class of transformers has."""
    prefix = "" if name == "BertModel" else "bert."
    tensors = read_tensors(source)
    if any("/" in key for key in tensors):
        raise InputError(f"The base of {source.name} has weights that PyTorch cannot read. {_ADVICE}")
    backbone = ("embeddings.", "encoder.", "pooler.")
    return {
        (prefix if name.startswith(backbone) else "") + name: torch.tensor(tensors[key])
        for key, name in to_torch_names(tensors.keys(), source=source.name).items()
    }


def _read(weights: Path) -> dict[str, Any]:
    """Reads a weights file that the user named, with torch."""
    if weights.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(weights)
    if weights.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        return torch.load(weights, map_location="cpu", weights_only=True)
    raise InputError(f"transformers cannot read {weights}. {_ADVICE}")
