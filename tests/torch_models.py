"""Models of transformers on torch, for functions that run in the torch process."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers_models import LABELS, SIZES

transformers.utils.logging.disable_progress_bar()


def make_config(**changes: Any) -> transformers.BertConfig:
    """Returns transformers' configuration with `transformers_models.SIZES`."""
    values = {**SIZES, "num_labels": LABELS, "attn_implementation": "eager", **changes}
    return transformers.BertConfig(**values)


def randomize(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Adds noise to every parameter, also to those that start at zero or one, and disables dropout."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def make_model(name: str, **changes: Any) -> Any:
    """Returns a model with random weights. Question answering always has two outputs per token."""
    labels = {"num_labels": 2} if name == "BertForQuestionAnswering" else {}
    torch.manual_seed(1)
    return randomize(getattr(transformers, name)(make_config(**labels, **changes)))


def load(name: str, directory: Path, *, allow_extra: bool = False, **options: Any) -> Any:
    """Loads a model. The directory must contain all tensors of the class and, unless ``allow_extra``, no others."""
    model, info = getattr(transformers, name).from_pretrained(
        directory, output_loading_info=True, attn_implementation="eager", **options
    )
    assert not info["missing_keys"], info
    assert allow_extra or not any(info.values()), info
    return model.eval()


_tokenizers: dict[bytes, Any] = {}


def get_tokenizer(description: tuple[Path | None, str, tuple[Any, ...], dict[str, Any]]) -> Any:
    """Returns the tokenizer that a `transformers_models.Tokenizer` describes; created once."""
    key = pickle.dumps(description)
    if key not in _tokenizers:
        directory, kind, added_tokens, settings = description
        tokenizer_class = getattr(transformers, kind)
        tokenizer = tokenizer_class.from_pretrained(directory, **settings) if directory else tokenizer_class(**settings)
        tokenizer.add_tokens(list(added_tokens))
        _tokenizers[key] = tokenizer
    return _tokenizers[key]


def to_tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Converts arrays to tensors, those of integers to int64."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    return {name: tensor if tensor.is_floating_point() else tensor.long() for name, tensor in tensors.items()}


def run(module: Any, arrays: dict[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Runs a model on NumPy arrays; hidden states and attentions are tuples of arrays."""
    with torch.no_grad():
        outputs = module(**to_tensors(arrays), **options)
    return {
        name: tuple(part.numpy() for part in value) if isinstance(value, tuple) else value.numpy()
        for name, value in outputs.items()
    }
