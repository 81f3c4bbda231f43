"""Reads words and their tags from CoNLL files."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from keras_bert_impl.data.span_annotations import iterate_tagged
from keras_bert_impl.data.tables import Columns, is_tfds, read_lines, to_columns
from keras_bert_impl.errors import InputError


def read_conll(path: str | Path, *, labeled: bool = True) -> Columns:
    r"""Reads sentences of tagged words: one word per line, its tag in the last column, empty lines between sentences.

    Columns are separated by TABs, or by spaces in lines without a TAB. Lines with ``-DOCSTART-`` are skipped.

    Args:
        path: the file, or ``tfds:NAME:SPLIT`` for a data set with ``tokens`` and ``tags``.
        labeled: whether tags are read; without them the file may contain words only.

    Returns:
        ``words``, ``label`` (the tags) if requested, each a list of strings per example, and ``location``.

    Raises:
        InputError: the file is missing, empty or not UTF-8 text; a line has fewer or more columns than the first; a
            word has no tag or a tag no word. The message names the file and the line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "tags.conll")
    >>> _ = path.write_text("Ada B-person\nLovelace I-person\n\nParis B-location\n")
    >>> read_conll(path)["words"]
    [['Ada', 'Lovelace'], ['Paris']]
    """
    return next(to_columns(iterate_conll(path, labeled=labeled)))


def iterate_conll(path: str | Path, *, labeled: bool = True) -> Iterator[dict[str, Any]]:
    """Yields the examples of `read_conll` one by one while the file is read: it may be larger than the memory."""
    is_first = True
    for example in iterate_tagged(path, labeled=labeled) if is_tfds(path) else _read_file(path, labeled):
        is_first = False
        yield example if labeled else {name: value for name, value in example.items() if name != "label"}
    if is_first:
        raise InputError(f"{path} contains no words; one word per line was expected.")


def _read_file(path: str | Path, labeled: bool) -> Iterator[dict[str, Any]]:
    lines = read_lines(path)
    width = 0
    for is_between, group in groupby(lines, lambda line: not line[1].strip() or line[1].startswith("-DOCSTART-")):
        if is_between:
            continue
        rows = []
        for number, line in group:
            fields = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
            fields = [field.strip() for field in fields]
            width = width or len(fields)
            _check(fields, location=f"{path}, line {number}", width=width, labeled=labeled)
            rows.append((number, fields))
        yield {
            "location": f"{path}, line {rows[0][0]}",
            "words": [fields[0] for _, fields in rows],
            "label": [fields[-1] for _, fields in rows],
        }


def _check(fields: list[str], *, location: str, width: int, labeled: bool) -> None:
    if not fields[0]:
        raise InputError(f"{location}: the tag {fields[-1]!r} has no word before it. Add the word, or remove the line.")
    if labeled and (len(fields) < 2 or not fields[-1]):
        raise InputError(f"{location}: the word {fields[0]!r} has no tag. Add a tag in the last column.")
    if len(fields) != width:
        raise InputError(
            f"{location}: found {len(fields)} columns; the first line has {width}. All lines need the same number."
        )
