"""Reads a data file's text, with the checks that all formats share."""

from pathlib import Path

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_text


def read_data_text(path: str | Path) -> str:
    """The text of a UTF-8 data file, without the byte order mark that spreadsheets write, with line feeds only.

    Raises:
        InputError: the file is missing, empty, not UTF-8, or holds a NUL byte.
    """
    text = read_text(Path(path)).removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        raise InputError(f"{path} is empty; examples were expected.")
    if (position := text.find("\0")) >= 0:
        line = text.count("\n", 0, position) + 1
        raise InputError(f"{path}, line {line}: a NUL byte. This is no text file, or not UTF-8: save it as UTF-8 text.")
    return text
