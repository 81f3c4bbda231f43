"""The weights that the inference variants of operations use in place of those of the layers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_bert_impl.layers import BertSelfAttention
from keras_bert_impl.ops.attention import merge_projections


class InferenceWeights(NamedTuple):
    """Weights for `keras_bert_impl.ops.variants.use_variants`.

    Attributes:
        prepared: the weights, by the ``id`` of the layer that they belong to.
        replaced: the ``id`` of each variable of the model that they replace.
    """

    prepared: dict[int, Any]
    replaced: set[int]


def prepare_inference_weights(model: keras.Model, store: Callable[[np.ndarray], Any]) -> InferenceWeights:
    """Merges the projections of each attention layer of a model.

    Args:
        model: the model.
        store: a function that makes a variable from an array; the variable has a method ``value``.
    """
    weights = InferenceWeights({}, set())
    for layer in model._flatten_layers():
        if isinstance(layer, BertSelfAttention):
            projections = (layer.query, layer.key, layer.value)
            merged = merge_projections(projections, num_heads=layer.config.num_attention_heads)
            weights.prepared[id(layer.query)] = [store(values) for values in merged]
            weights.replaced.update(id(weight) for dense in projections for weight in dense.weights)
    return weights
