"""Reads data in memory as the rows of a table: data frames, data sets of other libraries, lists and dictionaries."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_bert_impl.data.tables import Records, count_examples, is_missing
from keras_bert_impl.errors import InputError


class MemoryTable:
    """A table in memory. Readers of tables take it instead of a file.

    Args:
        data: a data frame of pandas or polars, a ``Dataset`` of Hugging Face ``datasets``, a ``tf.data.Dataset`` of
            single examples, a dictionary of columns, or an iterable of dictionaries. An example that is a string
            becomes the column ``text``, and a tuple, as in ``tf.data``, also the column ``label``.
        name: what to call it in messages.

    >>> table = MemoryTable({"text": ["A great film.", None], "label": [1, 0]}, name="train")
    >>> list(table.read_records())[1]
    ('train, row 2', {'text': None, 'label': 0})
    """

    def __init__(self, data: Any, *, name: str) -> None:
        self.data = data
        self.name = name

    def __str__(self) -> str:
        return self.name

    def read_records(self) -> Records:
        """Yields the location of each row, counted from 1, and its fields by name; missing values are None.

        Raises:
            InputError: data of another type, or without rows; raised when that row is reached.
        """
        features = getattr(self.data, "features", None)
        features = features if isinstance(features, Mapping) else None
        location = ""
        for number, row in enumerate(self._iterate_rows(), 1):
            location = f"{self.name}, row {number}"
            record = to_python(_name_fields(row, location), features)
            yield location, {str(name): value for name, value in record.items()}
        if not location:
            raise InputError(f"{self.name} has no rows; examples were expected.")

    def _iterate_rows(self) -> Iterator[Any]:
        data = self.data
        if isinstance(data, dict):
            return self._iterate_columns(data)
        if hasattr(data, "iter_rows"):  # polars
            return data.iter_rows(named=True)
        if hasattr(data, "itertuples"):  # pandas
            return iter(data.to_dict("records"))
        if hasattr(data, "as_numpy_iterator"):  # tf.data
            return data.as_numpy_iterator()
        if isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping):
            return iter(data)
        raise InputError(
            f"{self.name} has the type {type(data).__name__}; a file, a data frame, a data set, a dictionary of "
            "columns or a list of dictionaries was expected."
        )

    def _iterate_columns(self, columns: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if hasattr(columns, "column_names"):  # The DatasetDict of Hugging Face datasets
            raise InputError(f"{self.name} has the splits {', '.join(map(repr, columns))}. Choose one of them.")
        for name, values in columns.items():
            if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__"):
                raise InputError(
                    f"{self.name}: the column {name!r} is {values!r:.50} ({type(values).__name__}); a list with an "
                    "entry per example was expected."
                )
        count_examples(columns, name=self.name)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def _name_fields(row: Any, location: str) -> Mapping[str, Any]:
    """Returns the fields of a row by name."""
    fields, *labels = row if isinstance(row, tuple) and len(row) == 2 else (row,)
    if isinstance(fields, str | bytes):
        fields = {"text": fields}
    if not isinstance(fields, Mapping):
        raise InputError(
            f"{location} is {row!r:.100} ({type(row).__name__}); a dictionary of fields or a string was expected. Data "
            "of tf.data must not be batched."
        )
    return {**fields, "label": labels[0]} if labels else fields


def to_python(value: Any, feature: Any = None) -> Any:
    """Converts a value to Python's own types: bytes to strings, arrays to lists, and missing values to None.

    Args:
        value: a value of NumPy, pandas, or Python.
        feature: the description of the value in its data set (of ``datasets`` or TensorFlow Datasets), which gives
            classes names; None: there is none.

    >>> import numpy as np
    >>> to_python({"words": np.array([b"A", b"film"]), "label": np.float32("nan")})
    {'words': ['A', 'film'], 'label': None}
    """
    # A sequence of dictionaries may arrive as a dictionary of sequences; its description has one more level.
    inner = getattr(feature, "feature", feature)
    if isinstance(value, Mapping):
        return {name: to_python(part, _get_feature(inner, name)) for name, part in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [to_python(part, inner) for part in value]
    if hasattr(feature, "int2str") and isinstance(value, int):
        # Test splits hide their labels as -1.
        return feature.int2str(value) if value >= 0 else ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value  # A picture, for example. Where a text is expected, its reader raises an error.
    return None if is_missing(value) else value


def _get_feature(features: Any, name: str) -> Any:
    """Returns the description of one field; None if there is none, as for the languages of a translation."""
    try:
        return features[name]
    except (KeyError, TypeError):
        return None
