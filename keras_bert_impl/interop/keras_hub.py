"""Converts models to KerasHub's ``BertBackbone`` and back."""

import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import keras

from keras_bert_impl.checkpoints.names import find_torch_name
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError, make_missing_error
from keras_bert_impl.keras_formats import HIDDEN_ACT, LAYER_NORM_EPS, SIZES, find_layer
from keras_bert_impl.models import BertModel, BertPreTrainedModel
from keras_bert_impl.ops.activations import ACTIVATIONS, EXACT_GELUS, TANH_GELUS


def to_keras_hub(model: BertPreTrainedModel, *, dropout: float | None = None) -> Any:
    """Makes a ``keras_hub.models.BertBackbone`` with the weights, the activation and the dtype policy of a model.

    KerasHub computes GELU by tanh and has no argument for it. Almost all published checkpoints use ``gelu``, the exact
    one. With tanh the hidden states of all-MiniLM-L6-v2 on film snippets differ by up to 4.9e-3; the root mean square
    of the difference is 5.0e-4, that of the hidden states 0.36. So this function sets the activation in the new
    backbone's layers (`set_hidden_act`).

    Models that are built on this backbone, such as ``keras_hub.models.BertTextClassifier``, use this activation too.
    KerasHub does not save it: ``get_config``, ``save`` and ``save_to_preset`` omit it, for a backbone and for a task.
    After loading, call `set_hidden_act` again. Or save ``keras.Model(backbone.input, backbone.output)``, whose
    ``.keras`` file contains the activation and needs only KerasHub.

    A backbone contains no head. The head of a classifier is one dense layer in both libraries::

        task = keras_hub.models.BertTextClassifier(to_keras_hub(model), num_classes=model.config.num_labels)
        task.output_dense.set_weights(model.classifier.get_weights())

    The head of ``keras_hub.models.BertMaskedLM`` computes other values than BERT's: the epsilon of its layer norm is
    1e-5.

    The backbone's inputs are ``token_ids``, ``segment_ids`` and ``padding_mask``; all three are required. It does not
    support packed rows, and does not return hidden states or attentions.

    The tokenizer is not converted. ``keras_hub.models.BertTokenizer`` with the same vocabulary returns other ids
    (``Café`` becomes ``[UNK]`` instead of ``cafe``), so use the ids of this package's ``BertTokenizer``.

    Args:
        model: a model of any class.
        dropout: KerasHub's dropout rate for both hidden states and attention; None: the rate in the configuration, if
            both are equal.

    Warns:
        UserWarning: weights are omitted, or the model has no pooler and the backbone's is newly initialized.

    Raises:
        InputError: the backbone does not support the model: another ``layer_norm_eps`` than 1e-12, two dropout rates,
            weights of LoRA or of quantization; or KerasHub is not installed.

    >>> import numpy as np
    >>> model = BertModel(BertConfig.preset("tiny", vocab_size=99))
    >>> backbone = to_keras_hub(model)
    >>> ids = np.array([[2, 71, 3]])
    >>> outputs = backbone({"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1})
    >>> tuple(outputs["sequence_output"].shape), tuple(outputs["pooled_output"].shape)
    ((1, 3, 128), (1, 128))
    """
    library, config = _import_keras_hub(), model.config
    if config.layer_norm_eps != LAYER_NORM_EPS:
        raise InputError(
            f"layer_norm_eps is {config.layer_norm_eps}; KerasHub's BertBackbone always uses {LAYER_NORM_EPS}, so it "
            "would compute other values."
        )
    if dropout is None:
        dropout = config.hidden_dropout_prob
        if dropout != config.attention_probs_dropout_prob:
            raise InputError(
                f"hidden_dropout_prob is {dropout} and attention_probs_dropout_prob "
                f"{config.attention_probs_dropout_prob}; KerasHub's BertBackbone has one dropout rate for both. Choose "
                "one: to_keras_hub(model, dropout=…)."
            )
    ours = {variable.path: variable for variable in model.weights}
    _check_names(ours, f"the {type(model).__name__}")
    sizes = {argument: getattr(config, key) for key, argument in SIZES.items()}
    backbone = library.models.BertBackbone(**sizes, dropout=dropout, dtype=model.embeddings.dtype_policy)
    set_hidden_act(backbone, config.hidden_act)
    theirs = _map_to_paths(backbone)
    _copy(ours, theirs)
    differences = {
        f"weights of the {type(model).__name__} that a backbone does not contain": ours.keys() - theirs.keys(),
        f"newly initialized, because the {type(model).__name__} does not contain them": theirs.keys() - ours.keys(),
    }
    for description, paths in differences.items():
        if paths:
            warnings.warn(f"{description}: {', '.join(sorted(paths))}.", stacklevel=2)
    return backbone


