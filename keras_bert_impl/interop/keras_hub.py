"""KerasHub's ``BertBackbone`` with our weights, and our ``BertModel`` with KerasHub's."""

import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import keras

from keras_bert_impl.checkpoints.names import find_torch_name
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertModel, BertPreTrainedModel

# Path of KerasHub's layer: path of ours. Their weights have the same names and the same layout; only that kernels and
# biases of attention have an axis for the heads.
_LAYERS = {
    "token_embedding": "embeddings/word_embeddings",
    "position_embedding": "embeddings/position_embeddings",
    "segment_embedding": "embeddings/token_type_embeddings",
    "embeddings_layer_norm": "embeddings/LayerNorm",
    "transformer_layer_{i}/self_attention_layer/query": "encoder/layer_{i}/attention/self/query",
    "transformer_layer_{i}/self_attention_layer/key": "encoder/layer_{i}/attention/self/key",
    "transformer_layer_{i}/self_attention_layer/value": "encoder/layer_{i}/attention/self/value",
    "transformer_layer_{i}/self_attention_layer/attention_output": "encoder/layer_{i}/attention/output/dense",
    "transformer_layer_{i}/self_attention_layer_norm": "encoder/layer_{i}/attention/output/LayerNorm",
    "transformer_layer_{i}/feedforward_intermediate_dense": "encoder/layer_{i}/intermediate/dense",
    "transformer_layer_{i}/feedforward_output_dense": "encoder/layer_{i}/output/dense",
    "transformer_layer_{i}/feedforward_layer_norm": "encoder/layer_{i}/output/LayerNorm",
    "pooled_dense": "pooler/dense",
}

# Key of ``config.json``: argument of ``BertBackbone``.
_SIZES = {
    "vocab_size": "vocabulary_size",
    "hidden_size": "hidden_dim",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "intermediate_dim",
    "max_position_embeddings": "max_sequence_length",
    "type_vocab_size": "num_segments",
}

# What KerasHub adds to the variance in every layer norm of a backbone; no argument changes it.
_LAYER_NORM_EPS = 1e-12


def to_keras_hub(model: BertPreTrainedModel, *, dropout: float | None = None) -> Any:
    """A ``keras_hub.models.BertBackbone`` with the weights, the activation and the dtype policy of a model.

    KerasHub computes GELU by tanh and has no argument for it. Almost all published checkpoints say ``gelu``, the exact
    one. By tanh the hidden states of all-MiniLM-L6-v2 on film snippets are off by up to 4.9e-3; in the root mean square
    by 5.0e-4 of 0.36. So the activation is set in the new backbone's layers (`set_hidden_act`).

    It holds for all that is built on this object, such as ``keras_hub.models.BertTextClassifier``. It is lost where
    KerasHub writes the backbone to a file, alone or inside a task, as ``get_config``, ``save`` and ``save_to_preset``
    have no place for it: load, and call `set_hidden_act` again. Or save ``keras.Model(backbone.input,
    backbone.output)``, whose ``.keras`` file holds the activation and needs KerasHub alone.

    A head has no place in a backbone. That of a classifier is one dense layer in both libraries::

        task = keras_hub.models.BertTextClassifier(to_keras_hub(model), num_classes=model.config.num_labels)
        task.output_dense.set_weights(model.classifier.get_weights())

    That of ``keras_hub.models.BertMaskedLM`` computes other numbers than BERT's: its layer norm adds 1e-5.

    The backbone's inputs are ``token_ids``, ``segment_ids`` and ``padding_mask``, all three needed. It takes no packed
    rows and returns no hidden states or attentions.

    The tokenizer is not converted. ``keras_hub.models.BertTokenizer`` over the same vocabulary gives other ids
    (``Café`` becomes ``[UNK]``, not ``cafe``), so feed the ids of our ``BertTokenizer``.

    Args:
        model: a model of any class.
        dropout: KerasHub's one dropout, for hidden states and attention; None: the configuration's, if it has one.

    Warns:
        UserWarning: weights that are left out, or a pooler that the model lacks and that is newly initialized.

    Raises:
        InputError: what a backbone has no place for: another ``layer_norm_eps`` than 1e-12, two dropouts, weights of
            LoRA or of quantisation; or KerasHub is not installed.

    >>> import numpy as np
    >>> model = BertModel(BertConfig.preset("tiny", vocab_size=99))
    >>> backbone = to_keras_hub(model)
    >>> ids = np.array([[2, 71, 3]])
    >>> outputs = backbone({"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1})
    >>> tuple(outputs["sequence_output"].shape), tuple(outputs["pooled_output"].shape)
    ((1, 3, 128), (1, 128))
    """
    library, config = _keras_hub(), model.config
    if config.layer_norm_eps != _LAYER_NORM_EPS:
        raise InputError(
            f"layer_norm_eps is {config.layer_norm_eps}; KerasHub's BertBackbone has {_LAYER_NORM_EPS} in all layer "
            "norms and no argument for it, so it would compute other numbers."
        )
    if dropout is None:
        dropout = config.hidden_dropout_prob
        if dropout != config.attention_probs_dropout_prob:
            raise InputError(
                f"hidden_dropout_prob is {dropout} and attention_probs_dropout_prob "
                f"{config.attention_probs_dropout_prob}; KerasHub's BertBackbone has one dropout for both. Say which: "
                "to_keras_hub(model, dropout=…)."
            )
    ours = {variable.path: variable for variable in model.weights}
    _check_names(ours, f"the {type(model).__name__}")
    sizes = {argument: getattr(config, key) for key, argument in _SIZES.items()}
    backbone = library.models.BertBackbone(**sizes, dropout=dropout, dtype=model.embeddings.dtype_policy)
    set_hidden_act(backbone, config.hidden_act)
    theirs = _by_our_paths(backbone)
    _copy(ours, theirs)
    told = {
        f"left out of the {type(model).__name__}, as a backbone has no place for them": ours.keys() - theirs.keys(),
        f"newly initialized, as the {type(model).__name__} has none": theirs.keys() - ours.keys(),
    }
    for what, paths in told.items():
        if paths:
            warnings.warn(f"{what}: {', '.join(sorted(paths))}.", stacklevel=2)
    return backbone


