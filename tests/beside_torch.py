"""Random models of transformers on torch, and inputs, to compare ours with. All sizes differ: a swapped axis fails."""

from typing import Any

import numpy as np
import torch
import transformers

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 61,
    "type_vocab_size": 3,
}
BATCH, LENGTH, CHOICES, LABELS = 13, 7, 8, 6


def config(**changes: Any) -> transformers.BertConfig:
    """The sizes as transformers' configuration."""
    values = {**SIZES, "num_labels": LABELS, "attn_implementation": "eager", **changes}
    return transformers.BertConfig(**values)


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Moves every parameter, also those that start at zero or one, and switches dropout off."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


def bert(name: str, **changes: Any) -> Any:
    """A model of transformers with random weights; questions have two outputs a token whatever the labels."""
    labels = {"num_labels": 2} if name == "BertForQuestionAnswering" else {}
    return randomise(getattr(transformers, name)(config(**labels, **changes)))


def inputs(*, choices: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    """Ids, segments and mask, ``[BATCH, LENGTH]``, with padding in most rows; with ``choices`` an axis more."""
    draw = np.random.default_rng(seed)
    shape = (BATCH, CHOICES, LENGTH) if choices else (BATCH, LENGTH)
    lengths = draw.integers(2, LENGTH + 1, (*shape[:-1], 1))
    mask = np.arange(LENGTH) < lengths
    ids = np.where(mask, draw.integers(1, SIZES["vocab_size"], shape), 0)
    arrays = {"input_ids": ids, "token_type_ids": draw.integers(0, 3, shape) * mask, "attention_mask": mask}
    return {name: array.astype("int32") for name, array in arrays.items()}


def run(module: Any, arrays: dict[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """A transformers model on NumPy arrays; tuples of arrays for hidden states and attentions."""
    with torch.no_grad():
        outputs = module(**{name: torch.from_numpy(array).long() for name, array in arrays.items()}, **options)
    return {
        name: tuple(part.numpy() for part in value) if isinstance(value, tuple) else value.numpy()
        for name, value in outputs.items()
    }
