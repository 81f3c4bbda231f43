"""Documents of a corpus, and the pieces in which it is prepared: cut by what is in the files, not by who reads them."""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from keras_bert_impl.data.columns import check_text, is_broken_text
from keras_bert_impl.data.tfds import is_tfds, tfds_records
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import not_utf8_error

# What a directory is searched for.
SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")

# Characters of text that become one shard, or more if the last document is long.
UNIT = 1 << 22
# Longer lines and documents are cut, so that memory is bounded.
LONGEST_LINE = 1 << 24
LONGEST_DOCUMENT = 1 << 24

# Opens a file for reading bytes; what it gives need not have all methods of Python's own files.
OpenFile = Callable[[str], Any]

# A document: its lines, none of them empty.
Document = list[str]


@dataclass(frozen=True)
class Part:
    """What one reader reads: a file, several small ones, or a data set.

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
        name: of the shard: the numbers of its part and of its place in the part.
        documents: the documents.
        broken: lines that were no UTF-8 and are left out.
        read: bytes of the part that were read for it.
    """

    name: str
    documents: list[Document]
    broken: int
    read: int


def find_parts(corpus: str | Path | Sequence[str | Path], *, size: int = UNIT) -> list[Part]:
    """What there is to read, in a fixed order: the names given, those in a directory by their paths.

    Args:
        corpus: files, directories, and ``tfds:NAME:SPLIT``.
        size: small files behind one another are taken together up to so many bytes.

    Raises:
        InputError: nothing was given, a path does not exist, or a directory holds no text.
    """
    return group_files([found for source in sources_of(corpus) for found in _files(source)], size=size)


def sources_of(corpus: str | Path | Sequence[str | Path]) -> list[str]:
    """What a corpus is given as, one name or several.

    Raises:
        InputError: nothing was given.

    >>> sources_of("novels.txt")
    ['novels.txt']
    """
    sources = [corpus] if isinstance(corpus, str | Path) else corpus
    if not sources:
        raise InputError("No corpus was given: name text files, directories, JSONL files or tfds:NAME:SPLIT.")
    return [str(source) for source in sources]


def group_files(files: Sequence[tuple[str, int]], *, size: int = UNIT) -> list[Part]:
    """Parts of files whose sizes in bytes are known, in this order.

    >>> [part.files for part in group_files([("a", 3), ("b", 4), ("c", 9), ("d", 1)], size=8)]
    [('a', 'b'), ('c',), ('d',)]
    """
    groups: list[list[str]] = []
    sizes: list[int] = []
    for name, length in files:
        alone = not groups or is_tfds(name) or is_tfds(groups[-1][-1])
        if alone or sizes[-1] + length > size:
            groups.append([])
            sizes.append(0)
        groups[-1].append(name)
        sizes[-1] += length
    return [Part(number, tuple(group), sizes[number]) for number, group in enumerate(groups)]


def is_text(name: str) -> bool:
    """Whether a file in a directory is part of a corpus."""
    return name.endswith(SUFFIXES) and not name.endswith("vocab.txt")


def in_order(paths: Iterable[str]) -> list[str]:
    """Paths in the order in which a directory is read: by their parts."""
    return sorted(paths, key=lambda path: path.split("/"))


def _files(source: str) -> list[tuple[str, int]]:
    if is_tfds(source):
        return [(source, 0)]
    path = Path(source)
    if path.is_dir():
        found = in_order(str(file) for file in path.rglob("*") if is_text(file.name) and file.is_file())
        if not found:
            raise InputError(f"{path} holds no text; files ending in {', '.join(SUFFIXES)} were expected.")
        return [(file, Path(file).stat().st_size) for file in found]
    if not path.exists():
        raise InputError(f"{path}: no such file or directory.")
    return [(str(path), path.stat().st_size)]


