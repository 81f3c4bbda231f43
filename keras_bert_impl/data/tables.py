"""Reads texts, text pairs and labels from TSV, CSV and JSONL files, and from TensorFlow Datasets."""

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keras_bert_impl.data.labels import make_label
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import SURROGATE, make_read_error, make_utf8_error

if TYPE_CHECKING:
    from keras_bert_impl.data.in_memory import MemoryTable

Columns = dict[str, list[Any]]
_Item = TypeVar("_Item")

# The first line that Excel reads a separator from.
_SEPARATOR_LINE = re.compile(r""""?sep=(?P<separator>[^"'])"?\n""", re.IGNORECASE)
# The number of lines by which the separator of a CSV file is found.
_SNIFFED_LINES = 100


def iterate_chunks(items: Iterable[_Item], size: int | None) -> Iterator[list[_Item]]:
    """Yields lists of ``size`` items each; the last one may be shorter. None puts all items into one list.

    >>> list(iterate_chunks("abc", 2))
    [['a', 'b'], ['c']]
    """
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def to_columns(examples: Iterable[dict[str, Any]], size: int | None = None) -> Iterator[Columns]:
    """Collects examples into columns of ``size`` examples each; None puts all examples into one chunk.

    >>> list(to_columns([{"text": "a"}, {"text": "b"}, {"text": "c"}], 2))
    [{'text': ['a', 'b']}, {'text': ['c']}]
    """
    for chunk in iterate_chunks(examples, size):
        yield {name: [example[name] for example in chunk] for name in chunk[0]}


def location(columns: Columns, index: int) -> str:
    """Returns the location of an example for messages: file and line if the columns contain them, otherwise its number.

    >>> location({"text": ["a", "b"]}, 1)
    'example 2'
    >>> location({"text": ["a", "b"], "location": ["x.tsv, line 2", "x.tsv, line 3"]}, 1)
    'x.tsv, line 3'
    """
    return columns["location"][index] if "location" in columns else f"example {index + 1}"


