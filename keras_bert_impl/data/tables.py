"""Reads texts, text pairs and labels from TSV, CSV and JSONL files, and from TensorFlow Datasets."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.data.columns import Columns, check_text, is_tfds, read_lines, to_columns
from keras_bert_impl.errors import InputError

# The location and the fields of each record.
Records = Iterator[tuple[str, dict[str, Any]]]


def read_table(
    path: str | Path,
    *,
    text: str = "text",
    text_pair: str = "text_pair",
    label: str = "label",
    labeled: bool = True,
) -> Columns:
    r"""Reads texts or text pairs, and their labels.

    The file name extension decides the format. ``.tsv``: fields are separated by TABs, without quoting. ``.csv``:
    fields may be quoted. ``.jsonl``: one object per line. TSV and CSV start with a line of column names, unless columns
    are given by number.

    Args:
        path: the file, or ``tfds:NAME:SPLIT`` for a data set of TensorFlow Datasets.
        text: name of the column with the text. A number, as in ``"0"``, selects a column of a file without names.
        text_pair: name of the column with the second text. Under its default name it may be missing.
        label: name of the column with the label.
        labeled: whether labels are read; false for prediction.

    Returns:
        ``text``, ``text_pair`` if the file has it, ``label`` (always strings) if requested, and ``location``.

    Raises:
        InputError: the file is missing, empty or not UTF-8 text; a column is missing; a row has too many or too few
            fields; a label is empty. The message names the file and the line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "pairs.csv")
    >>> _ = path.write_text('A plane.,"A plane, in the air.",4.4\n')
    >>> read_table(path, text="0", text_pair="1", label="2")["text_pair"]
    ['A plane, in the air.']
    """
    names = {"text": text, "text_pair": text_pair, "label": label}
    return next(to_columns(iterate_table(path, **names, labeled=labeled)))


def iterate_table(
    path: str | Path,
    *,
    text: str = "text",
    text_pair: str = "text_pair",
    label: str = "label",
    labeled: bool = True,
) -> Iterator[dict[str, Any]]:
    """Yields the examples of `read_table` one by one while the file is read: it may be larger than the memory."""
    names = {"text": text, "text_pair": text_pair, **({"label": label} if labeled else {})}
    is_first = True
    for location, record in read_records(path, header=not text.isdecimal()):
        if is_first and text_pair == "text_pair" and text_pair not in record:
            del names["text_pair"]
        is_first = False
        example = {"location": location}
        for role, name in names.items():
            if name not in record:
                raise InputError(
                    f"{location}: there is no column {name!r}; the columns are {', '.join(map(repr, record))}. "
                    f"Say which of them contains the {role}."
                )
            check = _check_label if role == "label" else check_text
            example[role] = check(record[name], name=name, location=location)
        yield example
    if is_first:
        raise InputError(f"{path} contains no examples, only the line of column names.")


def read_records(path: str | Path, *, header: bool) -> Records:
    """Yields the records of a table: the location of each, and its fields by name."""
    if is_tfds(path):
        from keras_bert_impl.data.tfds import read_tfds

        return read_tfds(str(path))
    read = _FORMATS.get(Path(path).suffix.lower())
    if read is None:
        raise InputError(f"{path}: the file name must end in one of {', '.join(_FORMATS)}, which decides the format.")
    return read(path, header)


def _check_label(value: Any, *, name: str, location: str) -> str:
    """A label as a string; in JSON it may be a number or a truth value."""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    label = check_text(value, name=name, location=location).strip()
    if not label:
        raise InputError(f"{location}: the label in column {name!r} is empty. Add the label, or remove the row.")
    return label


def _name_fields(path: str | Path, rows: Iterator[tuple[int, list[str]]], header: bool) -> Records:
    """Names the fields of numbered rows by the first row, or by their position if there is no header."""
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


def _read_tsv(path: str | Path, header: bool) -> Records:
    return _name_fields(path, _split_tsv(path), header)


def _split_tsv(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    is_one_column = False
    for number, line in read_lines(path):
        if number == 1:
            is_one_column = "\t" not in line
        # In a file with one column an empty line is an empty text; otherwise it is not a row.
        if line or is_one_column:
            yield number, line.split("\t")


def _read_csv(path: str | Path, header: bool) -> Records:
    return _name_fields(path, _split_csv(path), header)


def _split_csv(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    # Strict: otherwise a quote that is never closed silently swallows the rest of the file.
    reader = csv.reader((f"{line}\n" for _, line in read_lines(path)), strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: not valid CSV: {error}. Repair the quotes, or use JSONL.") from error


def _read_jsonl(path: str | Path, header: bool) -> Records:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        location = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{location} is not JSON: {error}. Each line must contain one object.") from error
        if not isinstance(record, dict):
            raise InputError(
                f"{location} contains a JSON {type(record).__name__}; an object with named fields was expected."
            )
        yield location, record


_FORMATS: dict[str, Callable[[str | Path, bool], Records]] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}
