"""Weights of classes and labels in the loss, for skewed data."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from keras_bert_impl.data.batches import Features, Ragged
from keras_bert_impl.data.labels import make_key
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.encoding import format_names
from keras_bert_impl.tasks.options import BALANCED

_OUTPUT = "logits"


def add_class_weights(features: Features, class_weight: str | Mapping[str, float], names: Sequence[str]) -> Features:
    """Multiplies the weight of each label by that of its class.

    The loss is then the sum of the weighted losses, divided by the sum of the weights, as in torch's
    ``CrossEntropyLoss(weight)``.

    Args:
        features: the training data; its labels are ids.
        class_weight: ``balanced``; or weights by the names of classes, 1 for others; or empty: all are 1.
        names: the names of the classes.

    Raises:
        InputError: the weights have a label that is not in ``names``, or all labels are of one class.
    """
    if not class_weight:
        return features
    labels, weights = features.labels[_OUTPUT], features.weights.get(_OUTPUT)
    ids = labels.flat if isinstance(labels, Ragged) else labels
    own = weights.flat if isinstance(weights, Ragged) else np.ones(len(ids), np.float32) if weights is None else weights
    if isinstance(class_weight, Mapping):
        by_class = _select_weights(class_weight, names, option="class_weight")
    else:
        is_counted = own > 0
        if not isinstance(labels, Ragged):
            is_counted &= features.is_first_row  # A long text has several rows with its label.
        by_class = compute_balanced_weights(ids[is_counted], len(names))
    weighted = (own * by_class[ids]).astype(np.float32)
    values = Ragged(weighted, labels.offsets) if isinstance(labels, Ragged) else weighted
    return dataclasses.replace(features, weights={_OUTPUT: values})


def compute_balanced_weights(ids: np.ndarray, count: int) -> np.ndarray:
    """Returns weights by which all classes have the same total weight, and the mean weight of a label is 1.

    They are those of scikit-learn's ``compute_class_weight("balanced")``.

    Args:
        ids: the class of each label.
        count: the number of classes; those that do not occur get 1.

    Raises:
        InputError: all labels are of one class.

    >>> compute_balanced_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 2.0]
    """
    frequencies = np.bincount(ids, minlength=count)
    occurring = int(np.count_nonzero(frequencies))
    if occurring < 2:
        raise InputError(
            f"class_weight is {BALANCED!r}, but all labels of the training data are of one class; two or more were "
            "expected. Omit class_weight, or add examples of other classes."
        )
    return np.where(frequencies, len(ids) / (occurring * np.maximum(frequencies, 1)), 1.0)


def compute_pos_weights(
    pos_weight: str | float | Mapping[str, float], has_label: np.ndarray, names: Sequence[str]
) -> float | list[float]:
    """Returns the factors of the loss where a label is 1, for `BinaryCrossEntropy`.

    Args:
        pos_weight: one number; or ``balanced``: for each label, the number of texts without it divided by that of the
            texts with it; or weights by the names of labels, 1 for others.
        has_label: the labels of the training data, 1 or 0, ``[examples, labels]``.
        names: the names of the labels.

    Raises:
        InputError: the weights have a label that is not in ``names``, or all texts, or none, have a label.

    >>> compute_pos_weights("balanced", np.array([[1, 0], [0, 1], [0, 1], [0, 1]]), ["rare", "frequent"])
    [3.0, 0.3333333333333333]
    """
    if isinstance(pos_weight, Mapping):
        return _select_weights(pos_weight, names, option="pos_weight").tolist()
    if pos_weight != BALANCED:
        return float(pos_weight)
    positive = np.count_nonzero(has_label, axis=0)
    for name, count in zip(names, positive.tolist(), strict=True):
        if count in (0, len(has_label)):
            raise InputError(
                f"pos_weight is {BALANCED!r}, but {'all texts' if count else 'no text'} of the training data "
                f"{'have' if count else 'has'} the label {name!r}. Give weights as NAME=WEIGHT, or remove the label."
            )
    return ((len(has_label) - positive) / positive).tolist()


def _select_weights(weights: Mapping[str, float], names: Sequence[str], *, option: str) -> np.ndarray:
    """Returns the weight of each label, 1 for those that are not in ``weights``."""
    ids = {make_key(name): number for number, name in enumerate(names)}
    selected = np.ones(len(names))
    for name, weight in weights.items():
        if make_key(name) not in ids:
            raise InputError(
                f"{option} has a weight for {name!r}, which is not a label of the training data; its labels are "
                f"{format_names(names)}. Correct the name."
            )
        selected[ids[make_key(name)]] = weight
    return selected
