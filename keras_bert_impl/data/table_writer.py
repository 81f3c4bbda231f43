"""Writes columns of texts to TSV and JSONL files, as the readers of tables read them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError

_SUFFIXES = (".tsv", ".jsonl")


def check_output(path: str | Path, texts: Iterable[tuple[str, str]]) -> None:
    """Checks that a file can contain texts as fields, before a long computation with them.

    Args:
        path: the file.
        texts: the location of each text, for messages, and the text.

    Raises:
        InputError: the name of the file does not end in ``.tsv`` or ``.jsonl``, or it ends in ``.tsv`` and a text
            contains a TAB, a line break or NUL.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{path}: the file name must end in {' or '.join(_SUFFIXES)}, which decides the format.")
    if suffix == ".tsv":
        for location, text in texts:
            if any(character in text for character in "\t\r\n\0"):
                raise InputError(
                    f"{location}: the text {text!r:.100} contains a TAB, a line break or NUL, which TSV cannot "
                    f"contain. Name the output {Path(path).with_suffix('.jsonl').name}."
                )


def write_text_columns(path: Path, columns: Columns, *, suffix: str) -> None:
    r"""Writes examples of texts: pairs with a label, or texts with a positive text and negatives.

    Args:
        path: the file.
        columns: ``text``, ``text_pair`` and ``label``; or ``text``, ``positive`` and ``negatives``, a list of equal
            length for each example, which become the columns ``anchor``, ``positive`` and ``negative``, or
            ``negative_1``, ``negative_2`` …
        suffix: ``.tsv`` or ``.jsonl``, the format.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "triplets.tsv")
    >>> write_text_columns(path, {"text": ["a"], "positive": ["b"], "negatives": [["c", "d"]]}, suffix=".tsv")
    >>> path.read_text()
    'anchor\tpositive\tnegative_1\tnegative_2\na\tb\tc\td\n'
    """
    table: dict[str, list[Any]] = dict(columns)
    if "negatives" in table:
        negatives = [list(texts) for texts in zip(*table.pop("negatives"), strict=True)]
        names = ["negative"] if len(negatives) == 1 else [f"negative_{i}" for i, _ in enumerate(negatives, 1)]
        table = {"anchor": table["text"], "positive": table["positive"], **dict(zip(names, negatives, strict=True))}
    rows = zip(*table.values(), strict=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        if suffix == ".tsv":
            file.write("\t".join(table) + "\n")
        for row in rows:
            if suffix == ".tsv":
                file.write("\t".join(row) + "\n")
            else:
                file.write(json.dumps(dict(zip(table, row, strict=True)), ensure_ascii=False) + "\n")