def count_examples(columns: Columns, *, name: str) -> int:
    """Returns the number of examples in columns.

    Args:
        columns: the columns.
        name: what to call the columns in messages.

    Raises:
        InputError: there are no examples, or the columns have different lengths.

    >>> count_examples({"text": ["a", "b"], "label": ["0", "1"]}, name="train")
    2
    """
    counts = {column: len(values) for column, values in columns.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise InputError(f"{name}: the columns have {counts} entries; the same number above 0 was expected.")
    return next(iter(counts.values()))


def is_broken_text(value: Any) -> bool:
    r"""Whether a value is a string that cannot be encoded, or bytes (which readers return if they are not UTF-8).

    >>> is_broken_text("\ud83d"), is_broken_text("text")
    (True, False)
    """
    return isinstance(value, bytes) or (isinstance(value, str) and SURROGATE.search(value) is not None)


# Missing values of pandas, which is not imported here.
_MISSING_TYPES = ("NAType", "NaTType")


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or a missing value of pandas.

    >>> is_missing(None), is_missing(float("nan")), is_missing("")
    (True, True, False)
    """
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or type(value).__name__ in _MISSING_TYPES


def check_text(value: Any, *, name: str, location: str) -> str:
    """Returns ``value`` if it is a string that can be encoded, possibly empty. JSON can contain other values.

    Args:
        value: the value.
        name: the name of its field, for messages.
        location: file and line, for messages.

    Raises:
        InputError: it is not a string, or contains half of a surrogate pair.
    """
    if value is None:
        raise InputError(f"{location}: {name} is missing; a string was expected. Add it, or remove the row.")
    if not isinstance(value, str):
        raise InputError(f"{location}: {name} is {value!r:.200}; a string was expected.")
    if SURROGATE.search(value):
        raise InputError(
            f"{location}: {name} contains half of a surrogate pair, such as \\ud83d alone. Correct the text."
        )
    return value


def check_texts(texts: Any, *, name: str) -> None:
    """Checks that ``texts`` are several texts, and not one string, whose characters would be taken as texts.

    Args:
        texts: the value; each text in it is checked when it is used.
        name: what to call the texts in messages.

    Raises:
        InputError: it is a string, a mapping, or not iterable.
    """
    if isinstance(texts, str):
        raise InputError(
            f"the {name} are one string, {texts!r:.50}; a list of strings was expected. Put it into a list."
        )
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable):
        raise InputError(f"the {name} are {texts!r:.50} ({type(texts).__name__}); a list of strings was expected.")


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Reads a UTF-8 text file line by line: yields the number of each line and its text without the line end.

    A byte order mark at the start, which spreadsheets write, is dropped.

    Raises:
        InputError: the file is missing, empty, not UTF-8, or contains a NUL byte; raised when that line is reached.
    """
    begin = 0
    is_empty = True
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise make_utf8_error(path, error, line=number, offset=begin) from error
                if "\0" in line:
                    raise InputError(
                        f"{path}, line {number} contains a NUL byte; UTF-8 text was expected. Save the file as UTF-8."
                    )
                line = line.removeprefix("\ufeff") if number == 1 else line
                is_empty = is_empty and not line.strip()
                begin += len(raw)
                yield number, line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
    except OSError as error:
        raise make_read_error(path, error) from error
    if is_empty:
        raise InputError(f"{path} is empty; examples were expected.")


def is_tfds(path: str | Path) -> bool:
    """Whether ``path`` names a data set of TensorFlow Datasets (``tfds:NAME:SPLIT``) instead of a file."""
    return str(path).startswith("tfds:")


# The location and the fields of each record.
Records = Iterator[tuple[str, dict[str, Any]]]


def read_table(
    path: str | Path,
    *,
    text: str = "text",
    text_pair: str = "text_pair",
    label: str = "label",
    weight: str | None = None,
    labeled: bool = True,
) -> Columns:
    r"""Reads texts or text pairs, and their labels.

    The file name extension decides the format. ``.tsv``: fields are separated by TABs, without quoting. ``.csv``:
    fields may be quoted, and are separated by commas, or as Excel writes them by ``;`` or TABs. ``.jsonl``: one object
    per line. TSV and CSV start with a line of column names, unless columns are given by number.

    Args:
        path: the file, or ``tfds:NAME:SPLIT`` for a data set of TensorFlow Datasets.
        text: name of the column with the text. A number, as in ``"0"``, selects a column of a file without names.
        text_pair: name of the column with the second text. Under its default name it may be missing.
        label: name of the column with the label.
        weight: name of the column with the weight of each row in the loss; None: rows have no weights.
        labeled: whether labels are read; false for prediction.

    Returns:
        ``text``, ``text_pair`` if the file has it, ``label`` (always strings) and ``weight`` if requested, and
        ``location``.

    Raises:
        InputError: the file is missing, empty or not UTF-8 text; a column is missing; a row has too many or too few
            fields; a label is missing; a weight is negative or not a finite number. The message names the file and the
            line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "pairs.csv")
    >>> _ = path.write_text('A plane.,"A plane, in the air.",4.4\n')
    >>> read_table(path, text="0", text_pair="1", label="2")["text_pair"]
    ['A plane, in the air.']
    """
    names = {"text": text, "text_pair": text_pair, "label": label}
    return next(to_columns(iterate_table(path, **names, weight=weight, labeled=labeled)))


def iterate_table(
    path: str | Path,
    *,
    text: str = "text",
    text_pair: str = "text_pair",
    label: str = "label",
    weight: str | None = None,
    labeled: bool = True,
) -> Iterator[dict[str, Any]]:
    """Yields the examples of `read_table` one by one while the file is read: it may be larger than the memory."""
    others = {"label": label, **({} if weight is None else {"weight": weight})} if labeled else {}
    return (example for _, example in iterate_rows(path, text=text, text_pair=text_pair, **others))


def iterate_rows(
    path: str | Path, *, text: str, text_pair: str, **others: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields the fields of each row by the names of columns, and those that ``take_fields`` selects by their roles.

    Args:
        path: the file.
        text: name of the column with the text; a number if the file has no header.
        text_pair: name of the column with the second text. Under its default name it may be missing.
        **others: names of the columns with other roles.
    """
    names = {"text": text, "text_pair": text_pair, **others}
    is_first = True
    for location, record in read_records(path, header=not text.isdecimal()):
        if is_first and text_pair == "text_pair" and text_pair not in record:
            del names["text_pair"]
        is_first = False
        yield record, take_fields(record, names, location=location)
    if is_first:
        raise make_empty_error(path)


def take_fields(record: Mapping[str, Any], names: Mapping[str, str], *, location: str) -> dict[str, Any]:
    """Returns fields of a record by their roles: strings, the ``weight`` as a number, and the ``location``.

    Args:
        record: the fields by the names of columns.
        names: the name of the column for each role; the role ``label`` may be a number, and must not be empty.
        location: file and line, for messages.

    Raises:
        InputError: the record lacks a column, or it does not contain a string.
    """
    example = {"location": location}
    for role, name in names.items():
        if name not in record:
            raise make_column_error(record, [name], f"contains the {role}", location=location)
        check = _CHECKS.get(role, check_text)
        example[role] = check(record[name], name=name, location=location)
    return example


def make_column_error(record: Iterable[str], names: Sequence[str], content: str, *, location: str) -> InputError:
    """Returns the error for a record that has none of the columns ``names``; one that it has should be named."""
    return InputError(
        f"{location}: there is no column {' or '.join(map(repr, names))}; the columns are "
        f"{', '.join(map(repr, record))}. Say which of them {content}."
    )


def make_empty_error(path: str | Path) -> InputError:
    """Returns the error for a table without rows."""
    return InputError(f"{path} contains only the line of column names; examples were expected.")


def iterate_texts(path: str | Path, *, column: str = "text") -> Iterator[str]:
    """Yields the texts of a file while it is read.

    Args:
        path: a ``.txt`` file with a text per line, empty lines included; or a table, see `read_table`.
        column: name of the table's column with the texts; a number if it has no header.

    Raises:
        InputError: the file or the column cannot be used; raised when that line is reached.
    """
    if Path(path).suffix.lower() == ".txt":
        return (line for _, line in read_lines(path))
    return (example["text"] for example in iterate_table(path, text=column, labeled=False))


def read_records(path: "str | Path | MemoryTable", *, header: bool) -> Records:
    """Yields the records of a table: the location of each, and its fields by name."""
    if not isinstance(path, str | os.PathLike):
        return path.read_records()
    if is_tfds(path):
        from keras_bert_impl.data.tfds import read_tfds

        return read_tfds(str(path))
    read = _FORMATS.get(Path(path).suffix.lower())
    if read is None:
        raise InputError(f"{path}: the file name must end in one of {', '.join(_FORMATS)}, which decides the format.")
    return read(path, header)


def _check_label(value: Any, *, name: str, location: str) -> str:
    """Returns a label as a string; in JSON it may be a number or a boolean."""
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    if isinstance(value, str):
        check_text(value, name=name, location=location)
    make_label(value, location=location, column=name)  # Refuses a missing label. Regression needs all digits.
    return value.strip()


def check_weight(value: Any, *, name: str, location: str) -> float:
    """Returns the weight of a row, a number or its text.

    Raises:
        InputError: it is negative, or not a finite number.
    """
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise InputError(
            f"{location}: the weight in column {name!r} is {value!r:.100}; a finite number from 0 was expected. "
            "Correct it, or remove the row."
        )
    return weight


_CHECKS: dict[str, Callable[..., Any]] = {"label": _check_label, "weight": check_weight}


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
                f"{path}, line {line} has {len(fields)} fields; the first line has {len(names)}. "
                "Fields that contain the separator or line breaks must be quoted in CSV; TSV cannot contain them."
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
    lines = (f"{line}\n" for _, line in read_lines(path))
    first = list(islice(lines, _SNIFFED_LINES))
    named = _SEPARATOR_LINE.fullmatch(first[0]) if first else None
    skipped = 1 if named else 0
    line = skipped + 1
    try:
        separator = named["separator"] if named else _find_separator(first)
        # Strict: otherwise a quote that is never closed silently swallows the rest of the file.
        reader = csv.reader(chain(first[skipped:], lines), delimiter=separator, strict=True)
        for fields in reader:
            if fields:
                yield line, fields
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: not valid CSV: {error}. Repair the quotes, or use JSONL.") from error


def _find_separator(lines: list[str]) -> str:
    """Returns the separator that splits lines of CSV into the same number of fields: ``;``, TAB or comma.

    The comma is the last, because with ``;`` texts and decimal numbers contain commas without quotes. If the numbers
    of fields differ with each of them, the one that splits the first line into the most fields is returned.
    """
    widths = {separator: _count_fields(lines, separator) for separator in ";\t,"}
    if len(lines) == _SNIFFED_LINES:
        widths = {separator: counts[:-1] for separator, counts in widths.items()}  # The last row may be incomplete.
    for separator, counts in widths.items():
        if len(counts) > 1 and counts[0] > 1 and len(set(counts)) == 1:
            return separator
    return max(",;\t", key=lambda separator: widths[separator][:1])


def _count_fields(lines: list[str], separator: str) -> list[int]:
    try:
        return [len(row) for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error:  # A field is too long, as with a wrong separator.
        return []


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
