"""Losses of sentence embeddings: contrastive losses over the vectors of several columns of texts.

All take ``y_pred`` ``[batch, columns, size]``, the vectors of each example's texts: the anchor (or first text), the
positive (or second text), and negatives. They are computed in float32 in every precision, and have the values of the
losses with the same names in sentence-transformers.

A loss with ``needs_whole_batch`` compares the rows of a batch with each other. It is not a sum over rows, so it cannot
be computed for parts of a batch: gradient accumulation and replicas need another training step for it, see
`keras_bert_impl.training.distribution.base.Backend.make_whole_batch_step`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError, join_names
from keras_bert_impl.ops.l2_normalization import l2_normalize
from keras_bert_impl.tasks.options import EmbeddingOptions

# Added to the similarity of absent candidates, so that their softmax is exactly 0.
_ABSENT = -1e9


def compute_cosine(a: Any, b: Any) -> Any:
    """The cosine of each pair of vectors: ``[..., size]`` twice to ``[...]``."""
    return ops.sum(l2_normalize(a) * l2_normalize(b), axis=-1)


def _compute_euclidean(a: Any, b: Any) -> Any:
    # The square root has no finite gradient at 0, where the vectors of two equal texts are.
    return ops.sqrt(ops.maximum(ops.sum(ops.square(a - b), axis=-1), 1e-12))


# The distances of `TripletLoss`, by the names in `options.DISTANCES`.
DISTANCE_FUNCTIONS = {
    "euclidean": _compute_euclidean,
    "cosine": lambda a, b: 1 - compute_cosine(a, b),
    "manhattan": lambda a, b: ops.sum(ops.abs(a - b), axis=-1),
}


class WholeBatchLoss(keras.losses.Loss):
    """Base of losses that compare the rows of a batch with each other.

    A row with weight 0 is absent: it has no loss, and other rows are not compared with it. Such rows are the padding of
    batches, see `keras_bert_impl.data.BatchSplitter`. The other weights are normalized to sum to 1.
    """

    needs_whole_batch: ClassVar[bool] = True

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the loss, a float32 scalar.

        Args:
            y_true: ``[batch]``, a score per example; not used by all losses.
            y_pred: ``[batch, columns, size]``, the vectors.
            sample_weight: ``[batch]``; None: all rows have the same weight.
        """
        labels, vectors = (ops.cast(ops.convert_to_tensor(values), "float32") for values in (y_true, y_pred))
        weights = ops.ones_like(labels) if sample_weight is None else ops.cast(sample_weight, "float32")
        return self.compare(labels, vectors, weights / ops.maximum(ops.sum(weights), 1e-9))

    def compare(self, labels: Any, vectors: Any, weights: Any) -> Any:
        """Computes the loss of labels ``[batch]``, vectors ``[batch, columns, size]`` and weights, which sum to 1."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class MultipleNegativesRankingLoss(WholeBatchLoss):
    """Multiple negatives ranking (InfoNCE): cross entropy of finding each anchor's positive in the batch.

    The candidates are the positives and negatives of all rows; their logits are ``scale`` times the cosine.

    Source: Henderson et al. 2017, https://arxiv.org/abs/1705.00652, section 4.4.

    Args:
        scale: factor of the cosines, the inverse of the temperature.
        symmetric: whether each positive must also find its anchor among all anchors; the two losses are averaged.

    >>> import numpy as np
    >>> vectors = np.eye(2, 3, dtype="float32")[:, None].repeat(2, axis=1)  # each anchor is equal to its positive
    >>> round(float(MultipleNegativesRankingLoss(scale=1.0)(np.zeros(2), vectors)), 4)  # log(1 + 1 / e)
    0.3133
    """

    def __init__(self, scale: float = 20.0, symmetric: bool = False, name: str = "multiple_negatives") -> None:
        super().__init__(name=name)
        self.scale = scale
        self.symmetric = symmetric

    def compare(self, labels: Any, vectors: Any, weights: Any) -> Any:
        """See the class."""
        vectors = l2_normalize(vectors)
        anchors, candidates = vectors[:, 0], vectors[:, 1:]
        absent = ops.where(weights > 0, 0.0, _ABSENT)
        logits = self.scale * ops.einsum("is,jks->ijk", anchors, candidates) + absent[None, :, None]
        losses = ops.logsumexp(logits, axis=(1, 2))
        if self.symmetric:
            reverse = self.scale * ops.matmul(candidates[:, 0], ops.transpose(anchors)) + absent[None, :]
            losses = (losses + ops.logsumexp(reverse, axis=1)) / 2
        positive = self.scale * ops.sum(anchors * candidates[:, 0], axis=-1)
        return ops.sum(weights * (losses - positive))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"scale": self.scale, "symmetric": self.symmetric, "name": self.name}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class CoSENTLoss(WholeBatchLoss):
    """CoSENT: pairs with higher scores must have higher cosines; only the order of the scores counts.

    It is ``log(1 + sum(exp(scale * (cosine_j - cosine_i))))`` over all pairs of rows with ``label_i > label_j``.

    Source: Su 2022, https://kexue.fm/archives/8847.

    Args:
        scale: factor of the cosines.

    >>> import numpy as np
    >>> vectors = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], "float32")  # cosines 1 and 0
    >>> round(float(CoSENTLoss(scale=1.0)(np.array([0.9, 0.2]), vectors)), 4)  # log(1 + 1 / e)
    0.3133
    """

    def __init__(self, scale: float = 20.0, name: str = "cosent") -> None:
        super().__init__(name=name)
        self.scale = scale

    def compare(self, labels: Any, vectors: Any, weights: Any) -> Any:
        """See the class."""
        cosines = self.scale * compute_cosine(vectors[:, 0], vectors[:, 1])
        present = weights > 0
        counts = (labels[:, None] > labels[None, :]) & present[:, None] & present[None, :]
        differences = ops.where(counts, cosines[None, :] - cosines[:, None], _ABSENT)
        return ops.logsumexp(ops.append(differences, ops.zeros((1,))))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"scale": self.scale, "name": self.name}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class CosineSimilarityLoss(keras.losses.Loss):
    """Squared difference between the cosine of the first two texts and the score, the mean over rows.

    >>> import numpy as np
    >>> vectors = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], "float32")  # cosines 1 and 0
    >>> round(float(CosineSimilarityLoss()(np.array([0.9, 0.2]), vectors)), 4)
    0.025
    """

    def __init__(self, name: str = "cosine_similarity") -> None:
        super().__init__(name=name, dtype="float32")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each row."""
        return ops.square(compute_cosine(y_pred[:, 0], y_pred[:, 1]) - y_true)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class TripletLoss(keras.losses.Loss):
    """Triplet loss: the negative must be farther from the anchor than the positive, by a margin; the mean over rows.

    Args:
        margin: the margin.
        distance: ``euclidean``, ``cosine`` (1 minus the cosine) or ``manhattan``.

    >>> import numpy as np
    >>> vectors = np.array([[[1, 0], [1, 1], [1, 3]]], "float32")  # distances 1 and 3
    >>> float(TripletLoss(margin=5.0)(np.zeros(1), vectors))
    3.0
    """

    def __init__(self, margin: float = 5.0, distance: str = "euclidean", name: str = "triplet") -> None:
        super().__init__(name=name, dtype="float32")
        self.margin = margin
        self.distance = distance

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each row."""
        compute = DISTANCE_FUNCTIONS[self.distance]
        anchors, positives, negatives = (y_pred[:, column] for column in range(3))
        return ops.relu(compute(anchors, positives) - compute(anchors, negatives) + self.margin)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"margin": self.margin, "distance": self.distance, "name": self.name}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class MatryoshkaLoss(keras.losses.Loss):
    """The sum of a loss over several sizes of the vectors: truncated vectors are trained to be useful on their own.

    Each vector is truncated to its first dimensions and normalized.

    Source: Kusupati et al. 2022, https://arxiv.org/abs/2205.13147.

    Args:
        loss: a loss of this module.
        dims: the sizes.

    >>> import numpy as np
    >>> vectors = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], "float32")
    >>> loss = MatryoshkaLoss(CosineSimilarityLoss(), [2, 1])
    >>> round(float(loss(np.array([0.9, 0.2]), vectors)), 4)  # 0.025 for each size
    0.05
    """

    def __init__(self, loss: keras.losses.Loss, dims: Sequence[int], name: str = "matryoshka") -> None:
        self.loss = loss
        self.dims = tuple(dims)
        super().__init__(name=name, reduction=loss.reduction)

    @property
    def needs_whole_batch(self) -> bool:
        """Whether the inner loss compares the rows of a batch with each other."""
        return getattr(self.loss, "needs_whole_batch", False)

    @property
    def reduction(self) -> str:
        """The reduction of the inner loss."""
        return self.loss.reduction

    @reduction.setter
    def reduction(self, value: str) -> None:
        self.loss.reduction = value

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the sum of the losses."""
        vectors = ops.cast(y_pred, "float32")
        return sum(self.loss(y_true, l2_normalize(vectors[..., :size]), sample_weight) for size in self.dims)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"loss": keras.saving.serialize_keras_object(self.loss), "dims": self.dims, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MatryoshkaLoss":
        """Makes the loss of a ``get_config`` result."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


# Name, as in `options.LOSSES`: the loss, and the options of the task that are its arguments.
LOSS_CLASSES: Mapping[str, tuple[Callable[..., keras.losses.Loss], tuple[str, ...]]] = {
    "multiple-negatives": (MultipleNegativesRankingLoss, ("scale", "symmetric")),
    "cosent": (CoSENTLoss, ("scale",)),
    "cosine": (CosineSimilarityLoss, ()),
    "triplet": (TripletLoss, ("margin", "distance")),
}


def choose_loss(options: EmbeddingOptions, scores: np.ndarray, columns: int) -> str:
    """Returns the name of the loss for training data.

    Args:
        options: the options of the task.
        scores: float32 ``[examples]``, the scores of pairs, divided by ``label_scale``; empty if there are none.
        columns: the number of texts per example: 2, and 1 for each negative.

    Raises:
        InputError: the loss in the options does not fit the data, or an option of another loss is set.

    >>> choose_loss(EmbeddingOptions(), np.empty(0), 3)
    'multiple-negatives'
    """
    name = options.loss
    if name == "auto":
        name = "cosent" if len(scores) else "multiple-negatives"
    if name in ("cosent", "cosine") and not len(scores):
        raise InputError(
            f"the loss {name} needs pairs with a score, and the training data has no scores. Add a column 'label', or "
            "use the loss multiple-negatives."
        )
    if name in ("multiple-negatives", "triplet") and len(scores):
        raise InputError(
            f"the loss {name} needs pairs without a score, and the training data has pairs with a score. Remove the "
            "column of the scores, or use the loss cosent."
        )
    if name == "triplet" and columns != 3:
        raise InputError(
            f"the loss triplet needs one negative per pair, and the training data has {columns - 2} negatives per "
            "pair. Give one column 'negative', or use the loss multiple-negatives."
        )
    outside = np.flatnonzero(np.abs(scores) > 1)
    if name == "cosine" and len(outside):
        example, largest = int(outside[0]) + 1, np.abs(scores).max() * options.label_scale
        raise InputError(
            f"the score of training example {example} is {scores[outside[0]] * options.label_scale:g}; the loss cosine "
            f"needs scores from -1 to 1. Set label_scale to {largest:g}, by which scores are divided, or use the loss "
            "cosent."
        )
    default = EmbeddingOptions()
    for option in sorted({option for _, arguments in LOSS_CLASSES.values() for option in arguments}):
        if option not in LOSS_CLASSES[name][1] and getattr(options, option) != getattr(default, option):
            owners = [owner for owner, (_, arguments) in LOSS_CLASSES.items() if option in arguments]
            raise InputError(
                f"{option} is an option of the loss {join_names(owners)}, and the loss is {name}. Omit it, or choose "
                "another loss."
            )
    return name


def make_contrastive_loss(name: str, options: EmbeddingOptions) -> keras.losses.Loss:
    """Returns the loss with this name, which `choose_loss` returned.

    >>> make_contrastive_loss("cosent", EmbeddingOptions(matryoshka="384,128")).dims
    (384, 128)
    """
    loss_class, arguments = LOSS_CLASSES[name]
    loss = loss_class(**{argument: getattr(options, argument) for argument in arguments})
    return MatryoshkaLoss(loss, options.matryoshka_dims) if options.matryoshka_dims else loss
