"""Tagged words from CoNLL files."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from keras_bert_impl.data.columns import Columns, in_chunks
from keras_bert_impl.data.text import read_data_lines
from keras_bert_impl.data.tfds import is_tfds, tfds_records
from keras_bert_impl.errors import InputError


def read_conll(path: str | Path, *, labelled: bool = True) -> Columns:
    r"""Reads sentences of words and their tags: a word a line, its tag in the last column, an empty line between them.

    Columns are separated by TABs, or by spaces in lines that have no TAB. Lines with ``-DOCSTART-`` are skipped.

    Args:
        path: the file, or ``tfds:NAME:SPLIT`` for a data set with ``tokens`` and ``tags``.
        labelled: whether tags are read; without them a file of words alone will do.

    Returns:
        ``words``, ``label`` (the tags) if asked for, each a list of strings an example, and ``where``.

    Raises:
        InputError: a file that is missing, empty or not UTF-8 text; a line with fewer or more columns than the first;
            a word without tag or a tag without word. The message names file and line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "tags.conll")
    >>> _ = path.write_text("Ada B-person\nLovelace I-person\n\nParis B-location\n")
    >>> read_conll(path)["words"]
    [['Ada', 'Lovelace'], ['Paris']]
    """
    return next(in_chunks(conll_examples(path, labelled=labelled)))


def conll_examples(path: str | Path, *, labelled: bool = True) -> Iterator[dict[str, Any]]:
    """The examples of `read_conll`, one after the other, as they are read: files may be larger than the memory."""
    is_first = True
    for example in _from_tfds(str(path)) if is_tfds(path) else _from_file(path, labelled):
        is_first = False
        yield example if labelled else {name: value for name, value in example.items() if name != "label"}
    if is_first:
        raise InputError(f"{path} holds no words.")


def _from_file(path: str | Path, labelled: bool) -> Iterator[dict[str, Any]]:
    lines = read_data_lines(path)
    width = 0
    for is_between, group in groupby(lines, lambda line: not line[1].strip() or line[1].startswith("-DOCSTART-")):
        if is_between:
            continue
        rows = []
        for number, line in group:
            fields = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
            fields = [field.strip() for field in fields]
            width = width or len(fields)
            _check(fields, place=f"{path}, line {number}", width=width, labelled=labelled)
            rows.append((number, fields))
        yield {
            "where": f"{path}, line {rows[0][0]}",
            "words": [fields[0] for _, fields in rows],
            "label": [fields[-1] for _, fields in rows],
        }


def _check(fields: list[str], *, place: str, width: int, labelled: bool) -> None:
    if not fields[0]:
        raise InputError(f"{place}: a tag ({fields[-1]!r}) with no word before it.")
    if labelled and (len(fields) < 2 or not fields[-1]):
        raise InputError(f"{place}: {fields[0]!r} stands alone; a word and its tag were expected.")
    if len(fields) != width:
        raise InputError(f"{place}: {len(fields)} columns, but the first line has {width}.")


def _from_tfds(spec: str) -> Iterator[dict[str, Any]]:
    for place, record in tfds_records(spec):
        if "tokens" not in record or "tags" not in record:
            raise InputError(f"{spec} has {', '.join(map(repr, record))}; 'tokens' and 'tags' were expected.")
        yield {"where": place, "words": record["tokens"], "label": record["tags"]}
