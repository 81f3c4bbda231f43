"""From the states of tokens to one vector per text: pooling and L2 normalization."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_bert_impl.ops.l2_normalization import l2_normalize

# For positions that max pooling leaves out. It is finite, because some runtimes of exports have no infinity.
_LOWEST = -1e9


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class SentencePooling(keras.layers.Layer):
    """Pools the hidden states of the tokens of a text to one vector, as sentence-transformers does.

    With the hidden states h, the pooled tokens p (0 or 1) and the positions i = 1, 2, 3 …, the modes are:

    - ``cls``: the state of the first pooled token;
    - ``max``: the maximum of the states of pooled tokens, in each dimension;
    - ``mean``: Σ p·h / Σ p;
    - ``mean_sqrt_len_tokens``: Σ p·h / √Σ p;
    - ``weightedmean``: Σ i·p·h / Σ i·p;
    - ``lasttoken``: the state of the last pooled token.

    A text without pooled tokens gives zeros, or with ``cls`` its first state. Padding must be on the right.

    Args:
        modes: the modes; their vectors are concatenated.

    Call arguments:
        hidden_states: ``[batch, length, hidden]``.
        attention_mask: int ``[batch, length]``, 1 for tokens and 0 for padding; None means no padding.
        pooling_mask: int ``[batch, length]``, 0 for tokens that are not pooled, such as those of a prompt; None means
            that all tokens are pooled.

    Returns float32 ``[batch, modes * hidden]``.

    Source: https://github.com/huggingface/sentence-transformers (``Pooling``).

    >>> states = ops.array([[[1.0, 8.0], [3.0, 4.0], [0.0, 9.0]]])
    >>> ops.convert_to_numpy(SentencePooling(["mean", "max"])(states, ops.array([[1, 1, 0]]))).tolist()
    [[2.0, 6.0, 3.0, 8.0]]
    """

    def __init__(self, modes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})  # Sums of bfloat16 numbers would not be exact.
        self.modes = tuple(modes)

    def call(self, hidden_states: Any, attention_mask: Any = None, pooling_mask: Any = None) -> Any:
        if attention_mask is None and pooling_mask is None:
            pooled = ops.ones_like(hidden_states[..., 0])  # [batch, length]
        else:
            masks = [ops.cast(mask, "float32") for mask in (attention_mask, pooling_mask) if mask is not None]
            pooled = masks[0] if len(masks) == 1 else masks[0] * masks[1]
        vectors = [_POOLINGS[mode](hidden_states, pooled) for mode in self.modes]
        return vectors[0] if len(vectors) == 1 else ops.concatenate(vectors, axis=-1)

    def compute_output_shape(
        self, hidden_states_shape: Any, attention_mask_shape: Any = None, pooling_mask_shape: Any = None
    ) -> tuple[int | None, ...]:
        """Returns the shape, because Keras cannot infer it if a mask is absent."""
        return (hidden_states_shape[0], len(self.modes) * hidden_states_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "modes": list(self.modes)}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class L2Normalization(keras.layers.Layer):
    """Divides vectors by their L2 norm, ``x / max(‖x‖, 1e-12)``. A vector of zeros remains, with a finite gradient.

    Call arguments:
        vectors: ``[..., dimensions]``.

    Returns float32 ``[..., dimensions]``.

    >>> [round(float(value), 2) for value in L2Normalization()(ops.array([3.0, 4.0]))]
    [0.6, 0.8]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, vectors: Any) -> Any:
        return l2_normalize(vectors)


def _sum_weighted(states: Any, weights: Any, divisor: Any = None) -> Any:
    """Σ weights·states over the positions, divided by ``divisor`` ``[batch, 1]``."""
    # Not a matrix product, which some devices compute with fewer bits.
    total = ops.sum(states * ops.expand_dims(weights, -1), axis=1)
    return total if divisor is None else total / ops.maximum(divisor, 1e-9)


def _count_positions(pooled: Any) -> Any:
    """1, 2, 3 …, float32 ``[1, length]``."""
    return ops.expand_dims(ops.arange(1, ops.shape(pooled)[1] + 1, dtype="float32"), 0)


def _sum_rows(values: Any) -> Any:
    return ops.sum(values, axis=1, keepdims=True)


def _pool_first(states: Any, pooled: Any) -> Any:
    first = ops.expand_dims(ops.argmax(pooled, axis=1), 1)
    positions = ops.expand_dims(ops.arange(ops.shape(pooled)[1], dtype=first.dtype), 0)
    return _sum_weighted(states, ops.cast(ops.equal(positions, first), "float32"))


def _pool_max(states: Any, pooled: Any) -> Any:
    maximum = ops.max(ops.where(ops.expand_dims(pooled, -1) > 0, states, _LOWEST), axis=1)
    return ops.where(_sum_rows(pooled) > 0, maximum, 0.0)


def _pool_mean(states: Any, pooled: Any) -> Any:
    return _sum_weighted(states, pooled, _sum_rows(pooled))


def _pool_mean_sqrt_length(states: Any, pooled: Any) -> Any:
    return _sum_weighted(states, pooled, ops.sqrt(_sum_rows(pooled)))


def _pool_weighted_mean(states: Any, pooled: Any) -> Any:
    weights = pooled * _count_positions(pooled)
    return _sum_weighted(states, weights, _sum_rows(weights))


def _pool_last(states: Any, pooled: Any) -> Any:
    positions = pooled * _count_positions(pooled)
    return _sum_weighted(states, pooled * ops.cast(positions >= ops.max(positions, axis=1, keepdims=True), "float32"))


_POOLINGS = {
    "cls": _pool_first,
    "max": _pool_max,
    "mean": _pool_mean,
    "mean_sqrt_len_tokens": _pool_mean_sqrt_length,
    "weightedmean": _pool_weighted_mean,
    "lasttoken": _pool_last,
}
