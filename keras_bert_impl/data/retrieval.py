"""Reads data sets for retrieval in the layout of BEIR: a corpus, queries, and the relevance of documents to queries."""

import functools
import os
import re
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_bert_impl.data.tables import Columns, check_text, read_lines, read_records, to_columns
from keras_bert_impl.errors import InputError

_LAYOUT = "BEIR's layout is corpus.jsonl, queries.jsonl and qrels/NAME.tsv."
# The files of judgments that are used if several exist and none is named.
_PREFERRED = ("test.tsv", "dev.tsv")


@dataclass(frozen=True)
class Corpus:
    """The documents that a query is compared with.

    Args:
        ids: the id of each document.
        texts: the text of each document.

    >>> Corpus(("d1", "d2"), ("A plane.", "A flute."))
    Corpus(2 documents, CRC debbe6e2)
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]

    @functools.cached_property
    def _checksum(self) -> int:
        checksum = 0
        for part in (*self.ids, *self.texts):
            checksum = zlib.crc32(part.encode() + b"\0", checksum)
        return checksum

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        # Examples refer to their corpus, and checksums of examples use this text.
        return f"Corpus({len(self)} documents, CRC {self._checksum:08x})"


def is_beir(path: Any) -> bool:
    """Whether a path is a directory, or a file of judgments in one: ``DIRECTORY/qrels/NAME.tsv``."""
    if not isinstance(path, str | os.PathLike):
        return False
    path = Path(path)
    return path.is_dir() or (path.parent.name == "qrels" and path.suffix == ".tsv")


def read_beir(path: str | Path, *, labeled: bool = True) -> Columns:
    r"""Reads queries, a corpus, and the relevance of its documents to the queries.

    ``corpus.jsonl`` has an object per document with ``_id``, ``text`` and optionally ``title``, which is put before the
    text. ``queries.jsonl`` has an object per query with ``_id`` and ``text``. A file in ``qrels`` has a line per
    judgment: id of the query, id of the document, and a grade, separated by TABs; above 0 means relevant. A first line
    with names of columns is skipped.

    Args:
        path: the directory, whose ``qrels/test.tsv``, ``qrels/dev.tsv`` or only file in ``qrels`` is read; or the file
            ``DIRECTORY/qrels/NAME.tsv``.
        labeled: whether judgments are read; false for prediction.

    Returns:
        A row per query: ``text``, ``query_id``, ``corpus`` (a `Corpus`, the same in all rows), ``relevant`` (grades by
        the id of the document) if ``labeled``, and ``location``. Queries without a relevant document are omitted if
        judgments are read, as ``trec_eval`` and sentence-transformers do.

    Raises:
        InputError: a file is missing or broken, an id occurs twice, or judgments contain an unknown id or no relevant
            document.

    >>> import tempfile
    >>> directory = Path(tempfile.mkdtemp())
    >>> _ = (directory / "corpus.jsonl").write_text('{"_id": "d1", "title": "Planes", "text": "They fly."}\n')
    >>> _ = (directory / "queries.jsonl").write_text('{"_id": "q1", "text": "What flies?"}\n')
    >>> (directory / "qrels").mkdir()
    >>> _ = (directory / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    >>> columns = read_beir(directory)
    >>> columns["text"], columns["corpus"][0].texts, columns["relevant"]
    (['What flies?'], ('Planes They fly.',), [{'d1': 1}])
    """
    return next(to_columns(iterate_beir(path, labeled=labeled)))


def iterate_beir(path: str | Path, *, labeled: bool = True) -> Iterator[dict[str, Any]]:
    """Yields the rows of `read_beir` one by one, after reading all files."""
    path = Path(path)
    directory = path if path.is_dir() else path.parent.parent
    for name in ("corpus.jsonl", "queries.jsonl"):
        if not (directory / name).is_file():
            raise InputError(f"{directory} has no {name}; {_LAYOUT}")
    documents = {id: f"{title} {text}" if title else text for _, id, title, text in _read_texts(directory, "corpus")}
    queries = {id: (location, text) for location, id, _, text in _read_texts(directory, "queries")}
    relevant = {}
    if labeled:
        relevant = _read_judgments(_find_judgments(directory) if path.is_dir() else path, queries, documents)
    corpus = Corpus(tuple(documents), tuple(documents.values()))
    for id, (location, text) in queries.items():
        example = {"location": location, "text": text, "query_id": id, "corpus": corpus}
        if not labeled:
            yield example
        elif any(grade > 0 for grade in relevant[id].values()):
            yield {**example, "relevant": relevant[id]}


def _read_texts(directory: Path, name: str) -> Iterator[tuple[str, str, str, str]]:
    """Yields location, id, title (may be empty) and text of each line of a JSONL file."""
    ids = set()
    for location, record in read_records(directory / f"{name}.jsonl", header=True):
        for key in ("_id", "text"):
            if key not in record:
                raise InputError(
                    f"{location}: there is no {key!r}; the fields are {', '.join(map(repr, record))}. Rename or add it."
                )
        id, text = (check_text(record[key], name=key, location=location) for key in ("_id", "text"))
        title = check_text(record.get("title") or "", name="title", location=location)
        if id in ids:
            raise InputError(f"{location}: the _id {id!r} occurs in two lines. Give each line a different id.")
        ids.add(id)
        yield location, id, title, text


def _find_judgments(directory: Path) -> Path:
    """Returns the file of judgments to read."""
    files = {path.name: path for path in sorted((directory / "qrels").glob("*.tsv"))}
    if not files:
        raise InputError(f"{directory / 'qrels'} has no .tsv file; {_LAYOUT}")
    names = [name for name in _PREFERRED if name in files] or list(files)
    if len(names) > 1 and names[0] not in _PREFERRED:
        raise InputError(f"{directory / 'qrels'} has {', '.join(files)}. Name one of them, such as {files[names[0]]}.")
    return files[names[0]]


def _read_judgments(path: Path, queries: Collection[str], documents: Collection[str]) -> dict[str, dict[str, int]]:
    """Returns for each query the grades of documents."""
    relevant: dict[str, dict[str, int]] = {query: {} for query in queries}
    for number, line in read_lines(path):
        fields, location = line.split("\t"), f"{path}, line {number}"
        if not line.strip():
            continue
        if len(fields) != 3:
            raise InputError(
                f"{location} has {len(fields)} fields; query, document and grade, separated by TABs, were expected. "
                "Correct the line."
            )
        query, document, grade = fields
        is_integer = re.fullmatch(r"[+-]?[0-9]+", grade.strip())
        if number == 1 and not is_integer and query not in queries:
            continue  # Names of columns.
        if not is_integer:
            raise InputError(f"{location}: the grade {grade!r} is not an integer. Correct the line.")
        for kind, id, known, file in (
            ("query", query, queries, "queries.jsonl"),
            ("document", document, documents, "corpus.jsonl"),
        ):
            if id not in known:
                raise InputError(
                    f"{location}: the {kind} {id!r} is not in {file}, which has {len(known):,} lines. Correct the id, "
                    "or remove this line."
                )
        relevant[query][document] = int(grade)
    if not any(grade > 0 for grades in relevant.values() for grade in grades.values()):
        raise InputError(f"{path}: no document is relevant to a query; a grade above 0 was expected.")
    return relevant
