"""Class weights of ``fit`` as sample weights, also for labels by the names of outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError


def make_sample_weight(labels: Any, class_weight: Mapping[Any, float], sample_weight: Any = None) -> Any:
    """Returns the weight of each label, which is that of its class.

    Keras does the same for models with one output, but refuses labels by the name of that output.

    Args:
        labels: ids of classes, an integer array of any shape; or one-hot rows, a float array ``[rows, classes]``; or a
            dictionary of one of these.
        class_weight: the weights by ids of classes; other classes have weight 1.
        sample_weight: weights with which those of the classes are multiplied, in the structure of ``labels``; or None.

    Returns:
        float32 arrays in the structure of ``labels``, with the shape of the ids.

    Raises:
        InputError: there are several outputs, or the labels are not ids or one-hot rows.

    >>> weights = make_sample_weight({"logits": np.array([0, 1, 1, 2])}, {0: 0.5, 2: 4.0})
    >>> weights["logits"].tolist()
    [0.5, 1.0, 1.0, 4.0]
    """
    if isinstance(labels, Mapping):
        if len(labels) != 1:
            raise InputError(
                f"class_weight was given, but there are labels for {', '.join(labels)}; one output was expected. Give "
                "sample_weight instead."
            )
        ((output, values),) = labels.items()
        own = sample_weight[output] if isinstance(sample_weight, Mapping) else sample_weight
        return {output: make_sample_weight(values, class_weight, own)}
    ids = _find_classes(np.asarray(labels if isinstance(labels, list) else ops.convert_to_numpy(labels)))
    weights = np.ones(ids.shape, np.float32)
    for number, weight in class_weight.items():
        weights[ids == number] = weight
    return weights if sample_weight is None else weights * ops.convert_to_numpy(sample_weight)


def _find_classes(labels: np.ndarray) -> np.ndarray:
    """Returns the id of the class of each label."""
    if np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool:
        return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    is_one_hot = labels.ndim == 2 and labels.shape[1] > 1
    if np.issubdtype(labels.dtype, np.floating) and is_one_hot and np.allclose(labels.sum(axis=1), 1):
        return labels.argmax(axis=1)
    if np.issubdtype(labels.dtype, np.floating) and not is_one_hot and np.all(labels == np.round(labels)):
        return labels.reshape(len(labels)).astype(int)
    raise InputError(
        f"class_weight was given, but the labels, {labels.dtype} of shape {list(labels.shape)}, are not ids of classes "
        "or one-hot rows. For several labels per row, use pos_weight of BinaryCrossEntropy, or sample_weight."
    )
