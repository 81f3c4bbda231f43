"""Less padding: inputs are cut to their longest row, and rows are computed in groups of similar length."""

import functools
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from keras import ops

from keras_bert_impl.ops.variants import choose


def cut_padding(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Cuts inputs ``[rows, length]`` to the longest row, if there are attention masks among them."""
    masks = [mask for name, mask in inputs.items() if name.startswith("attention_mask")]
    if not masks:
        return dict(inputs)
    longest = functools.reduce(ops.maximum, [ops.max(ops.sum(mask, axis=1), initial=1) for mask in masks])
    return {name: values[:, :longest] for name, values in inputs.items()}


def apply_in_groups(
    function: Callable[[dict[str, Any]], Any], inputs: dict[str, Any], groups: int, *, training: Any = False
) -> Any:
    """Applies a function of independent rows to consecutive groups of rows, each without the padding it does not need.

    The plain form applies it to all rows at once: a compiled function of JAX has constant shapes.

    Args:
        function: returns a row of a result for each row of its inputs.
        inputs: ``input_ids``, ``attention_mask`` and so on, each ``[rows, length]``; sorted by length, so that the rows
            of a group have similar lengths.
        groups: the number of groups, of about the same number of rows.
        training: whether the function is trained.

    Returns:
        The rows of the results, in the order of the inputs.
    """
    variants = {
        "tensorflow": _apply_traced_once,
        "tensorflow training": _apply_traced_once,
        "torch": _apply_trimmed,
        "torch training": _apply_trimmed,
    }
    return choose(_apply_at_once, variants, training=training)(function, inputs, groups)


def _apply_at_once(function: Callable[[dict[str, Any]], Any], inputs: dict[str, Any], groups: int) -> Any:
    return function(inputs)


def _apply_traced_once(function: Callable[[dict[str, Any]], Any], inputs: dict[str, Any], groups: int) -> Any:
    import tensorflow as tf

    # As a function of its own, a model is traced once instead of once for each group.
    return _apply_trimmed(tf.function(function, autograph=False, reduce_retracing=True), inputs, groups)


def _apply_trimmed(function: Callable[[dict[str, Any]], Any], inputs: dict[str, Any], groups: int) -> Any:
    rows = ops.shape(next(iter(inputs.values())))[0]
    if isinstance(rows, int):
        groups = min(groups, rows)  # Keras' torch backend warns of empty groups.
    cuts = [rows * n // groups for n in range(groups + 1)]
    parts = [{name: values[begin:end] for name, values in inputs.items()} for begin, end in pairwise(cuts)]
    return ops.concatenate([function(cut_padding(part)) for part in parts], axis=0)