def open_local(path: str) -> BinaryIO:
    """Opens a file of this machine.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def read_units(
    part: Part,
    *,
    strict: bool = False,
    text_field: str = "text",
    size: int = UNIT,
    open_file: OpenFile = open_local,
) -> Iterator[Unit]:
    """The units of a part, one after the other; memory holds one.

    Args:
        part: what to read.
        strict: whether a line that is no UTF-8 is an error; else it is left out and counted.
        text_field: the field of JSONL objects, and the feature of data sets, that holds the text of a document.
        size: characters of a unit, at least, unless the part ends.
        open_file: opens a file of the part.

    Raises:
        InputError: a file cannot be used; file and line are named.
    """
    documents: list[Document] = []
    characters = number = 0
    progress = Progress()
    for document in read_documents(part, strict=strict, text_field=text_field, open_file=open_file, progress=progress):
        documents.append(document)
        characters += sum(map(len, document))
        if characters >= size:
            yield Unit(_name(part, number), documents, *progress.take())
            documents, characters, number = [], 0, number + 1
    # Also without documents if lines were left out, which are to be counted.
    if documents or progress.broken:
        yield Unit(_name(part, number), documents, *progress.take())


def _name(part: Part, number: int) -> str:
    return f"{part.number:05}-{number:05}"


@dataclass
class Progress:
    """Lines left out, for they were no UTF-8, and bytes read, since they were last taken."""

    broken: int = 0
    read: int = 0

    def take(self) -> tuple[int, int]:
        taken, self.broken, self.read = (self.broken, self.read), 0, 0
        return taken


@dataclass
class Lines:
    """The lines of all documents of a corpus, read anew each time they are gone through.

    Attributes:
        parts: of the corpus.
        text_field: see `read_units`.
        strict: see `read_units`.
        broken: lines that were no UTF-8 and were left out when the lines were gone through the last time.
    """

    parts: Sequence[Part]
    text_field: str = "text"
    strict: bool = False
    broken: int = 0

    def __iter__(self) -> Iterator[str]:
        progress = Progress()
        for part in self.parts:
            for document in read_documents(part, strict=self.strict, text_field=self.text_field, progress=progress):
                yield from document
        self.broken = progress.broken


def read_documents(
    part: Part,
    *,
    strict: bool = False,
    text_field: str = "text",
    open_file: OpenFile = open_local,
    progress: Progress | None = None,
) -> Iterator[Document]:
    """The documents of a part; ``progress`` is kept up to date, for the rest see `read_units`."""
    progress = progress or Progress()
    for file in part.files:
        if is_tfds(file):
            yield from _of_records(tfds_records(file), text_field, progress, strict=strict)
            continue
        lines = _lines(file, progress, strict=strict, open_file=open_file)
        if ".jsonl" in Path(file).suffixes:
            records = ((place, _object(line, place)) for place, line in lines if line.strip())
            yield from _of_records(records, text_field, progress, strict=strict)
        else:
            yield from _cut(line for _, line in lines)


def _of_records(
    records: Iterable[tuple[str, dict[str, Any]]], text_field: str, progress: Progress, *, strict: bool
) -> Iterator[Document]:
    """A document for each record; empty lines do not end it."""
    for place, record in records:
        if is_broken_text(record.get(text_field)) and not strict:
            progress.broken += 1
            continue
        yield from _cut(line for line in _text(record, text_field, place).split("\n") if line.strip())


def _cut(lines: Any) -> Iterator[Document]:
    """Documents of lines: an empty line ends one."""
    document: Document = []
    characters = 0
    for line in lines:
        line = line.strip()
        if line:
            document.append(line)
            characters += len(line)
        if document and (not line or characters >= LONGEST_DOCUMENT):
            yield document
            document, characters = [], 0
    if document:
        yield document


def _lines(path: str, progress: Progress, *, strict: bool, open_file: OpenFile) -> Iterator[tuple[str, str]]:
    """Where each line of a text file stands, and its text; a line's rest beyond `LONGEST_LINE` is a line of its own."""
    with open_file(path) as raw:
        # By its first bytes, for some file systems unpack by themselves.
        is_packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        # Files of other machines lack `peek`, and read lines byte by byte.
        plain = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
        file: Any = gzip.GzipFile(fileobj=raw) if is_packed else plain
        before = number = 0
        while line := _read_line(file, path):
            number += 1
            progress.read += raw.tell() - before
            before = raw.tell()
            place = f"{path}, line {number}"
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                if strict:
                    raise not_utf8_error(path, error, line=number) from error
                progress.broken += 1
                continue
            yield place, text.removeprefix("\ufeff") if number == 1 else text


def _read_line(file: Any, path: str) -> bytes:
    try:
        line = file.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            # Not in the middle of a character: those go on with bytes 10xxxxxx.
            while (following := file.peek(1)[:1]) and following[0] & 0xC0 == 0x80:
                line += file.read(1)
        return line
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}. Fetch or pack it again.") from error


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        cut = f" (Lines are cut after {LONGEST_LINE:,} bytes.)" if len(line.encode()) >= LONGEST_LINE else ""
        raise InputError(f"{place} is not JSON: {error}.{cut}") from error
    if not isinstance(value, dict):
        raise InputError(f"{place} holds a JSON {type(value).__name__}; an object with the text was expected.")
    return value


def _text(record: dict[str, Any], field: str, place: str) -> str:
    if field not in record:
        raise InputError(f"{place} has no {field!r}, but {', '.join(map(repr, record)) or 'nothing'}. Name the field.")
    return check_text(record[field], name=field, place=place)