def from_keras_hub(backbone: Any, *, hidden_act: str | None = None, **config: Any) -> BertModel:
    """Makes a ``BertModel`` with the weights and the dtype policy of a ``keras_hub.models.BertBackbone``.

    Args:
        backbone: the backbone; for a task, its ``backbone``.
        hidden_act: the activation that the weights were trained with: ``gelu`` (exact) for almost all PyTorch
            checkpoints, including those that KerasHub's ``from_preset`` loads and runs with GELU by tanh; ``gelu_new``
            for weights trained in KerasHub. None: the activation that the backbone computes.
        **config: fields of ``BertConfig`` that a backbone does not have, for example ``pad_token_id``.

    Warns:
        UserWarning: ``hidden_act`` is None and the backbone computes GELU by tanh, as KerasHub always does: this does
            not show which activation the weights were trained with.

    Raises:
        InputError: the argument is not a ``BertBackbone``; fields contradict it; the activation has no name; there are
            weights of LoRA or of quantization; or KerasHub is not installed.

    >>> import keras_hub
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=99, num_layers=2, num_heads=4, hidden_dim=32, intermediate_dim=37)
    >>> model = from_keras_hub(backbone, hidden_act="gelu_new")
    >>> model.config.hidden_size, model.config.max_position_embeddings
    (32, 512)
    """
    library = _import_keras_hub()
    if not isinstance(backbone, library.models.BertBackbone):
        inner = ", as in its .backbone" if hasattr(backbone, "backbone") else ""
        raise InputError(f"backbone is a {type(backbone).__name__}; a keras_hub BertBackbone was expected{inner}.")
    if hidden_act is None:
        hidden_act = _find_hidden_act(backbone)
        if hidden_act == HIDDEN_ACT:
            warnings.warn(
                "The backbone computes GELU by tanh, as KerasHub does whatever the weights were trained with, so "
                "hidden_act='gelu_new' is used. If the weights come from a PyTorch checkpoint, pass its hidden_act, "
                "which is in its config.json (mostly 'gelu'); otherwise pass 'gelu_new' to hide this warning.",
                stacklevel=2,
            )
    known = {key: getattr(backbone, argument) for key, argument in SIZES.items()}
    known |= {"layer_norm_eps": LAYER_NORM_EPS, "hidden_act": hidden_act}
    for key, value in known.items():
        if config.get(key, value) != value:
            raise InputError(f"{key} is {config[key]!r}; {value!r} was expected, the value of the backbone.")
    dropouts = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), backbone.dropout)
    theirs = _map_to_paths(backbone)
    _check_names(theirs, "the backbone")
    model = BertModel(BertConfig(**{**dropouts, **config, **known}), dtype=backbone.token_embedding.dtype_policy)
    _copy(theirs, {variable.path: variable for variable in model.weights})
    return model


def set_hidden_act(backbone: Any, hidden_act: str) -> None:
    """Sets the activation of the feed-forward layers of a ``keras_hub.models.BertBackbone``, in place.

    Use it for a backbone that KerasHub loaded from a file, whose activation is always GELU by tanh. Call it before the
    first ``predict`` or ``fit``, because functions that are already traced do not change.

    Args:
        backbone: the backbone; for a task, its ``backbone``.
        hidden_act: a name as in ``config.json``: ``gelu`` is exact, ``gelu_new`` uses tanh.

    Raises:
        InputError: no activation has this name, or KerasHub is not installed.

    >>> import keras_hub
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=99, num_layers=2, num_heads=4, hidden_dim=32, intermediate_dim=37)
    >>> set_hidden_act(backbone, "gelu")
    """
    activations = _list_activations()
    if hidden_act not in activations:
        raise InputError(f"hidden_act {hidden_act!r} is not supported; supported are {', '.join(activations)}.")
    for layer in backbone.transformer_layers:
        # The first is in the layer's configuration, the second is used for the computation.
        layer.activation = layer._feedforward_intermediate_dense.activation = activations[hidden_act]


def _import_keras_hub() -> ModuleType:
    try:
        import keras_hub
    except ImportError as error:
        raise make_missing_error(error, "keras-hub", user="the conversion") from error
    return keras_hub


def _list_activations() -> dict[str, Callable[[Any], Any]]:
    """Returns the function of each ``hidden_act``, to which files can refer without this package."""
    _import_keras_hub()  # It registers its function.
    tanh = keras.saving.get_registered_object("keras_hub>gelu_approximate")
    gelus = {**dict.fromkeys(EXACT_GELUS, keras.activations.gelu), **dict.fromkeys(TANH_GELUS, tanh)}
    return {**ACTIVATIONS, **gelus}


def _find_hidden_act(backbone: Any) -> str:
    """Returns the first name of the activation that a backbone computes."""
    function = backbone.transformer_layers[0].activation
    for name, known in _list_activations().items():
        if known is function:
            return name
    raise InputError(f"the backbone's activation is {function}, which has no known name: pass hidden_act=….")


def _map_to_paths(backbone: Any) -> dict[str, keras.Variable]:
    """Returns the variables of a backbone by the paths of the same variables here."""
    variables = {}
    for variable in backbone.weights:
        layer, _, name = variable.path.rpartition("/")
        variables[f"{find_layer(layer) or layer}/{name}"] = variable
    return variables


def _check_names(paths: Iterable[str], owner: str) -> None:
    unknown = [path for path in paths if find_torch_name(path) is None]
    if unknown:
        raise InputError(
            f"{owner} contains {unknown[0]}, which no BERT checkpoint has. Convert it without LoRA and quantization."
        )


def _copy(source: dict[str, keras.Variable], target: dict[str, keras.Variable]) -> None:
    for path in source.keys() & target.keys():
        # Copied through NumPy: on JAX both variables would share one array, which training one of them deletes.
        array = keras.ops.convert_to_numpy(source[path])
        target[path].assign(array.reshape(target[path].shape))
