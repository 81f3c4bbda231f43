"""From a file's tensors to a model's variables and back, by the name table. Knows arrays and names, no model."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_bert_impl.checkpoints.names import DECODER_BIAS, IGNORED, all_names, published_name, row_of, torch_name
from keras_bert_impl.checkpoints.report import Entry, LoadReport
from keras_bert_impl.errors import InputError

_WORDS = "embeddings.word_embeddings.weight"
_BIAS = "cls.predictions.bias"
_DECODER = "cls.predictions.decoder.weight"
# Second names of the word embeddings and of the bias where the decoder is tied: PyTorch models list them, files do not.
TIED = (_DECODER, DECODER_BIAS)
# A file without these is no checkpoint of the model; without the others it is one of another head.
_BACKBONE = ("embeddings/", "encoder/")

# Why the tensor of a head, or of the pooler, is left out of a model without it.
NO_SUCH_HEAD = "this model has no such head"


def match_tensors(
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    source: str,
    new_heads: bool = False,
) -> tuple[dict[str, np.ndarray], LoadReport]:
    """Finds the array for each of a model's variables.

    Args:
        tensors: a file's arrays under the file's names, in any of the published spellings.
        shapes: the shape of each variable of the model, under its path.
        source: what to call the file in messages.
        new_heads: whether a head of another shape is left newly initialised, as for new labels, instead of refused.

    Returns:
        the arrays under the variables' paths, in the variables' shapes, and the report.

    Raises:
        InputError: a tensor of the embeddings or the encoder is missing, or a shape is not the model's.
    """
    found: dict[str, np.ndarray] = {}
    entries: list[Entry] = []
    reasons: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for key in tensors:
        spelling.setdefault(published_name(key), key)
    for key, tensor in tensors.items():
        name = published_name(key)
        shape = tuple(tensor.shape)
        reason = _why_ignored(name, spelling, tensors, shapes)
        if reason is not None:
            entries.append(Entry(key, "ignored", shape, reason))
            continue
        known = row_of(_BIAS if name == DECODER_BIAS else name)
        if known is None or (known[1] not in shapes and known[1].startswith(_BACKBONE)):
            entries.append(Entry(key, "unexpected", shape))
            continue
        row, path = known
        if path not in shapes:
            entries.append(Entry(key, "ignored", shape, NO_SUCH_HEAD))
            continue
        if path in found:
            raise InputError(f"{source}: {key} is there twice, in two spellings ({spelling[name]}).")
        transposed = row.tf1_transposed if "/" in key or key.startswith("output_") else row.torch_transposed
        array = tensor.T if transposed else tensor
        if array.shape != tuple(shapes[path]):
            if new_heads and not path.startswith(_BACKBONE):
                reasons[path] = f"the file's is for other labels, {'×'.join(map(str, shape))}"
                continue
            expected = tuple(shapes[path])[::-1] if transposed else tuple(shapes[path])
            raise InputError(
                f"{source}: {key} has the shape {list(shape)}; the configuration asks for {list(expected)}. "
                "The configuration and the weights are not of one model."
            )
        found[path] = array
        entries.append(Entry(key, "loaded", shape))
    entries += _newly_initialised(found, shapes, reasons, source)
    return found, LoadReport(source=source, entries=tuple(entries))


def state_dict(arrays: Mapping[str, np.ndarray], *, prefix: str, num_hidden_layers: int) -> dict[str, np.ndarray]:
    """A model's arrays under the PyTorch names and in PyTorch's layout, in the order of the name table.

    Args:
        arrays: the arrays under the variables' paths.
        prefix: what stands in front of the backbone's names: ``bert.`` in models with a head.
        num_hidden_layers: number of blocks.

    Raises:
        KeyError: a variable that checkpoints have no name for.
    """
    unknown = [path for path in arrays if torch_name(path) is None]
    if unknown:
        raise KeyError(f"no checkpoint name is known for {', '.join(unknown)}")
    result: dict[str, np.ndarray] = {}
    for path, name in all_names(num_hidden_layers):
        if path not in arrays:
            continue
        known = row_of(name)
        assert known is not None
        array = arrays[path].T if known[0].torch_transposed else arrays[path]
        own = path.startswith((*_BACKBONE, "pooler/"))
        result[(prefix if own else "") + name] = np.ascontiguousarray(array)
    if _BIAS in result:
        if _DECODER not in result:
            result[_DECODER] = result[prefix + _WORDS]
        result[DECODER_BIAS] = result[_BIAS]
    return result


def _why_ignored(
    name: str, names: Mapping[str, str], tensors: Mapping[str, Any], shapes: Mapping[str, Any]
) -> str | None:
    """The reason to leave a tensor out, or None."""
    for pattern, reason in IGNORED.items():
        if re.fullmatch(pattern, name):
            return reason
    if name == _DECODER and "cls/predictions/bias" in shapes and "cls/predictions/decoder/kernel" not in shapes:
        words = names.get(_WORDS)
        if words is not None and not np.array_equal(tensors[words], tensors[names[name]]):
            return "tied to the word embeddings by the configuration, though the file's differs from them"
        return "tied to the word embeddings"
    if name == _BIAS and DECODER_BIAS in names:
        return f"{DECODER_BIAS} counts"
    return None


def _newly_initialised(
    found: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], reasons: Mapping[str, str], source: str
) -> list[Entry]:
    missing = [path for path in shapes if path not in found]
    needed = [_name(path) for path in missing if path.startswith(_BACKBONE)]
    if needed:
        shown = ", ".join(needed[:5]) + (f" and {len(needed) - 5} more" if len(needed) > 5 else "")
        raise InputError(
            f"{source} lacks {shown}. Embeddings and encoder must be whole. "
            "Is the configuration the one of these weights?"
        )
    return [
        Entry(_name(path), "newly initialised", tuple(shapes[path]), reasons.get(path, "not in the file"))
        for path in missing
    ]


def _name(path: str) -> str:
    known = torch_name(path)
    return path if known is None else known[1]
