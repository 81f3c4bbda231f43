"""Columns of examples from the strings and labels that the methods of a Keras model take."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.tables import Columns, check_texts, count_examples, is_missing
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Task


def make_columns(task: Task, inputs: Any) -> Columns:
    """Returns the columns of examples without labels.

    Args:
        task: the task, whose ``text_columns`` name the texts of an example.
        inputs: a list, an array or a tensor of texts; a tuple of them, one for each column; or a dictionary of columns,
            which may have labels and locations too.

    Raises:
        InputError: it is a single string, lacks a column, or has one that the task does not use.

    >>> from keras_bert_impl.tasks import TASKS
    >>> make_columns(TASKS["classification"], (np.array(["a", "b"]), [b"c", b"d"]))
    {'text': ['a', 'b'], 'text_pair': ['c', 'd']}
    """
    names = task.text_columns
    more: Columns = {}
    if isinstance(inputs, Mapping):
        known = {*names, *task.file_columns, task.label_column, "location", "id"}
        if names[0] not in inputs or not known.issuperset(inputs):
            raise InputError(
                f"the dictionary has the entries {', '.join(map(repr, inputs))}; for {task.name} "
                f"{' and '.join(map(repr, names))} were expected, and optionally {task.label_column!r}. Rename them."
            )
        others = known - {*names, task.label_column}
        more = {name: to_list(inputs[name], name=f"entries of {name!r}") for name in inputs if name in others}
        texts = [inputs.get(name) for name in names]
    elif isinstance(inputs, tuple) and inputs and not isinstance(inputs[0], str | bytes):
        if len(inputs) > len(names):
            raise InputError(
                f"the tuple has {len(inputs)} parts; for {task.name} {' and '.join(map(repr, names))} were expected. "
                "Put single texts into a list."
            )
        texts = list(inputs)
    else:
        texts = [inputs]
    columns = {
        name: to_list(values, name=f"entries of {name!r}")
        for name, values in zip(names, texts, strict=False)
        if values is not None
    }
    count_examples({**columns, **more}, name="the texts")
    for name, values in columns.items():
        for i, value in enumerate(values):
            if is_missing(value):
                raise InputError(f"example {i + 1}: {name} is missing ({value}). Add it, or remove the example.")
    return {**task.from_texts(*columns.values()), **more}


def take_labels(task: Task, inputs: Any, labels: Any) -> list[Any] | None:
    """Returns the labels that a user passed with the inputs or inside them, as a list; None if there are none."""
    if isinstance(inputs, Mapping) and task.label_column in inputs:
        if labels is not None:
            raise InputError(
                f"there are labels in the dictionary ({task.label_column!r}) and in a second argument; pass only one."
            )
        labels = inputs[task.label_column]
    if isinstance(labels, Mapping) and len(labels) == 1:  # Keras' form, by the name of the output.
        (labels,) = labels.values()
    elif isinstance(labels, Mapping):  # A column for each part of a label, as tf.data has answers.
        parts = {name: to_list(values, name=f"entries of {name!r}") for name, values in labels.items()}
        count_examples(parts, name="the labels")
        labels = [dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)]
    return None if labels is None else to_list(labels, name="labels")


def add_labels(task: Task, columns: Columns, labels: list[Any] | None, config: BertConfig) -> Columns:
    """Returns columns with labels, from ids or names as a Keras user has them.

    Args:
        task: the task.
        columns: the columns without labels.
        labels: a label per example.
        config: the model's configuration, with the names of the labels.

    Raises:
        InputError: labels are missing, their number differs from that of the texts, or one cannot be used.

    >>> from keras_bert_impl.tasks import TASKS
    >>> config = BertConfig(id2label={0: "bad", 1: "good"})
    >>> add_labels(TASKS["classification"], {"text": ["a", "b"]}, [1, "bad"], config)["label"]
    ['good', 'bad']
    """
    if labels is None:
        if not task.labels_are_texts:
            raise InputError(
                f"there are no labels; {task.name} needs one for each text. Pass them as the second argument, or as "
                "the second part of each element of a dataset."
            )
        return {**columns, task.label_column: columns[task.text_columns[0]]}
    if task.labels_are_texts:
        raise InputError(f"there are labels, but {task.name} masks tokens of the texts itself. Omit the labels.")
    count_examples({**columns, task.label_column: labels}, name="texts and labels")
    parsed = [task.parse_label(label, columns, i, config) for i, label in enumerate(labels)]
    return {**columns, task.label_column: parsed}


def to_list(values: Any, *, name: str) -> list[Any]:
    """Returns the entries of a list, an array, a series or a tensor as Python values; bytes are decoded as UTF-8.

    Args:
        values: the values; arrays ``[n, 1]`` become ``[n]``.
        name: what to call them in messages.

    Raises:
        InputError: it is one value, such as a string.

    >>> to_list(np.array([[b"a"], [b"b"]]), name="texts")
    ['a', 'b']
    """
    if hasattr(values, "__array__"):  # Of any library.
        array = np.asarray(values)
        values = (array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array).tolist()
    check_texts(values, name=name)
    return _decode(list(values))


def _decode(values: list[Any]) -> list[Any]:
    """Converts arrays in a list to lists, and bytes, which TensorFlow's strings are, to strings."""
    return [
        value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else _decode(value.tolist() if isinstance(value, np.ndarray) else list(value))
        if isinstance(value, list | tuple | np.ndarray)
        else value
        for value in values
    ]
