"""The activation of a cross-encoder: the key by which its configuration is recognized."""

import dataclasses

from keras_bert_impl.checkpoints.sentence_modules import read_cross_encoder_activation
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source

# Keys of `config.json`. The value of the first is an object with `activation_fn`. The value of the second, which was
# used before version 4 of sentence-transformers, is the name of the activation.
ACTIVATION_KEYS = ("sentence_transformers", "sbert_ce_default_activation_function")

SIGMOID = "torch.nn.modules.activation.Sigmoid"


def find_activation(config: BertConfig) -> str | None:
    """Returns the name of the activation in the configuration of a cross-encoder; None if it is another model.

    >>> find_activation(BertConfig(extra={"sentence_transformers": {"activation_fn": SIGMOID}}))
    'torch.nn.modules.activation.Sigmoid'
    """
    # Source: sentence_transformers/cross_encoder/model.py, get_default_activation_fn.
    newer, older = (config.extra.get(key) for key in ACTIVATION_KEYS)
    return newer["activation_fn"] if isinstance(newer, dict) and "activation_fn" in newer else older


def is_cross_encoder(config: BertConfig) -> bool:
    """Whether a configuration is that of a cross-encoder with one score per pair of texts."""
    return config.num_labels == 1 and find_activation(config) is not None


def has_sigmoid(config: BertConfig) -> bool:
    """Whether the scores of a cross-encoder are the sigmoid of its logits: by default, and if its activation says so.

    Raises:
        InputError: the activation is neither the sigmoid nor the identity.

    >>> has_sigmoid(BertConfig())
    True
    """
    activation = find_activation(config) or SIGMOID
    name = activation.split(".")[-1] if isinstance(activation, str) else ""
    if name not in ("Sigmoid", "Identity"):
        raise InputError(
            f"the activation of the cross-encoder is {activation!r}, which is not supported; {SIGMOID} or "
            "torch.nn.modules.linear.Identity was expected."
        )
    return name == "Sigmoid"


def read_activation(source: Source, config: BertConfig) -> BertConfig:
    """Adds the activation that version 6 of sentence-transformers saves in another file than ``config.json``.

    Raises:
        InputError: the file cannot be used.
    """
    if config.num_labels != 1 or "BertForSequenceClassification" not in config.architectures:
        return config
    activation = read_cross_encoder_activation(source)
    if activation is None:
        return config
    return dataclasses.replace(config, extra={**config.extra, ACTIVATION_KEYS[0]: {"activation_fn": activation}})
