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
    """The sizes as transformers' configuration."""
    values = {**SIZES, "num_labels": LABELS, "attn_implementation": "eager", **changes}
    return transformers.BertConfig(**values)


def randomize(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Moves every parameter, also those that start at zero or one, and switches dropout off."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def make_model(name: str, **changes: Any) -> Any:
    """A model with random weights; question answering has two outputs per token, whatever the labels."""
    labels = {"num_labels": 2} if name == "BertForQuestionAnswering" else {}
    torch.manual_seed(1)
    return randomize(getattr(transformers, name)(make_config(**labels, **changes)))


def load(name: str, directory: Path, *, allow_extra: bool = False, **options: Any) -> Any:
    """The model in a directory. Everything that the class needs must be there, and nothing else, unless ``allow_extra``."""
    model, info = getattr(transformers, name).from_pretrained(
        directory, output_loading_info=True, attn_implementation="eager", **options
    )
    assert not info["missing_keys"], info
    assert allow_extra or not any(info.values()), info
    return model.eval()


_tokenizers: dict[bytes, Any] = {}


def get_tokenizer(made_from: tuple[Path | None, str, tuple[Any, ...], dict[str, Any]]) -> Any:
    """The tokenizer that `transformers_models.Tokenizer` stands for; made once."""
    key = pickle.dumps(made_from)
    if key not in _tokenizers:
        directory, kind, added_tokens, settings = made_from
        make = getattr(transformers, kind)
        made = make.from_pretrained(directory, **settings) if directory else make(**settings)
        made.add_tokens(list(added_tokens))
        _tokenizers[key] = made
    return _tokenizers[key]


def to_tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Inputs as torch takes them."""
    return {name: torch.from_numpy(np.array(array)).long() for name, array in arrays.items()}


def run(module: Any, arrays: dict[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Runs a model on NumPy arrays; tuples of arrays for hidden states and attentions."""
    with torch.no_grad():
        outputs = module(**to_tensors(arrays), **options)
    return {
        name: tuple(part.numpy() for part in value) if isinstance(value, tuple) else value.numpy()
        for name, value in outputs.items()
    }
