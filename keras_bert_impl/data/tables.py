"""Texts, pairs and labels from TSV, CSV and JSONL files, and from TensorFlow Datasets."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.data.columns import Columns, check_text, in_chunks
from keras_bert_impl.data.text import read_data_lines
from keras_bert_impl.data.tfds import is_tfds, tfds_records
from keras_bert_impl.errors import InputError

# Where a record stands, and its fields by name.
Records = Iterator[tuple[str, dict[str, Any]]]


def read_table(
    path: str | Path,
    *,
    text: str = "text",
    text_pair: str = "text_pair",
    label: str = "label",
    labelled: bool = True,
) -> Columns:
    r"""Reads texts, or pairs of texts, and their labels.

    The ending tells the format. ``.tsv`` is split at each TAB, without quoting; ``.csv`` is quoted as usual; ``.jsonl``
    holds an object a line. TSV and CSV begin with a line of column names, unless columns are given by number.

    Args:
        path: the file, or ``tfds:NAME:SPLIT`` for a data set of TensorFlow Datasets.
        text: name of the column with the text. A number, as ``"0"``, counts columns in a file without names.
        text_pair: name of the column with the second text. Under the default name it may be missing.
        label: name of the column with the label.
        labelled: whether labels are read; false for prediction.

    Returns:
        ``text``, ``text_pair`` if there, ``label`` (always strings) if asked for, and ``where``.

    Raises:
        InputError: a file that is missing, empty or not UTF-8 text; a missing column; a row with too many or too few
            fields; an empty label. The message names file and line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "pairs.csv")
    >>> _ = path.write_text('A plane.,"A plane, in the air.",4.4\n')
    >>> read_table(path, text="0", text_pair="1", label="2")["text_pair"]
    ['A plane, in the air.']
    """
    names = {"text": text, "text_pair": text_pair, "label": label}
    return next(in_chunks(table_examples(path, **names, labelled=labelled)))


def table_examples(
    path: str | Path,
    *,
    text: str = "text",
    text_pair: str = "text_pair",
    label: str = "label",
    labelled: bool = True,
) -> Iterator[dict[str, Any]]:
    """The examples of `read_table`, one after the other, as they are read: files may be larger than the memory."""
    names = {"text": text, "text_pair": text_pair, **({"label": label} if labelled else {})}
    is_first = True
    for place, record in _records(path, header=not text.isdecimal()):
        if is_first and text_pair == "text_pair" and text_pair not in record:
            del names["text_pair"]
        is_first = False
        example = {"where": place}
        for role, name in names.items():
            if name not in record:
                raise InputError(
                    f"{place}: there is no column {name!r}; the columns are {', '.join(map(repr, record))}. "
                    f"Say which of them holds the {role}."
                )
            check = _label if role == "label" else check_text
            example[role] = check(record[name], name=name, place=place)
        yield example
    if is_first:
        raise InputError(f"{path} holds no examples, only the line of column names.")


def _records(path: str | Path, *, header: bool) -> Records:
    if is_tfds(path):
        return tfds_records(str(path))
    read = _FORMATS.get(Path(path).suffix.lower())
    if read is None:
        raise InputError(f"{path}: the ending tells the format, and must be one of {', '.join(_FORMATS)}.")
    return read(path, header)


def _label(value: Any, *, name: str, place: str) -> str:
    """A label as a string; JSON may hold numbers and truth values."""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    label = check_text(value, name=name, place=place).strip()
    if not label:
        raise InputError(f"{place}: the label in column {name!r} is empty. Give it a label, or remove the row.")
    return label


def _named(path: str | Path, rows: Iterator[tuple[int, list[str]]], header: bool) -> Records:
    """Rows of fields, with their line numbers, under the names of the first row, or under their numbers."""
    names: list[str] = []
    for line, fields in rows:
        if not names:
            names = fields if header else [str(number) for number in range(len(fields))]
            if header:
                continue
        if len(fields) != len(names):
            raise InputError(
                f"{path}, line {line}: {len(fields)} fields, but the first line has {len(names)}. "
                "Fields that contain the separator or line breaks must be quoted in CSV, and cannot be in TSV."
            )
        yield f"{path}, line {line}", dict(zip(names, fields, strict=True))


def _tsv(path: str | Path, header: bool) -> Records:
    return _named(path, _tsv_rows(path), header)


def _tsv_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    is_one_column = False
    for number, line in read_data_lines(path):
        if number == 1:
            is_one_column = "\t" not in line
        # In a file of one column an empty line is an empty text; else it is no row.
        if line or is_one_column:
            yield number, line.split("\t")


def _csv(path: str | Path, header: bool) -> Records:
    return _named(path, _csv_rows(path), header)


def _csv_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    # Strict, because else a quote that is never closed silently swallows the rest of the file.
    reader = csv.reader((f"{line}\n" for _, line in read_data_lines(path)), strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: no valid CSV: {error}. Repair the quotes, or use JSONL.") from error


def _jsonl(path: str | Path, header: bool) -> Records:
    for number, line in read_data_lines(path):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{place} is no JSON: {error}. Each line must hold one object.") from error
        if not isinstance(record, dict):
            raise InputError(f"{place} holds a JSON {type(record).__name__}; an object with named fields was expected.")
        yield place, record


_FORMATS: dict[str, Callable[[str | Path, bool], Records]] = {".tsv": _tsv, ".csv": _csv, ".jsonl": _jsonl}
