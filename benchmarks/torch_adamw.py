"""The optimizer of the torch peers: AdamW with weight decay but on biases and layer norms."""

from typing import Any

import torch


def torch_adamw(model: Any, *, learning_rate: float, fused: bool, weight_decay: float = 0.01) -> Any:
    """AdamW as BERT is trained with it; torch's default is not the fused one, transformers' is."""
    undecayed = [name for name, _ in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    groups = [
        {
            "params": [parameter for name, parameter in model.named_parameters() if (name in undecayed) == is_left_out],
            "weight_decay": 0.0 if is_left_out else weight_decay,
        }
        for is_left_out in (False, True)
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)
