"""Reads a data file's text, whole or line by line, with the checks that all formats share."""

from collections.abc import Iterator
from pathlib import Path

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import not_utf8_error


def read_data_text(path: str | Path) -> str:
    """The text of a UTF-8 data file, without the byte order mark that spreadsheets write, with line feeds only.

    Raises:
        InputError: as `read_data_lines` does.
    """
    return "\n".join(line for _, line in read_data_lines(path))


def read_data_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Numbers and texts of the lines of a UTF-8 data file, without their ends, one after the other.

    Raises:
        InputError: the file is missing, empty, not UTF-8, or holds a NUL byte; when the line in question is reached.
    """
    begin = 0
    is_empty = True
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise not_utf8_error(path, error, line=number, offset=begin) from error
                if "\0" in line:
                    raise InputError(
                        f"{path}, line {number}: a NUL byte. This is no text file, or not UTF-8: save it as UTF-8 text."
                    )
                line = line.removeprefix("\ufeff") if number == 1 else line
                is_empty = is_empty and not line.strip()
                begin += len(raw)
                yield number, line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if is_empty:
        raise InputError(f"{path} is empty; examples were expected.")
