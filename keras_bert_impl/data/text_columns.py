"""Reads columns of texts, such as pairs and triplets, from tables."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_bert_impl.data.tables import check_text, make_empty_error, read_records, take_fields
from keras_bert_impl.errors import InputError

# Names of the columns with the first text, the second text and the score. The names after the first are those of data
# sets for sentence-transformers, which identifies columns by their order.
_NAMES = {
    "text": ("text", "anchor", "query", "question", "sentence1"),
    "text_pair": ("text_pair", "positive", "passage", "answer", "sentence2"),
    "label": ("label", "score"),
}
_NEGATIVE = re.compile(r"negative_?(\d*)")


def iterate_text_columns(
    path: str | Path,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    labeled: bool = True,
) -> Iterator[dict[str, Any]]:
    r"""Reads a table of texts, of pairs with a score, or of texts with positive and negative texts, line by line.

    Columns that are not named are found by their usual names. The first text is ``text``, ``anchor``, ``query``,
    ``question`` or ``sentence1``. The second text is ``text_pair`` or ``positive``, and in a file without ``text`` also
    ``passage``, ``answer`` or ``sentence2``. The score is ``label`` or ``score``. Negatives are ``negative``,
    ``negative_1``, ``negative_2`` … or, in JSONL, a list ``negatives``.

    Args:
        path: the file, or ``tfds:NAME:SPLIT``; see `read_table`.
        text: name of the column with the first text; None: see above.
        text_pair: name of the column with the second text; None: see above.
        label: name of the column with the score; None: see above.
        labeled: whether the examples are for training or evaluation, which needs second texts; false for prediction.

    Yields:
        a dictionary per example. All have ``location`` and ``text``. If ``labeled`` and the file has scores, there are
        also ``text_pair`` and ``label``. If ``labeled`` and the file has no scores, there is ``positive``; and
        ``negatives``, a list of strings, if the file has negatives. If not ``labeled``, there is ``text_pair`` if the
        file has second texts.

    Raises:
        InputError: the file cannot be used, second texts are missing, rows have different numbers of negatives, or the
            file has both scores and negatives.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "triplets.tsv")
    >>> _ = path.write_text("question\tanswer\tnegative\nWhere?\tIn Rome.\tIn 1925.\n")
    >>> example = next(iterate_text_columns(path))
    >>> example["text"], example["positive"], example["negatives"]
    ('Where?', 'In Rome.', ['In 1925.'])
    """
    names: dict[str, str] = {}
    negatives: list[str] = []
    count = None
    for location, record in read_records(path, header=text is None or not text.isdecimal()):
        if not names:
            names = _find_names(record, {"text": text, "text_pair": text_pair, "label": label})
            negatives = _find_negatives(record)
            if not labeled:
                names.pop("label", None)
            elif "text_pair" not in names:
                raise InputError(
                    f"{location}: there is no second text; pairs (text and text_pair), pairs with a score, or triplets "
                    f"were expected, and the columns are {', '.join(map(repr, record))}. Say which of them is the "
                    "second text with --pair-column."
                )
            elif "label" not in names:
                names["positive"] = names.pop("text_pair")
            elif negatives:
                raise InputError(
                    f"{location}: the columns {names['label']!r} and {negatives[0]!r} exclude each other: a pair has a "
                    "score, or a positive text has negatives. Remove one of them."
                )
        example = take_fields(record, names, location=location)
        if negatives and labeled:
            example["negatives"] = _take_negatives(record, negatives, location=location)
            count = len(example["negatives"]) if count is None else count
            if len(example["negatives"]) != count:
                raise InputError(
                    f"{location} has {len(example['negatives'])} negatives, the first example has {count}; the same "
                    "number was expected in all rows."
                )
        yield example
    if not names:
        raise make_empty_error(path)


def _find_names(record: Mapping[str, Any], chosen: Mapping[str, str | None]) -> dict[str, str]:
    """Returns the name of the column for each role that the file has, or that the user named."""
    has_text = "text" in record and chosen["text"] is None
    names = {}
    for role, usual in _NAMES.items():
        known = usual[:2] if has_text and role == "text_pair" else usual
        name = chosen[role] or next((name for name in known if name in record), None)
        if name is not None or role == "text":
            names[role] = name or role
    return names


def _find_negatives(record: Mapping[str, Any]) -> list[str]:
    """Returns the names of the columns with negatives, in the order of their numbers."""
    if "negatives" in record:
        return ["negatives"]
    numbers = {name: int(match[1] or -1) for name in record if (match := _NEGATIVE.fullmatch(name))}
    return sorted(numbers, key=numbers.__getitem__)


def _take_negatives(record: Mapping[str, Any], names: list[str], *, location: str) -> list[str]:
    if names == ["negatives"]:
        texts = record.get("negatives")
        if not isinstance(texts, list):
            raise InputError(f"{location}: negatives is {texts!r:.200}; a list of strings was expected.")
        return [check_text(text, name="negatives", location=location) for text in texts]
    fields = take_fields(record, {name: name for name in names}, location=location)
    return [fields[name] for name in names]
