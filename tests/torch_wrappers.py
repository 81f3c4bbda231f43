"""What training scripts put around a model, for functions that run in the torch process."""

import functools
from collections.abc import Callable
from typing import Any

import torch

# This backend compiles nothing, which is faster.
compile = functools.partial(torch.compile, backend="eager")


class Lightning(torch.nn.Module):
    """With a tensor next to the model, as in PyTorch Lightning."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("class_weights", torch.ones(5))


class Classifier(torch.nn.Module):
    """A BERT under another name, and the head next to it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.classifier = model.bert, model.classifier


def compile_blocks(model: Any) -> Any:
    """Compiles one block only."""
    layers = model.bert.encoder.layer
    layers[1] = compile(layers[1])
    return model


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "DataParallel": torch.nn.DataParallel,
    "compile": compile,
    "Lightning": Lightning,
    "all of them": lambda model: torch.nn.DataParallel(Lightning(compile(model))),
    "a name for the BERT": Classifier,
    "the name bert twice": lambda model: torch.nn.ModuleDict({"bert": model}),
    "compiled blocks": compile_blocks,
}
