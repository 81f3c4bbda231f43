"""Reads the documents of a corpus in units of similar size; the content of a unit depends on the files only."""

import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from keras_bert_impl.data.tables import check_text, is_broken_text, is_tfds
from keras_bert_impl.data.tfds import read_tfds
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import make_read_error, make_utf8_error

# The files of a directory that are read.
SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")

# The number of characters of one shard; a long last document can exceed it.
UNIT = 1 << 22
# Longer lines (in bytes) and documents (in characters) are cut, to limit memory.
MAX_LINE = 1 << 24
MAX_DOCUMENT = 1 << 24

# Opens a file for reading bytes; the result need not have all methods of Python's own files.
OpenFile = Callable[[str], Any]

# A document: its lines, none of them empty.
Document = list[str]


@dataclass(frozen=True)
class Part:
    """A part of a corpus: a file, several small files, or a data set.

    Attributes:
        number: its place in the corpus.
        files: paths, or one ``tfds:NAME:SPLIT``.
        size: bytes on the disk; 0 for a data set.
    """

    number: int
    files: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Unit:
    """Documents that become one shard.

    Attributes:
        name: the name of the shard: the numbers of its part and of the unit in the part.
        documents: the documents.
        broken: the number of lines that are not UTF-8 and were left out.
        read: how many bytes of the part were read for it.
    """

    name: str
    documents: list[Document]
    broken: int
    read: int


def find_parts(corpus: str | Path | Sequence[str | Path], *, size: int = UNIT) -> list[Part]:
    """Finds the files to read, in a fixed order: the order of ``corpus``, and of the paths in a directory.

    Args:
        corpus: files, directories, and ``tfds:NAME:SPLIT``.
        size: consecutive small files become one part of up to this many bytes.

    Raises:
        InputError: ``corpus`` is empty, a path does not exist, or a directory contains no text.
    """
    return group_files([file for source in list_sources(corpus) for file in _find_files(source)], size=size)


def list_sources(corpus: str | Path | Sequence[str | Path]) -> list[str]:
    """Returns the sources of a corpus as a list of strings.

    Raises:
        InputError: there are none.

    >>> list_sources("novels.txt")
    ['novels.txt']
    """
    sources = [corpus] if isinstance(corpus, str | Path) else corpus
    if not sources:
        raise InputError("The corpus is empty: name text files, directories, JSONL files or tfds:NAME:SPLIT.")
    return [str(source) for source in sources]


def group_files(files: Sequence[tuple[str, int]], *, size: int = UNIT) -> list[Part]:
    """Groups files, given with their sizes in bytes, into parts, in the same order.

    >>> [part.files for part in group_files([("a", 3), ("b", 4), ("c", 9), ("d", 1)], size=8)]
    [('a', 'b'), ('c',), ('d',)]
    """
    groups: list[list[str]] = []
    sizes: list[int] = []
    for name, length in files:
        is_alone = not groups or is_tfds(name) or is_tfds(groups[-1][-1])
        if is_alone or sizes[-1] + length > size:
            groups.append([])
            sizes.append(0)
        groups[-1].append(name)
        sizes[-1] += length
    return [Part(number, tuple(group), sizes[number]) for number, group in enumerate(groups)]


def is_text_file(name: str) -> bool:
    """Whether the name of a file in a directory shows that it belongs to a corpus."""
    return name.endswith(SUFFIXES) and not name.endswith("vocab.txt")


def sort_paths(paths: Iterable[str], separator: str = os.sep) -> list[str]:
    """Sorts paths by their components, the order in which a directory is read; ``/`` is a separator as well."""
    return sorted(paths, key=lambda path: path.replace(separator, "/").split("/"))


def _find_files(source: str) -> list[tuple[str, int]]:
    """Returns the files of one source, with their sizes in bytes."""
    if is_tfds(source):
        return [(source, 0)]
    path = Path(source)
    if path.is_dir():
        files = sort_paths(str(file) for file in path.rglob("*") if is_text_file(file.name) and file.is_file())
        if not files:
            raise InputError(f"{path} contains no text; files ending in {', '.join(SUFFIXES)} were expected.")
        return [(file, Path(file).stat().st_size) for file in files]
    if not path.exists():
        raise InputError(f"{path}: no such file or directory. Check the path.")
    return [(str(path), path.stat().st_size)]


