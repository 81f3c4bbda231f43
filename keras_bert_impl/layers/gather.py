"""Picking token positions out of every row of a batch."""

from typing import Any

from keras import ops


def gather_positions(hidden_states: Any, positions: Any) -> Any:
    """The vectors that stand at ``positions`` of each row.

    One flat ``take`` on ``[batch * length, hidden]``: ``take_along_axis`` would broadcast the indices over the hidden
    size.

    Args:
        hidden_states: ``[batch, length, hidden]``.
        positions: ``[batch, picked]``, int, each below ``length``.

    Returns:
        ``[batch, picked, hidden]``.
    """
    batch, length, hidden = ops.shape(hidden_states)
    flat = ops.reshape(hidden_states, (-1, hidden))
    starts = ops.expand_dims(ops.arange(batch, dtype="int32") * length, axis=1)  # [batch, 1]
    return ops.take(flat, ops.cast(positions, "int32") + starts, axis=0)
