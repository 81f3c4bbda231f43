"""Makes a smaller BERT from a checkpoint: the student of a distillation."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_impl.config import BertConfig, map_layers
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import create_directory
from keras_bert_impl.models import BertModel
from keras_bert_impl.models.heads import find_model_class
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tasks.reranking_keys import read_activation
from keras_bert_impl.tokenization import BertTokenizer

_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
# What a model of another size has in common with the checkpoint.
_KEPT = ("vocab_size", "pad_token_id", "max_position_embeddings", "type_vocab_size", "hidden_act", "layer_norm_eps")


def shrink(
    source: str | Path | Source,
    directory: str | Path,
    *,
    size: str | None = None,
    layers: int | None = None,
    seed: int = 1,
) -> Any:
    """Makes a smaller BERT with the tokenizer of a checkpoint.

    A model of a published size has new weights, and no head. If its hidden size is not larger, its embeddings are those
    of the checkpoint, projected on the first principal components of the words. A model with fewer layers is a copy of
    the checkpoint, with its heads, that has every n-th layer.

    Args:
        source: a directory, a weights file, a bundled model, or a hub name.
        directory: the directory to write; must be new or empty.
        size: the size, tiny to large.
        layers: the number of layers instead.
        seed: the seed of new weights.

    Returns:
        the smaller model.

    Raises:
        InputError: the source cannot be used, the size or the number of layers is not possible, or the directory has
            other content.

    >>> import tempfile
    >>> model = shrink("bert-tiny-novels", tempfile.mkdtemp(), layers=1)
    >>> model.config.num_hidden_layers, model.config.hidden_size
    (1, 128)
    """
    if (size is None) == (layers is None):
        raise InputError(f"size is {size!r} and layers is {layers!r}; exactly one of them was expected.")
    opened = open_source(source)
    tokenizer = BertTokenizer.from_pretrained(opened)
    keras.utils.set_random_seed(seed)
    with create_directory(Path(directory)) as temporary:
        model = _make_new_model(opened, str(size)) if layers is None else _copy_layers(opened, layers)
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return model


def _make_new_model(source: Source, size: str) -> BertModel:
    """Creates a model of a published size, and projects the embeddings of the checkpoint to its hidden size."""
    kept = {name: getattr(BertConfig.from_pretrained(source), name) for name in _KEPT}
    model = BertModel(BertConfig.preset(size, **kept))
    larger = BertModel.from_pretrained(source)
    if larger.config.hidden_size >= model.config.hidden_size:
        tables = {name: keras.ops.convert_to_numpy(getattr(larger.embeddings, name).embeddings) for name in _TABLES}
        words = tables["word_embeddings"]
        components = _find_principal_components(words, model.config.hidden_size)
        scale = model.config.initializer_range / (words @ components).std()
        for name, table in tables.items():
            getattr(model.embeddings, name).embeddings.assign(table @ components * scale)
    return model


def _find_principal_components(vectors: np.ndarray, count: int) -> np.ndarray:
    """Returns the directions in which vectors ``[n, size]`` differ most: ``[size, count]``, orthonormal."""
    centered = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centered.T @ centered)  # In the order of rising variance.
    return directions[:, : -count - 1 : -1]


def _copy_layers(source: Source, layers: int) -> Any:
    """Creates a model with fewer layers, and copies the weights of the checkpoint."""
    config = read_activation(source, BertConfig.from_pretrained(source))
    if not 0 < layers < config.num_hidden_layers:
        raise InputError(
            f"layers is {layers}, and {source.name} has {config.num_hidden_layers} layers; a number from 1 to "
            f"{config.num_hidden_layers - 1} was expected."
        )
    larger = find_model_class(source).from_pretrained(source, extra=config.extra)
    model = type(larger)(dataclasses.replace(larger.config, num_hidden_layers=layers))
    # The last of the layers between two mapped hidden states.
    copied = [number - 1 for number in map_layers(layers, config.num_hidden_layers)[1:]]
    weights = {variable.path: variable for variable in larger.weights}
    for variable in model.weights:
        path = re.sub(r"(?<=encoder/layer_)\d+", lambda match: str(copied[int(match[0])]), variable.path)
        variable.assign(weights[path].value)
    return model