def open_local(path: str) -> BinaryIO:
    """Opens a file of this machine.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return open(path, "rb")
    except OSError as error:
        raise make_read_error(path, error) from error


def read_units(
    part: Part,
    *,
    strict: bool = False,
    text_field: str = "text",
    line_by_line: bool = False,
    size: int = UNIT,
    open_file: OpenFile = open_local,
) -> Iterator[Unit]:
    """Yields the units of a part one by one; only one is in memory.

    Args:
        part: the part.
        strict: whether a line that is not UTF-8 is an error; otherwise it is left out and counted.
        text_field: the field of JSONL objects, or the feature of data sets, that contains the text of a document.
        line_by_line: whether each line of a text file is a document; otherwise an empty line ends a document.
        size: the minimum number of characters of a unit, except for the last of the part.
        open_file: opens a file of the part.

    Raises:
        InputError: a file cannot be used; the message names the file and the line.
    """
    documents: list[Document] = []
    characters = number = 0
    counts = ReadCounts()
    options: dict[str, Any] = {"strict": strict, "text_field": text_field, "line_by_line": line_by_line}
    for document in read_documents(part, **options, open_file=open_file, counts=counts):
        documents.append(document)
        characters += sum(map(len, document))
        if characters >= size:
            yield Unit(_name_unit(part, number), documents, *counts.reset())
            documents, characters, number = [], 0, number + 1
    # A unit without documents still reports the lines that were left out.
    if documents or counts.broken:
        yield Unit(_name_unit(part, number), documents, *counts.reset())


def _name_unit(part: Part, number: int) -> str:
    return f"{part.number:05}-{number:05}"


@dataclass
class ReadCounts:
    """The lines that are not UTF-8 and were left out, and the bytes read, since the last reset."""

    broken: int = 0
    read: int = 0

    def reset(self) -> tuple[int, int]:
        """Returns both counts and sets them to 0."""
        counts, self.broken, self.read = (self.broken, self.read), 0, 0
        return counts


@dataclass
class Lines:
    """The lines of all documents of a corpus; each iteration reads them again.

    Attributes:
        parts: the parts of the corpus.
        text_field: see `read_units`.
        strict: see `read_units`.
        broken: the number of lines that are not UTF-8 and were left out in the last complete iteration.
    """

    parts: Sequence[Part]
    text_field: str = "text"
    strict: bool = False
    broken: int = 0

    def __iter__(self) -> Iterator[str]:
        counts = ReadCounts()
        for part in self.parts:
            for document in read_documents(part, strict=self.strict, text_field=self.text_field, counts=counts):
                yield from document
        self.broken = counts.broken


def read_documents(
    part: Part,
    *,
    strict: bool = False,
    text_field: str = "text",
    line_by_line: bool = False,
    open_file: OpenFile = open_local,
    counts: ReadCounts | None = None,
) -> Iterator[Document]:
    """Yields the documents of a part and updates ``counts``; for the other arguments see `read_units`."""
    counts = counts or ReadCounts()
    for file in part.files:
        if is_tfds(file):
            yield from _split_records(read_tfds(file), text_field, counts, strict=strict)
            continue
        lines = _read_lines(file, counts, strict=strict, open_file=open_file)
        if ".jsonl" in Path(file).suffixes:
            records = ((location, _parse_object(line, location)) for location, line in lines if line.strip())
            yield from _split_records(records, text_field, counts, strict=strict)
        elif line_by_line:
            yield from ([line.strip()] for _, line in lines if line.strip())
        else:
            yield from _split_documents(line for _, line in lines)


def _split_records(
    records: Iterable[tuple[str, dict[str, Any]]], text_field: str, counts: ReadCounts, *, strict: bool
) -> Iterator[Document]:
    """Makes a document of each record; empty lines do not end it."""
    for location, record in records:
        if is_broken_text(record.get(text_field)) and not strict:
            counts.broken += 1
            continue
        text = _get_text(record, text_field, location)
        yield from _split_documents(line for line in text.split("\n") if line.strip())


def _split_documents(lines: Iterable[str]) -> Iterator[Document]:
    """Splits lines into documents: an empty line ends a document."""
    document: Document = []
    characters = 0
    for line in lines:
        line = line.strip()
        if line:
            document.append(line)
            characters += len(line)
        if document and (not line or characters >= MAX_DOCUMENT):
            yield document
            document, characters = [], 0
    if document:
        yield document


def _read_lines(path: str, counts: ReadCounts, *, strict: bool, open_file: OpenFile) -> Iterator[tuple[str, str]]:
    """Yields the location and the text of each line of a file; longer lines are split at `MAX_LINE` bytes."""
    with open_file(path) as raw:
        # Check the first bytes, not the name, because some file systems decompress files themselves.
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        # Files of other file systems lack `peek`, and read lines byte by byte.
        plain = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
        file: Any = gzip.GzipFile(fileobj=raw) if is_gzip else plain
        before = number = 0
        while line := _read_line(file, path):
            number += 1
            counts.read += raw.tell() - before
            before = raw.tell()
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                if strict:
                    raise make_utf8_error(path, error, line=number) from error
                counts.broken += 1
                continue
            yield f"{path}, line {number}", text.removeprefix("\ufeff") if number == 1 else text


def _read_line(file: Any, path: str) -> bytes:
    try:
        line = file.readline(MAX_LINE)
        if len(line) == MAX_LINE:
            # Do not cut inside a character: its later bytes have the form 10xxxxxx.
            while (following := file.peek(1)[:1]) and following[0] & 0xC0 == 0x80:
                line += file.read(1)
        return line
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}. Download or compress it again.") from error


def _parse_object(line: str, location: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        cut = f" (Lines are cut after {MAX_LINE:,} bytes.)" if len(line.encode()) >= MAX_LINE else ""
        raise InputError(f"{location} is not JSON: {error}.{cut}") from error
    if not isinstance(value, dict):
        raise InputError(f"{location} contains a JSON {type(value).__name__}; an object with the text was expected.")
    return value


def _get_text(record: dict[str, Any], field: str, location: str) -> str:
    if field not in record:
        raise InputError(
            f"{location} has no field {field!r}, but {', '.join(map(repr, record)) or 'no fields'}. Set text_field "
            "(--text-field)."
        )
    return check_text(record[field], name=field, location=location)
