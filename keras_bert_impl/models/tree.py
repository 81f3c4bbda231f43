"""The module tree of a model as text, in the form that PyTorch prints."""

from typing import Any

import keras

from keras_bert_impl.layers import BertLayer, L2Normalization, SentencePooling

# The modules inside ``bert`` in the published models with a head.
_BACKBONE = ("embeddings", "encoder", "pooler")

# Layers that the tree shows although they have no weights.
_WITHOUT_WEIGHTS = (keras.layers.Dropout, SentencePooling, L2Normalization)


def format_tree(model: Any) -> str:
    """Returns the names, classes and sizes of all layers, indented.

    >>> from keras_bert_impl import BertConfig, BertModel
    >>> print(format_tree(BertModel(BertConfig.preset("tiny", num_hidden_layers=1))).splitlines()[2])
        (word_embeddings): Embedding(30522, 128)
    """
    parts = {layer.name: layer for layer in model.layers if layer.weights or isinstance(layer, _WITHOUT_WEIGHTS)}
    lines = [f"{type(model).__name__}("]
    if model.checkpoint_prefix:
        lines.append("  (bert): BertModel(")
        lines += [line for name in _BACKBONE if name in parts for line in _format_lines(name, parts[name], 2)]
        lines.append("  )")
        parts = {name: part for name, part in parts.items() if name not in _BACKBONE}
    lines += [line for name, part in parts.items() for line in _format_lines(name, part, 1)]
    return "\n".join([*lines, ")"])


def _format_lines(name: str, layer: Any, depth: int) -> list[str]:
    indent = "  " * depth
    children = list(layer._flatten_layers(include_self=False, recursive=False))
    if not children:
        return [f"{indent}({name}): {_describe_leaf(layer)}"]
    if all(isinstance(child, BertLayer) for child in children):
        # All blocks are alike, so only the first is printed.
        first, *inner = _format_lines(children[0].name, children[0], depth + 1)
        numbers = f"{indent}  (layer_0-{len(children) - 1}): {len(children)} x BertLayer("
        inner = [numbers if len(children) > 1 else first, *inner]
    else:
        inner = [line for child in children for line in _format_lines(child.name, child, depth + 1)]
    return [f"{indent}({name}): {type(layer).__name__}(", *inner, f"{indent})"]


def _describe_leaf(layer: Any) -> str:
    """Describes a layer that has no layers inside."""
    kind = type(layer).__name__
    match layer:
        case keras.layers.Embedding():
            return f"{kind}({layer.input_dim}, {layer.output_dim})"
        case keras.layers.Dense():
            return f"Dense(in={layer.kernel.shape[0]}, out={layer.units}, bias={layer.use_bias})"
        case keras.layers.LayerNormalization():
            return f"{kind}({layer.gamma.shape[0]}, epsilon={layer.epsilon})"
        case SentencePooling():
            return f"{kind}({', '.join(layer.modes)})"
        case keras.layers.Dropout():
            return f"{kind}({layer.rate})"
    return f"{kind}()"
