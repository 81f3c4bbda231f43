"""The layer norm, with less to keep while training."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.layers.base import delayed


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertLayerNorm(keras.layers.LayerNormalization):
    """Keras' layer norm over the last axis; while TensorFlow trains, it keeps its input alone for the gradient.

    Keras' own keeps a second array of that size: a tenth of all that BERT-base keeps. Torch and XLA have kernels.

    >>> import numpy as np
    >>> norm = BertLayerNorm(epsilon=1e-12)
    >>> [round(float(value), 4) for value in norm(np.array([[1.0, 2.0, 3.0]], "float32"), training=True)[0]]
    [-1.2247, 0.0, 1.2247]
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """See the class."""
        if not training or keras.backend.backend() != "tensorflow":
            return super().call(inputs)
        # As arrays: gradients of variables go around a custom gradient.
        return _normalized(self.epsilon)(inputs, ops.copy(self.gamma), ops.copy(self.beta))


def _normalized(epsilon: float) -> Any:
    """The layer norm of ``x`` ``[..., size]`` with ``gamma`` and ``beta`` ``[size]``, computed in float32."""

    @ops.custom_gradient
    def normalized(x: Any, gamma: Any, beta: Any) -> Any:
        mean, variance = ops.moments(ops.cast(x, "float32"), axes=-1, keepdims=True)
        scale = ops.rsqrt(variance + epsilon)

        def gradient(upstream: Any) -> Any:
            upstream = ops.cast(upstream, "float32")
            rows = (ops.cast(delayed(x, upstream), "float32") - mean) * scale
            others = tuple(range(len(x.shape) - 1))
            of_gamma, of_beta = ops.sum(upstream * rows, axis=others), ops.sum(upstream, axis=others)
            upstream *= ops.cast(gamma, "float32")
            level = ops.mean(upstream, axis=-1, keepdims=True)
            slope = ops.mean(upstream * rows, axis=-1, keepdims=True)
            of_x = scale * (upstream - level - rows * slope)
            return ops.cast(of_x, x.dtype), ops.cast(of_gamma, gamma.dtype), ops.cast(of_beta, beta.dtype)

        factor = scale * ops.cast(gamma, "float32")
        result = ops.cast(x, "float32") * factor + (ops.cast(beta, "float32") - mean * factor)
        return ops.cast(result, x.dtype), gradient

    return normalized
