"""Adapters that PEFT trains, and outputs of PEFT's models, in the torch process."""

from pathlib import Path
from typing import Any

import numpy as np
from torch_process import run_in_torch_process


@run_in_torch_process
def train_adapter(
    name: str, base: Path, directory: Path, arrays: dict[str, np.ndarray], *, labels: dict[str, int], **settings: Any
) -> dict[str, np.ndarray]:
    """Trains LoRA for a few steps, and saves the adapter.

    Args:
        name: the class of transformers.
        base: the base model, which may lack the head.
        directory: where to save.
        arrays: the inputs. All outputs are trained to be 1.
        labels: ``num_labels``, or nothing.
        **settings: arguments of ``peft.LoraConfig``.

    Returns:
        the outputs of the trained model.
    """
    import warnings

    import peft
    import torch
    import torch_models
    import transformers

    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    torch.manual_seed(7)
    model = getattr(transformers, name).from_pretrained(base, attn_implementation="eager", **labels)
    model = peft.get_peft_model(model, peft.LoraConfig(**settings))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(7):
        outputs = model.base_model(**torch_models.to_tensors(arrays))
        loss = sum((value - 1).square().mean() for value in outputs.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(directory)
    # PEFT's own class for question answering ignores the segments.
    return torch_models.run(model.base_model.eval(), arrays)


@run_in_torch_process
def compute_outputs(
    name: str, base: Path, adapter: Path, arrays: dict[str, np.ndarray], *, labels: dict[str, int]
) -> dict[str, np.ndarray]:
    """Returns the outputs of a model of transformers with an adapter. A tensor that PEFT misses is an error."""
    import warnings

    import peft
    import torch_models
    import transformers

    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    model = getattr(transformers, name).from_pretrained(base, attn_implementation="eager", **labels)
    return torch_models.run(peft.PeftModel.from_pretrained(model, adapter).base_model.eval(), arrays)
