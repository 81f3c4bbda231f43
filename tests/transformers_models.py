"""Random BERT models of transformers, and inputs, as a reference. All sizes differ, so that a swapped axis fails.

The functions run in the torch process. `torch_models` has the models for functions that already run there.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from torch_process import run_in_torch_process

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 61,
    "type_vocab_size": 3,
}
# All model classes, here and in transformers.
CLASSES = [
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertForMultipleChoice",
]
BATCH, LENGTH, CHOICES, LABELS = 13, 7, 8, 6


def make_inputs(*, choices: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns ids, segments and mask, int32 ``[BATCH, LENGTH]``; ``choices`` adds an axis. Most rows are padded."""
    rng = np.random.default_rng(seed)
    shape = (BATCH, CHOICES, LENGTH) if choices else (BATCH, LENGTH)
    lengths = rng.integers(2, LENGTH + 1, (*shape[:-1], 1))
    mask = np.arange(LENGTH) < lengths
    ids = np.where(mask, rng.integers(1, SIZES["vocab_size"], shape), 0)
    arrays = {"input_ids": ids, "token_type_ids": rng.integers(0, 3, shape) * mask, "attention_mask": mask}
    return {name: array.astype("int32") for name, array in arrays.items()}


@run_in_torch_process
def save(name: str, directory: Path, *, dtype: str = "float32", max_shard_size: str = "5GB", **changes: Any) -> None:
    """Creates a random model of a class and saves it with ``save_pretrained``."""
    import torch
    import torch_models

    torch_models.make_model(name, **changes).to(getattr(torch, dtype)).save_pretrained(
        directory, max_shard_size=max_shard_size
    )


@run_in_torch_process
def make_state_dict(name: str, **changes: Any) -> dict[str, np.ndarray]:
    """Returns the tensors of a random model of a class under all their names, also tied weights."""
    import torch_models

    return {key: tensor.numpy() for key, tensor in torch_models.make_model(name, **changes).state_dict().items()}


@run_in_torch_process
def compute_outputs(
    name: str,
    directory: Path,
    arrays: dict[str, np.ndarray],
    *,
    allow_extra: bool = False,
    changes: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Returns the outputs of a saved model; hidden states and attentions are tuples of arrays.

    Args:
        name: the class of the model.
        directory: where the model is.
        arrays: the inputs.
        allow_extra: whether the directory may contain more tensors than the class needs.
        changes: settings to change in the configuration.
        **options: arguments of the call.
    """
    import torch_models

    return torch_models.run(
        torch_models.load(name, directory, allow_extra=allow_extra, **(changes or {})), arrays, **options
    )


@run_in_torch_process
def load_state_dict(name: str, directory: Path, *, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Returns the tensors of a saved model, loaded in a precision."""
    import torch
    import torch_models

    model = torch_models.load(name, directory, dtype=getattr(torch, dtype))
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


class Tokenizer:
    """A tokenizer of transformers in the torch process, with the attributes and methods of the original.

    Args:
        directory: where its files are; None creates it from ``settings``.
        kind: its class.
        added_tokens: tokens to add.
        **settings: arguments of the class or of ``from_pretrained``.
    """

    def __init__(
        self, directory: Path | None = None, *, kind: str = "AutoTokenizer", added_tokens: Any = (), **settings: Any
    ) -> None:
        self._description = (directory, kind, tuple(added_tokens), settings)

    def __call__(self, *texts: Any, **options: Any) -> dict[str, Any]:
        """Ids, segments and mask of texts, by name."""
        return _use_tokenizer(self._description, "__call__", texts, options)

    def __len__(self) -> int:
        return _use_tokenizer(self._description, "__len__", (), {})

    def __getattr__(self, name: str) -> Any:
        is_method, value = _get_tokenizer_attribute(self._description, name)
        return functools.partial(self._run, name) if is_method else value

    def _run(self, method: str, *arguments: Any, **options: Any) -> Any:
        return _use_tokenizer(self._description, method, arguments, options)


@run_in_torch_process
def _use_tokenizer(
    description: tuple[Any, ...], method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    import torch_models
    import transformers

    result = getattr(torch_models.get_tokenizer(description), method)(*arguments, **options)
    return dict(result) if isinstance(result, transformers.BatchEncoding) else result


@run_in_torch_process
def _get_tokenizer_attribute(description: tuple[Any, ...], name: str) -> tuple[bool, Any]:
    import torch_models

    value = getattr(torch_models.get_tokenizer(description), name)
    return callable(value), None if callable(value) else value
