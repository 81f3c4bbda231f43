"""Matches the tensors of a file with the variables of a model by the name table, and the reverse."""

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from keras_bert_impl.checkpoints.head_labels import HeadLabels
from keras_bert_impl.checkpoints.names import (
    DECODER_BIAS,
    IGNORED,
    WORD_EMBEDDINGS,
    find_path,
    find_torch_name,
    find_wrappers,
    list_names,
    to_torch_names,
)
from keras_bert_impl.errors import InputError

Status = Literal["loaded", "newly initialized", "ignored", "unexpected"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor: its name, status and shape, and the reason for the status if there is one."""

    name: str
    status: Status
    shape: tuple[int, ...]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """The status of each tensor of a file and of each weight of the model.

    ``loaded``: the file's tensor is in the model. ``newly initialized``: the file has no such tensor, so the weight is
    random. ``ignored``: not loaded on purpose, for the given reason. ``unexpected``: BERT has no such tensor.
    ``wrappers`` are what was removed from the names in the file, such as ``module.``. ``notes`` say where the model
    that wrote the file differs from BERT.

    >>> report = LoadReport("demo", (Entry("pooler.dense.bias", "loaded", (32,)),))
    >>> print(report)
    demo
      1 tensor loaded, 32 parameters
    """

    source: str
    entries: tuple[Entry, ...]
    wrappers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def list_names(self, status: Status) -> list[str]:
        """Returns the names of the tensors with this status."""
        return [entry.name for entry in self.entries if entry.status == status]

    def __str__(self) -> str:
        loaded = [entry for entry in self.entries if entry.status == "loaded"]
        numbers = sum(_count_elements(entry.shape) for entry in loaded)
        tensors = "tensor" if len(loaded) == 1 else "tensors"
        lines = [self.source, f"  {len(loaded)} {tensors} loaded, {numbers:,} parameters", *self._format_wrappers()]
        groups: dict[tuple[Status, str], list[Entry]] = collections.defaultdict(list)
        for entry in self.entries:
            if entry.status != "loaded" or entry.reason:
                groups[entry.status, entry.reason].append(entry)
        for (status, reason), entries in groups.items():
            lines.append(f"  {len(entries)} {status}" + (f": {reason}" if reason else ""))
            lines += [f"    {entry.name}  {_format_shape(entry.shape)}" for entry in entries]
        return "\n".join([*lines, *self._format_notes()])

    def format_table(self) -> str:
        """One line per tensor, with its shape, its status and the reason."""
        width = max((len(entry.name) for entry in self.entries), default=0)
        lines = [
            f"{entry.name:<{width}}  {_format_shape(entry.shape):<13} {entry.status}"
            + (f": {entry.reason}" if entry.reason else "")
            for entry in self.entries
        ]
        return "\n".join([*lines, *self._format_wrappers(), *self._format_notes()])

    def _format_wrappers(self) -> list[str]:
        return [f"  names read without {' and '.join(self.wrappers)}"] if self.wrappers else []

    def _format_notes(self) -> list[str]:
        return [f"  note: {note}." for note in self.notes]


def _count_elements(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _format_shape(shape: tuple[int, ...]) -> str:
    return "×".join(str(length) for length in shape) or "scalar"


_BIAS = "cls.predictions.bias"
_DECODER = "cls.predictions.decoder.weight"
# Second names of the word embeddings and of the bias if the decoder is tied: PyTorch models list them, files do not.
TIED = (_DECODER, DECODER_BIAS)
# A checkpoint must contain the weights of these layers; heads may be missing.
_BACKBONE = ("embeddings/", "encoder/")

# The layers whose rows are those of the labels.
_LABELED = ("classifier/",)

# Why the tensor of a head, or of the pooler, is ignored by a model without it.
NO_SUCH_HEAD = "this model has no such head"


_LABELS_ADVICE = "For other labels, pass new_heads=True, which initializes the head newly; otherwise omit id2label."


def match_tensors(
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    source: str,
    new_heads: bool = False,
    file_labels: Sequence[str] = (),
    labels: Sequence[str] = (),
    labels_advice: str = _LABELS_ADVICE,
) -> tuple[dict[str, np.ndarray], LoadReport]:
    """Finds the array of each variable of a model.

    Args:
        tensors: the arrays of a file by their names, in any of the published spellings.
        shapes: the shape of each variable of the model, by its path.
        source: the name of the file, for messages.
        new_heads: whether a head for other labels is newly initialized. False: if its shape differs, it is an error;
            otherwise the head is loaded, with a warning.
        file_labels: the names of the labels in the file's configuration; empty if they are not known.
        labels: the names of the model's labels. If they are those of the file in another order, the rows of the head
            get this order.
        labels_advice: what to do about a head for another number of labels, for messages.

    Returns:
        The arrays by the variables' paths, in the variables' shapes, and the report.

    Raises:
        InputError: a tensor of the embeddings or the encoder is missing, or has another shape than the variable; or
            the file contains several BERTs.

    Warns:
        UserWarning: a head for other labels is loaded.
    """
    arrays: dict[str, np.ndarray] = {}
    entries: list[Entry] = []
    reasons: dict[str, str] = {}
    spellings: dict[str, str] = {}
    names = to_torch_names(tensors.keys(), source=source)
    for key, name in names.items():
        spellings.setdefault(name, key)
    head = HeadLabels(file_labels, labels)
    for key, tensor in tensors.items():
        name = names[key]
        shape = tuple(tensor.shape)
        reason = _find_ignored_reason(name, spellings, tensors, shapes)
        if reason is not None:
            entries.append(Entry(key, "ignored", shape, reason))
            continue
        match = find_path(_BIAS if name == DECODER_BIAS else name)
        if match is None or (match[1] not in shapes and match[1].startswith(_BACKBONE)):
            entries.append(Entry(key, "unexpected", shape))
            continue
        row, path = match
        if path not in shapes:
            entries.append(Entry(key, "ignored", shape, NO_SUCH_HEAD))
            continue
        if path in arrays:
            raise InputError(
                f"{source} contains {key} twice, in two spellings ({spellings[name]}). Remove one of them."
            )
        transposed = row.is_transposed(key)
        array = tensor.T if transposed else tensor
        if array.shape != tuple(shapes[path]):
            if new_heads and not path.startswith(_BACKBONE):
                reasons[path] = f"the file's tensor has the shape {'×'.join(map(str, shape))}, for other labels"
                continue
            expected = tuple(shapes[path])[::-1] if transposed else tuple(shapes[path])
            advice = (
                labels_advice
                if path.startswith(_LABELED)
                else "The configuration and the weights belong to different models."
            )
            raise InputError(
                f"{source}: {key} has the shape {list(shape)}; the configuration needs {list(expected)}. {advice}"
            )
        is_labeled = path.startswith(_LABELED) and head.fits(array)
        if is_labeled and head.are_others and new_heads:
            reasons[path] = head.describe_new_head()
            continue
        arrays[path] = head.order_rows(array) if is_labeled else array
        entries.append(Entry(key, "loaded", shape, head.reason if is_labeled else ""))
    if head.are_others and any(path.startswith(_LABELED) for path in arrays):
        head.warn(source)
    entries += _report_missing(arrays, shapes, reasons, source)
    wrappers = find_wrappers(tensors.keys(), source=source)
    return arrays, LoadReport(source=source, entries=tuple(entries), wrappers=tuple(wrappers))


def make_state_dict(arrays: Mapping[str, np.ndarray], *, prefix: str, num_hidden_layers: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a model by their PyTorch names and in PyTorch's layout, in the order of the name table.

    Args:
        arrays: the arrays by the variables' paths.
        prefix: the prefix of the backbone's names: ``bert.`` in models with a head.
        num_hidden_layers: the number of layers.

    Raises:
        KeyError: the name table does not contain a variable.
    """
    unknown = [path for path in arrays if find_torch_name(path) is None]
    if unknown:
        raise KeyError(f"no checkpoint name is known for {', '.join(unknown)}")
    result: dict[str, np.ndarray] = {}
    for path, name in list_names(num_hidden_layers):
        if path not in arrays:
            continue
        match = find_path(name)
        assert match is not None
        array = arrays[path].T if match[0].torch_transposed else arrays[path]
        is_backbone = path.startswith((*_BACKBONE, "pooler/"))
        result[(prefix if is_backbone else "") + name] = np.ascontiguousarray(array)
    if _BIAS in result:
        if _DECODER not in result:
            result[_DECODER] = result[prefix + WORD_EMBEDDINGS]
        result[DECODER_BIAS] = result[_BIAS]
    return result


def _find_ignored_reason(
    name: str, spellings: Mapping[str, str], tensors: Mapping[str, Any], shapes: Mapping[str, Any]
) -> str | None:
    """Why a tensor is ignored; None if it is not."""
    for pattern, reason in IGNORED.items():
        if re.fullmatch(pattern, name):
            return reason
    if name == _DECODER and "cls/predictions/bias" in shapes and "cls/predictions/decoder/kernel" not in shapes:
        words = spellings.get(WORD_EMBEDDINGS)
        if words is not None and not np.array_equal(tensors[words], tensors[spellings[name]]):
            return "tied to the word embeddings by the configuration, although the file's tensor differs from them"
        return "tied to the word embeddings"
    if name == _BIAS and DECODER_BIAS in spellings:
        return f"{DECODER_BIAS} is used instead"
    return None


def _report_missing(
    arrays: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], reasons: Mapping[str, str], source: str
) -> list[Entry]:
    """Returns the entries of newly initialized variables; raises ``InputError`` if one belongs to the backbone."""
    missing = [path for path in shapes if path not in arrays]
    needed = [_find_name(path) for path in missing if path.startswith(_BACKBONE)]
    if needed:
        shown = ", ".join(needed[:5]) + (f" and {len(needed) - 5} more" if len(needed) > 5 else "")
        raise InputError(
            f"{source} lacks {shown}. Embeddings and encoder must be complete. "
            "Check that the configuration belongs to these weights."
        )
    return [
        Entry(_find_name(path), "newly initialized", tuple(shapes[path]), reasons.get(path, "not in the file"))
        for path in missing
    ]


def _find_name(path: str) -> str:
    match = find_torch_name(path)
    return path if match is None else match[1]
