"""The same checkpoint in transformers on torch, read by its own code."""

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.config import FILE_NAMES
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source

Arrays = dict[str, Any]

try:
    import torch
    import transformers
    from transformers.utils import logging
except ImportError as error:
    raise InputError(
        f"verification compares with transformers on torch, and {error.name} is not installed: "
        '`pip install "keras_bert_impl[verify]"`.'
    ) from error

# What transformers finds in a directory.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")

# The plain product and softmax: torch's fused attention is another order of additions, 1.3 times farther from float64.
ATTENTION = "eager"

_ADVICE = "Verify what `keras-bert convert` makes of it: that compares all but the reading of the file."


class Reference:
    """One of transformers' BERT models in float32 and float64.

    Args:
        name: the class, for example ``BertForMaskedLM``.
        source: where the checkpoint is.
    """

    def __init__(self, name: str, source: Source) -> None:
        where = {"state_dict": _read(source.weights)} if source.weights else {}
        if not source.weights and not any(source.file(name) for name in _WEIGHTS):
            raise InputError(f"transformers finds none of {', '.join(_WEIGHTS)} in {source.name}. {_ADVICE}")
        with _quiet():
            self._float32 = getattr(transformers, name).from_pretrained(
                None if source.weights else _directory(source),
                config=_config(source),
                attn_implementation=ATTENTION,
                dtype=torch.float32,
                **where,
            )
        self._float64 = copy.deepcopy(self._float32).double()

    def __call__(self, inputs: dict[str, np.ndarray]) -> tuple[Arrays, Arrays]:
        """The outputs in float32 and in float64; ``hidden_states`` is a tuple of arrays, the others are arrays."""
        tensors = {name: torch.from_numpy(values).long() for name, values in inputs.items()}
        return _run(self._float32, tensors), _run(self._float64, tensors)


def tokenizer(source: Source) -> Any:
    """The tokenizer that transformers finds in a source."""
    with _quiet():
        # With the configuration given, for old ones do not say which model they are of.
        return transformers.AutoTokenizer.from_pretrained(_directory(source), config=_config(source))


def versions() -> str:
    """What the reference is."""
    return f"transformers {transformers.__version__} on torch {torch.__version__} ({ATTENTION} attention)"


def _run(model: Any, tensors: dict[str, Any]) -> Arrays:
    with torch.no_grad():
        outputs = model(**tensors, output_hidden_states=True)
    return {
        name: tuple(state.numpy() for state in value) if name == "hidden_states" else value.numpy()
        for name, value in outputs.items()
    }


def _config_file(source: Source) -> Path:
    path = next((found for name in FILE_NAMES if (found := source.file(name))), None)
    if path is None:
        raise InputError(f"{source.name} holds neither {' nor '.join(FILE_NAMES)}: it is no BERT checkpoint.")
    return path


def _config(source: Source) -> Any:
    return transformers.BertConfig.from_json_file(_config_file(source))


def _directory(source: Source) -> Path:
    """Where the files are on this machine; those of a hub name lie in one directory of its cache."""
    return _config_file(source).parent


def _read(weights: Path) -> dict[str, Any]:
    """The tensors of a weights file that the user named, read by torch."""
    if weights.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(weights)
    if weights.suffix in (".bin", ".pt", ".pth"):
        return torch.load(weights, map_location="cpu", weights_only=True)
    raise InputError(f"transformers does not read {weights}. {_ADVICE}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the progress bars and load reports of transformers off the terminal: the certificate says all."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