def from_keras_hub(backbone: Any, *, hidden_act: str | None = None, **config: Any) -> BertModel:
    """Our ``BertModel`` with the weights and the dtype policy of a ``keras_hub.models.BertBackbone``.

    Args:
        backbone: the backbone; of a task, its ``backbone``.
        hidden_act: the activation that the weights were trained with: ``gelu`` (exact) for almost all checkpoints that
            were made for PyTorch, also those that KerasHub's ``from_preset`` read and runs with GELU by tanh;
            ``gelu_new`` for those that were trained in KerasHub. None: what the backbone computes.
        **config: fields of ``BertConfig`` that a backbone does not know, for example ``pad_token_id``.

    Warns:
        UserWarning: ``hidden_act`` is None and the backbone computes GELU by tanh: as KerasHub always does, that does
            not say what the weights were trained with.

    Raises:
        InputError: not a ``BertBackbone``, fields that contradict it, an activation without a name, the weights of LoRA
            or of quantisation; or KerasHub is not installed.

    >>> import keras_hub
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=99, num_layers=2, num_heads=4, hidden_dim=32, intermediate_dim=37)
    >>> model = from_keras_hub(backbone, hidden_act="gelu_new")
    >>> model.config.hidden_size, model.config.max_position_embeddings
    (32, 512)
    """
    library = _keras_hub()
    if not isinstance(backbone, library.models.BertBackbone):
        inner = ". Pass its .backbone" if hasattr(backbone, "backbone") else ""
        raise InputError(f"a {type(backbone).__name__} was given; a keras_hub BertBackbone was expected{inner}.")
    if hidden_act is None:
        hidden_act = _hidden_act(backbone)
        if hidden_act == "gelu_new":
            warnings.warn(
                "The backbone computes GELU by tanh, as KerasHub does whatever the weights were trained with; "
                "hidden_act='gelu_new' is taken. If they come from a PyTorch checkpoint, pass hidden_act='gelu' (its "
                "config.json says); else pass 'gelu_new', and this warning goes.",
                stacklevel=2,
            )
    known = {key: getattr(backbone, argument) for key, argument in _SIZES.items()}
    known |= {"layer_norm_eps": _LAYER_NORM_EPS, "hidden_act": hidden_act}
    for key, value in known.items():
        if config.get(key, value) != value:
            raise InputError(f"{key} is {config[key]!r}; {value!r} was expected, which the backbone has.")
    dropouts = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), backbone.dropout)
    theirs = _by_our_paths(backbone)
    _check_names(theirs, "the backbone")
    model = BertModel(BertConfig(**{**dropouts, **config, **known}), dtype=backbone.token_embedding.dtype_policy)
    _copy(theirs, {variable.path: variable for variable in model.weights})
    return model


