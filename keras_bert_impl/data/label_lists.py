"""Reads tables in which a text has any number of labels."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_bert_impl.data.labels import make_key, make_label, parse_label_list
from keras_bert_impl.data.tables import iterate_rows, make_column_error
from keras_bert_impl.errors import InputError


def iterate_label_lists(
    path: str | Path,
    *,
    text: str = "text",
    text_pair: str = "text_pair",
    label: str | None = None,
    label_columns: str | Sequence[str] | None = None,
    label_delimiter: str = ",",
    weight: str | None = None,
    labeled: bool = True,
) -> Iterator[dict[str, Any]]:
    r"""Yields the examples of a table one by one; ``label`` is the list of the labels that a text has.

    Labels are in one column: a list in JSONL, or names that a delimiter separates. Or each label has its own column,
    with 1 for the texts that have it and 0 for the others. A text may have no label.

    Args:
        path: the file; see `read_table`.
        text: name of the column with the text. A number, as in ``"0"``, selects a column of a file without names.
        text_pair: name of the column with the second text. Under its default name it may be missing.
        label: name of the column with the labels; None: ``label``, or ``labels`` if there is no ``label``.
        label_columns: the names of the columns of the labels, a list, or separated by commas; None: the labels are in
            one column.
        label_delimiter: what separates labels in one column.
        weight: name of the column with the weight of each row in the loss; None: rows have no weights.
        labeled: whether labels are read; false for prediction.

    Raises:
        InputError: the file cannot be used, or the labels of a row are missing; raised when that row is reached.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "comments.csv")
    >>> _ = path.write_text('text,toxic,insult\nYou fool,1,1\nThank you,0,0\n')
    >>> [example["label"] for example in iterate_label_lists(path, label_columns="toxic,insult")]
    [['toxic', 'insult'], []]
    """
    if label is not None and label_columns is not None:
        raise InputError(
            f"the labels are in the column {label!r}, and in a column each, {label_columns!r}; only one of these was "
            "expected. Omit the other."
        )
    if not label_delimiter:
        raise InputError("the delimiter of labels is empty; a string such as ',' was expected.")
    columns = label_columns.split(",") if isinstance(label_columns, str) else label_columns or ()
    columns = [name.strip() for name in columns if name.strip()]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InputError(f"the columns of the labels are {', '.join(columns)}; {twice!r} is there twice. Omit one.")
    if columns and label_delimiter != ",":
        raise InputError(
            f"there is a delimiter of labels, {label_delimiter!r}, and a column for each label; only one of these was "
            "expected. Omit the other."
        )
    others = {"weight": weight} if labeled and weight is not None else {}
    for record, example in iterate_rows(path, text=text, text_pair=text_pair, **others):
        if labeled and columns:
            is_set = {name: _read_flag(record, name, location=example["location"]) for name in columns}
            example["label"] = [name for name in columns if is_set[name]]
        elif labeled:
            column = label or ("labels" if "label" not in record and "labels" in record else "label")
            example["label"] = parse_label_list(
                _take(record, column, location=example["location"]),
                location=example["location"],
                column=column,
                delimiter=label_delimiter,
            )
        yield example


def _read_flag(record: Mapping[str, Any], name: str, *, location: str) -> bool:
    """Returns whether a row has the label with its own column."""
    value = _take(record, name, location=location)
    key = make_key(make_label(value, location=location, column=name))
    if key not in ("0", "1"):
        raise InputError(
            f"{location}: column {name!r} is {value!r:.100}; 1 was expected for a text that has this label, else 0."
        )
    return key == "1"


def _take(record: Mapping[str, Any], name: str, *, location: str) -> Any:
    if name not in record:
        raise make_column_error(record, [name], "contain the labels", location=location)
    return record[name]
