"""Chooses the variant of an operation: by Keras' backend, or by the purpose of an export.

An operation has a plain form and a table of variants with these keys: ``"tensorflow"``, ``"jax"`` and ``"torch"`` for
inference on a backend; ``"tensorflow training"`` and so on for training; ``"inference"`` for SavedModels, with weights
that the export prepared; ``"portable"`` for the form that the converters to ONNX, OpenVINO and LiteRT recognize;
``"fused"`` for functions without gradients on TensorFlow, with operations that not every TensorFlow has; ``"int8"`` for
products in integers.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import keras

_scope: ContextVar[tuple[tuple[str, ...], Mapping[int, Any]]] = ContextVar("scope", default=((), {}))


def choose(plain: Callable[..., Any], variants: Mapping[str, Callable[..., Any]], *, training: Any = False) -> Any:
    """Returns the variant for the first of the current purposes that has one; without purposes for the backend.

    If the table has none, it is ``plain``.
    """
    backend = keras.backend.backend()
    keys = _scope.get()[0] or (f"{backend} training" if training else backend,)
    return next((variants[key] for key in keys if key in variants), plain)


@contextlib.contextmanager
def use_variants(*purposes: str, prepared: Mapping[int, Any] | None = None) -> Iterator[None]:
    """Makes all operations use the variants for ``"inference"``, ``"portable"``, ``"fused"`` or ``"int8"``.

    Of several purposes, an operation uses the first for which it has a variant. ``prepared`` has the weights that a
    variant uses in place of a layer's own, by the ``id`` of the layer.
    """
    token = _scope.set((purposes, prepared or {}))
    try:
        yield
    finally:
        _scope.reset(token)


def find_prepared(layer: Any) -> Any:
    """Returns the weights that were prepared for a layer; None if there are none."""
    return _scope.get()[1].get(id(layer))