def set_hidden_act(backbone: Any, hidden_act: str) -> None:
    """Sets the activation of the feed-forwards of a ``keras_hub.models.BertBackbone``, in place.

    For a backbone that KerasHub made from a file: its own are always GELU by tanh. Call it before the first ``predict``
    or ``fit``, as functions that are already traced keep what they have.

    Args:
        backbone: the backbone; of a task, its ``backbone``.
        hidden_act: a name as in ``config.json``: ``gelu`` is the exact one, ``gelu_new`` the one by tanh.

    Raises:
        InputError: no activation has that name, or KerasHub is not installed.

    >>> import keras_hub
    >>> backbone = keras_hub.models.BertBackbone(
    ...     vocabulary_size=99, num_layers=2, num_heads=4, hidden_dim=32, intermediate_dim=37)
    >>> set_hidden_act(backbone, "gelu")
    """
    activations = _activations()
    if hidden_act not in activations:
        raise InputError(f"hidden_act {hidden_act!r} is not supported; there are {', '.join(activations)}.")
    for layer in backbone.transformer_layers:
        # The first is for the layer's configuration, the second computes.
        layer.activation = layer._feedforward_intermediate_dense.activation = activations[hidden_act]


def _keras_hub() -> ModuleType:
    try:
        import keras_hub
    except ImportError as error:
        raise InputError(
            f'{error.name} is not installed, which KerasHub\'s models need: `pip install "keras_bert_impl[keras-hub]"`.'
        ) from error
    return keras_hub


def _activations() -> dict[str, Callable[[Any], Any]]:
    """The function of each ``hidden_act``, such as files of KerasHub and Keras can name without this package."""
    _keras_hub()  # registers its function
    exact = keras.activations.gelu
    tanh = keras.saving.get_registered_object("keras_hub>gelu_approximate")
    plain = ("relu", "relu6", "silu", "swish", "mish", "tanh", "sigmoid", "linear")
    return {
        "gelu": exact,
        "gelu_new": tanh,
        "gelu_python": exact,
        "gelu_fast": tanh,
        "gelu_pytorch_tanh": tanh,
        **{name: keras.activations.get(name) for name in plain},
    }


def _hidden_act(backbone: Any) -> str:
    """The first name of what a backbone computes."""
    function = backbone.transformer_layers[0].activation
    for name, known in _activations().items():
        if known is function:
            return name
    raise InputError(f"the backbone's activation is {function}, for which no name is known: say hidden_act=….")


def _by_our_paths(backbone: Any) -> dict[str, keras.Variable]:
    """The variables of a backbone under the paths of ours."""
    layers = {
        theirs.format(i=i): ours.format(i=i) for i in range(backbone.num_layers) for theirs, ours in _LAYERS.items()
    }
    found = {}
    for variable in backbone.weights:
        layer, _, name = variable.path.rpartition("/")
        found[f"{layers[layer]}/{name}"] = variable
    return found


def _check_names(paths: Iterable[str], holder: str) -> None:
    unknown = [path for path in paths if find_torch_name(path) is None]
    if unknown:
        raise InputError(
            f"{holder} holds {unknown[0]}, which no checkpoint of BERT has. Give it without LoRA and quantisation."
        )


def _copy(source: dict[str, keras.Variable], target: dict[str, keras.Variable]) -> None:
    for path in source.keys() & target.keys():
        # As NumPy: JAX would have both variables share one array, which training of either gives away.
        array = keras.ops.convert_to_numpy(source[path])
        target[path].assign(array.reshape(target[path].shape))
