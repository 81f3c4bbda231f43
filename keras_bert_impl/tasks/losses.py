"""Losses and metrics of several tasks."""

from collections.abc import Sequence
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

    The mean over rows and labels. With weights of rows, the sum is divided by that of the weights.

    Args:
        pos_weight: factor of the loss where the label is 1, one number or one for each label: ``pos_weight`` of torch's
            ``BCEWithLogitsLoss``. The mean is not divided by it.
        label_smoothing: fraction of each label that is spread over 0 and 1: 1 becomes ``1 - label_smoothing / 2``.
        name: the name of the loss.
        dtype: float32.

    >>> import numpy as np
    >>> loss = BinaryCrossEntropy(pos_weight=3.0)
    >>> round(float(loss(np.array([[1.0], [0.0]]), np.zeros((2, 1), "float32"))), 4)
    1.3863
    """

    def __init__(
        self,
        pos_weight: float | Sequence[float] = 1.0,
        label_smoothing: float = 0.0,
        name: str = "binary_cross_entropy",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype=dtype)
        self.pos_weight = pos_weight
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the mean over the labels of each row: ``[batch]``."""
        y_true = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        # softplus(-x) is -log(sigmoid(x)), and does not overflow.
        losses = ops.convert_to_tensor(self.pos_weight, "float32") * y_true * ops.softplus(-y_pred) + (
            1 - y_true
        ) * ops.softplus(y_pred)
        return ops.mean(losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        settings = {"pos_weight": self.pos_weight, "label_smoothing": self.label_smoothing}
        return {**settings, "name": self.name, "dtype": "float32"}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross entropy with label smoothing, from logits; computed in float32 in every precision.

    With weights, the sum is divided by that of the weights.

    Args:
        label_smoothing: fraction of each label that is spread evenly over all labels, as in torch's
            ``CrossEntropyLoss``.
        name: the name of the loss.
        dtype: float32.

    Source: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567.

    >>> import numpy as np
    >>> loss = SmoothedCrossEntropy(label_smoothing=0.5)
    >>> round(float(loss(np.array([0]), np.array([[2.0, 0.0]], "float32"))), 4)
    0.6269
    """

    def __init__(self, label_smoothing: float, name: str = "cross_entropy", dtype: Any = "float32") -> None:
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each prediction: logits without the last axis."""
        to_label = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        to_all = -ops.mean(ops.log_softmax(y_pred, axis=-1), axis=-1)
        return (1 - self.label_smoothing) * to_label + self.label_smoothing * to_all

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"label_smoothing": self.label_smoothing, "name": self.name, "dtype": "float32"}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class SoftenedKLDivergence(keras.losses.Loss):
    """Knowledge distillation: Kullback-Leibler divergence of softened probabilities, from a teacher's to a student's.

    Both logits are divided by the temperature. The divergence is multiplied by its square, so that the size of the
    gradients does not depend on it. It is computed in float32 in every precision.

    Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2.

    Args:
        temperature: the temperature.
        name: the name of the loss.
        dtype: float32.

    >>> import numpy as np
    >>> loss = SoftenedKLDivergence(temperature=1.0)
    >>> teacher, student = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    >>> round(float(loss(teacher, student)), 4)  # 0.5 log(0.5 / 0.25) + 0.5 log(0.5 / 0.75)
    0.1438
    """

    def __init__(self, temperature: float = 2.0, name: str = "softened_kl_divergence", dtype: Any = "float32") -> None:
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype=dtype)
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the divergence ``[...]`` of logits ``[..., classes]``."""
        teacher, student = (ops.log_softmax(logits / self.temperature) for logits in (y_true, y_pred))
        return self.temperature**2 * ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"temperature": self.temperature, "name": self.name, "dtype": "float32"}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class SoftenedBinaryKLDivergence(SoftenedKLDivergence):
    """`SoftenedKLDivergence` of logits that are independent of each other: the mean over the labels of each row.

    >>> import numpy as np
    >>> loss = SoftenedBinaryKLDivergence(temperature=1.0)
    >>> round(float(loss(np.array([[0.0]]), np.log([[1 / 3]]))), 4)  # probabilities 0.5 and 0.25
    0.1438
    """

    def __init__(
        self, temperature: float = 2.0, name: str = "softened_binary_kl_divergence", dtype: Any = "float32"
    ) -> None:
        super().__init__(temperature, name=name, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the divergence ``[...]`` of logits ``[..., labels]``."""
        teacher, student = (logits / self.temperature for logits in (y_true, y_pred))
        # log(sigmoid(x)) is -softplus(-x), and log(1 - sigmoid(x)) is -softplus(x).
        positive = ops.sigmoid(teacher) * (ops.softplus(-student) - ops.softplus(-teacher))
        negative = ops.sigmoid(-teacher) * (ops.softplus(student) - ops.softplus(teacher))
        return self.temperature**2 * ops.mean(positive + negative, axis=-1)


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


def make_cross_entropy(label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Returns the cross entropy of logits with the number of the right class.

    With weights, the sum is divided by that of the weights, as in torch's ``CrossEntropyLoss(weight)``, and not by the
    number of rows, which is Keras' default.
    """
    if label_smoothing:
        return SmoothedCrossEntropy(label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")


def make_squared_error() -> keras.losses.Loss:
    """Returns the mean squared error of the predictions whose weight is not 0; computed in float32."""
    return keras.losses.MeanSquaredError(reduction="mean_with_sample_weight", dtype="float32")


def make_accuracy() -> keras.metrics.Metric:
    """Returns the metric ``accuracy``: the fraction of rows in which the right class has the largest logit."""
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
