"""Losses and metrics of several tasks."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.ops.cross_entropy import cross_entropy


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class MeanCrossEntropy(keras.losses.Loss):
    """The mean cross entropy of the predictions whose weight is not 0; computed in float32 in every precision.

    >>> import numpy as np
    >>> loss = MeanCrossEntropy()
    >>> round(float(loss(np.array([[3, 0]]), np.zeros((1, 2, 7), "float32"), np.array([[1.0, 0.0]]))), 4)
    1.9459
    """

    def __init__(self, name: str = "cross_entropy", dtype: Any = "float32") -> None:
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See `cross_entropy`."""
        return cross_entropy(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"name": self.name, "dtype": "float32"}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BinaryCrossEntropy(keras.losses.Loss):
    """The binary cross entropy of logits with labels from 0 to 1; computed in float32 in every precision.

    Args:
        pos_weight: factor of the loss of relevant pairs: ``pos_weight`` of torch's ``BCEWithLogitsLoss``.
        name: the name of the loss.
        dtype: float32.

    >>> import numpy as np
    >>> loss = BinaryCrossEntropy(pos_weight=3.0)
    >>> round(float(loss(np.array([[1.0], [0.0]]), np.zeros((2, 1), "float32"))), 4)
    1.3863
    """

    def __init__(self, pos_weight: float = 1.0, name: str = "binary_cross_entropy", dtype: Any = "float32") -> None:
        super().__init__(name=name, dtype=dtype)
        self.pos_weight = pos_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the mean over the labels of each row: ``[batch]``."""
        # softplus(-x) is -log(sigmoid(x)), and does not overflow.
        losses = self.pos_weight * y_true * ops.softplus(-y_pred) + (1 - y_true) * ops.softplus(y_pred)
        return ops.mean(losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"pos_weight": self.pos_weight, "name": self.name, "dtype": "float32"}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class CrossEntropy(keras.metrics.Mean):
    """The mean cross entropy over all predictions so far, from logits.

    >>> import numpy as np
    >>> metric = CrossEntropy()
    >>> metric.update_state(np.array([[3, 0]]), np.zeros((1, 2, 7), "float32"), np.array([[1.0, 0.0]]))
    >>> round(float(metric.result()), 4)
    1.9459
    """

    def __init__(self, name: str = "cross_entropy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds predictions. In one graph with the loss nothing is computed twice."""
        super().update_state(cross_entropy(y_true, y_pred), sample_weight)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class Perplexity(CrossEntropy):
    """The exponential of `CrossEntropy`.

    >>> import numpy as np
    >>> metric = Perplexity()
    >>> metric.update_state(np.array([[3, 0]]), np.zeros((1, 2, 7), "float32"), np.array([[1.0, 0.0]]))
    >>> round(float(metric.result()), 4)
    7.0
    """

    def __init__(self, name: str = "perplexity", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def result(self) -> Any:
        """Returns the perplexity so far; a scalar."""
        return ops.exp(super().result())


def make_cross_entropy(**settings: Any) -> keras.losses.Loss:
    """Returns the cross entropy of logits with the number of the right class."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **settings)


def make_accuracy() -> keras.metrics.Metric:
    """Returns the metric ``accuracy``: the fraction of rows in which the right class has the largest logit."""
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
