"""Chooses the variant of an operation: by Keras' backend, or by the purpose of an export.

An operation has a plain form and a table of variants with these keys: ``"tensorflow"``, ``"jax"`` and ``"torch"`` for
inference on a backend; ``"tensorflow training"`` and so on for training; ``"inference"`` for SavedModels, with weights
that the export prepared; ``"portable"`` for the form that the converters to ONNX, OpenVINO and LiteRT recognize;
``"fused"`` for functions without gradients that TensorFlow runs in this process.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import keras

_scope: ContextVar[tuple[str | None, Mapping[int, Any]]] = ContextVar("scope", default=(None, {}))


def choose(plain: Callable[..., Any], variants: Mapping[str, Callable[..., Any]], *, training: Any = False) -> Any:
    """Returns the variant for the current purpose, otherwise for the backend; ``plain`` if the table has neither."""
    backend = keras.backend.backend()
    key = _scope.get()[0] or (f"{backend} training" if training else backend)
    return variants.get(key, plain)


@contextlib.contextmanager
def use_variants(purpose: str, prepared: Mapping[int, Any] | None = None) -> Iterator[None]:
    """Makes all operations use the variants for ``"inference"``, ``"portable"`` or ``"fused"``.

    ``prepared`` has the weights that a variant uses in place of a layer's own, by the ``id`` of the layer.
    """
    token = _scope.set((purpose, prepared or {}))
    try:
        yield
    finally:
        _scope.reset(token)


def get_prepared(layer: Any) -> Any:
    """Returns the weights that were prepared for a layer."""
    return _scope.get()[1][id(layer)]
