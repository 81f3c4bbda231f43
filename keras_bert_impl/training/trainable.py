"""Which weights of a model are trained, and at which rate: freezing, LoRA, layer-wise learning rates."""

import math
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.training.settings import FineTuningSettings


def choose_trainable(model: Any, settings: FineTuningSettings) -> None:
    """Freezes the layers of a model that are not trained, or adds LoRA. Call it in the scope of the distribution.

    Args:
        model: a model with its weights, not compiled yet.
        settings: their fields ``freeze_embeddings``, ``freeze_layers`` and those of LoRA.

    Raises:
        InputError: the model has fewer layers, or no such targets, or nothing is left to train.

    >>> from keras_bert_impl import BertConfig, BertForSequenceClassification
    >>> model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=99))
    >>> choose_trainable(model, FineTuningSettings(freeze_layers=1))
    >>> [block.trainable for block in model.encoder.layer], model.embeddings.trainable
    ([False, True], False)
    """
    blocks, count = model.encoder.layer, settings.freeze_layers
    if count > len(blocks):
        raise InputError(f"freeze_layers is {count}; the model has {len(blocks)} blocks. Choose at most {len(blocks)}.")
    if settings.lora_rank:
        targets = tuple(settings.lora_targets.split(","))
        model.enable_lora(settings.lora_rank, alpha=settings.lora_alpha, targets=targets, rslora=settings.rslora)
    if settings.freeze_embeddings or count:
        model.embeddings.trainable = False
    for block in blocks[:count]:
        block.trainable = False
    if not model.trainable_variables:
        raise InputError(
            f"freeze_layers is {count}, which freezes all weights: {type(model).__name__} has no head with weights. "
            "Choose a smaller number."
        )


def describe_trainable(model: Any) -> str:
    """Returns a line that says how many parameters are trained; empty if all of them are."""
    trained, total = (
        sum(math.prod(variable.shape) for variable in variables)
        for variables in (model.trainable_weights, model.weights)
    )
    return "" if trained == total else f"{trained:,} of {total:,} parameters are trained"


def compute_rate_factors(model: Any, layer_decay: float) -> dict[int, float]:
    """Computes the factors of layer-wise learning rate decay (https://arxiv.org/abs/1801.06146, section 3.2).

    The factor of block ``i`` of ``L``, counted from 0, is ``layer_decay ** (L - i)``. The embeddings are the lowest
    layer; the head and the pooler, which the dictionary omits, have the factor 1.

    Args:
        model: a model.
        layer_decay: the factor between a layer and the one above; 1: the same rate for all.

    Returns:
        the factors by the ``id`` of the variable, for trained variables.

    >>> from keras_bert_impl import BertConfig, BertModel
    >>> model = BertModel(BertConfig.preset("tiny", vocab_size=99))
    >>> sorted(set(compute_rate_factors(model, 0.5).values()))
    [0.125, 0.25, 0.5]
    """
    if layer_decay == 1:
        return {}
    layers = [model.embeddings, *model.encoder.layer]
    return {
        id(variable): layer_decay ** (len(layers) - depth)
        for depth, layer in enumerate(layers)
        for variable in layer.trainable_variables
    }
