"""The optimizer of the torch peers: AdamW without weight decay for biases and layer norms."""

from typing import Any

import torch


def make_torch_adamw(model: Any, *, learning_rate: float, fused: bool, weight_decay: float = 0.01) -> Any:
    """AdamW with the weight decay of BERT; ``fused`` is False by default in torch and True in transformers."""
    without_decay = [name for name, _ in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    groups = [
        {
            "params": [
                parameter for name, parameter in model.named_parameters() if (name in without_decay) == excluded
            ],
            "weight_decay": 0.0 if excluded else weight_decay,
        }
        for excluded in (False, True)
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)
