"""Runs a checkpoint in sentence-transformers. This module is imported in a process without TensorFlow."""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.interop.reference import ATTENTION

try:
    import sentence_transformers
    from sentence_transformers import CrossEncoder, SentenceTransformer
except ModuleNotFoundError as error:
    raise InputError(
        "verification of a model of sentence-transformers compares with that library, and "
        f'{error.name} is not installed: `pip install "keras_bert_impl[verify]"`.'
    ) from error


def encode(directory: Path, texts: Sequence[str], *, prompt: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors of texts with a prompt before each, ``[texts, size]``, in float32 and in float64."""
    return _run(directory, SentenceTransformer, "encode", list(texts), prompt=prompt)


def predict(directory: Path, pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores that a cross-encoder gives pairs of texts, ``[pairs]``, in float32 and in float64."""
    return _run(directory, CrossEncoder, "predict", list(pairs))


def get_version() -> str:
    """Returns the name and the version of the library."""
    return f"sentence-transformers {sentence_transformers.__version__}"


def _run(directory: Path, kind: Any, method: str, inputs: list[Any], **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Calls a method of the model in float32 and in float64."""
    float32, float64 = (
        getattr(model, method)(inputs, **options, convert_to_tensor=True, show_progress_bar=False).numpy()
        for model in _load(directory, kind)
    )
    return float32, float64


@functools.lru_cache(maxsize=1)
def _load(directory: Path, kind: Any) -> tuple[Any, Any]:
    """Returns the model in float32 and in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The library reads older names of its modules, and warns about them.
        options = {"attn_implementation": ATTENTION, "dtype": "float32"}
        float32, float64 = (kind(str(directory), device="cpu", model_kwargs=options) for _ in range(2))
    return float32, float64.double()
