"""Which token may look at which, as one additive bias for all layers."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.layers.base import BertBaseLayer

# Added to the scores of forbidden pairs: after the softmax exactly 0 beside any allowed pair. float16 ends at 65504.
_FORBIDDEN = {"float16": -3e4}
_FORBIDDEN_ELSE = -1e9


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertAttentionBias(BertBaseLayer):
    """Makes the additive attention bias from the mask, or from the sequences of packed rows.

    Call arguments:
        input_ids: int ``[batch, length]``, for the shape.
        attention_mask: int ``[batch, length]``, 1 for tokens and 0 for padding; None means no padding.
        sequence_ids: int ``[batch, length]``, the number of the sequence that a token of a packed row belongs to,
            0 for padding; None means one sequence a row. Tokens see their own sequence only.

    Returns:
        ``[batch, 1, 1, keys]``, or with ``sequence_ids`` ``[batch, 1, queries, keys]``, in the compute dtype: 0 where
        a query may look at a key, a large negative number elsewhere.

    >>> import numpy as np
    >>> bias = BertAttentionBias()(np.array([[2, 71, 0]]), np.array([[1, 1, 0]]))
    >>> (np.array(bias)[0, 0, 0] < 0).tolist()
    [False, False, True]
    """

    def call(self, input_ids: Any, attention_mask: Any = None, sequence_ids: Any = None) -> Any:
        """See the class."""
        allowed = ops.ones_like(input_ids) if attention_mask is None else attention_mask
        # Not by slices with None, of which converters to other runtimes know few.
        allowed = ops.expand_dims(ops.cast(allowed, "bool"), (1, 2))  # [batch, 1, 1, keys]
        if sequence_ids is not None:
            keys = ops.expand_dims(sequence_ids, (1, 2))
            same = ops.equal(ops.expand_dims(sequence_ids, (1, 3)), keys)
            allowed = allowed & same & ops.not_equal(keys, 0)  # [batch, 1, queries, keys]
        forbidden = _FORBIDDEN.get(self.compute_dtype, _FORBIDDEN_ELSE)
        return (1 - ops.cast(allowed, self.compute_dtype)) * forbidden
