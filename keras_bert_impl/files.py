"""Reading and writing whole files: messages for people when reading, nothing half-written when writing."""

import contextlib
import errno
import fcntl
import json
import mmap
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError

# What the system says when a disk, a quota or the size that a file may have is used up.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Bytes of a large file that are written at once.
_PIECE = 1 << 24


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        InputError: the file is missing, cannot be read, or is not UTF-8 (byte and line are named).
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise not_utf8(path, error, line=line) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def not_utf8(path: str | Path, error: UnicodeDecodeError, *, line: int, offset: int = 0) -> InputError:
    """What to say of a byte that is not UTF-8, in bytes that begin at ``offset`` of the file."""
    return InputError(
        f"{path} is not UTF-8: byte {offset + error.start}, in line {line}, is 0x{error.object[error.start]:02x}. "
        "Save the file as UTF-8."
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: the file is missing, is not JSON (line and column are named), or is no object.
    """
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise InputError(f"{path} is not usable JSON: it is nested too deeply.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}; a JSON object in braces was expected.")
    return value


def map_file(path: Path, *, advice: str = "Download it again.") -> mmap.mmap:
    """The bytes of a file, mapped read-only: a page takes memory when it is used, and the system can take it back.

    Args:
        path: the file.
        advice: what the user should do about an empty file, for the message.

    Raises:
        InputError: the file is empty, or is a Git LFS pointer to a file that was not downloaded.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        if not file.read(1):
            raise InputError(f"{path} is empty. {advice}")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if mapped[:24] == b"version https://git-lfs.":
        raise InputError(f"{path} is a Git LFS pointer, not the file itself. Run `git lfs pull` in its directory.")
    return mapped


def to_json(value: Any) -> str:
    """JSON as this package writes it: indented, key order kept, a newline at the end, never NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it to ``path`` once the block ended well, else removes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        temporary.touch()
        usual = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual)  # Some writers make files that only their owner can read.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_pieces(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Writes a large file that nobody reads soon, and lets the system keep little of it in memory.

    What is written at once takes as much new memory, which costs several times the time of the writing itself.
    """
    with open(path, "wb") as file:
        kept = 0
        for part in parts:
            for begin in range(0, len(part), _PIECE):
                kept += file.write(part[begin : begin + _PIECE])
                if kept >= _PIECE:
                    file.flush()
                    os.fsync(file.fileno())
                    if hasattr(os, "posix_fadvise"):  # On Linux.
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    kept = 0


def remove_leftovers(directory: Path) -> None:
    """Removes what killed processes were writing with `replacing` in a directory and below."""
    for path in directory.rglob(".*.partial"):
        path.unlink()


@contextlib.contextmanager
def output_file(path: str | Path) -> Iterator[Path]:
    """As `replacing`, for a path that a user named.

    Raises:
        InputError: it cannot be written.
        OSError: the disk is full.
    """
    try:
        with replacing(Path(path)) as temporary:
            yield temporary
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file with line feeds, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def refuse_other_content(directory: Path) -> None:
    """Raises ``InputError`` unless ``directory`` is free to be written: absent, or an empty directory."""
    if directory.is_dir():
        if any(directory.iterdir()):
            raise InputError(f"{directory} exists and is not empty. Name another directory, or remove this one.")
    elif directory.exists() or directory.is_symlink():
        raise InputError(f"{directory} exists and is not a directory. Name another directory.")


def partial_of(directory: Path, *, unique: str = "") -> Path:
    """Where `new_directory` makes a directory before it takes its name."""
    # Followed where it is a link, because renaming would replace the link.
    directory = directory.resolve()
    return directory.with_name(f".{directory.name}{unique}.partial")


def _locked(opened: int, directory: Path) -> bool:
    """Locks an opened directory for this process, until it is closed; whether it could be, and is still that one."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # A file system without locks.
    return directory.exists() and os.path.samestat(os.stat(directory), os.fstat(opened))


@contextlib.contextmanager
def new_directory(directory: Path, *, keep: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yields a temporary directory beside ``directory``, which takes its name once the block ended well.

    Args:
        directory: absent, or an empty directory.
        keep: tells of the temporary directory whether what is in it is worth being continued. Then it stays if the
            block fails, and the next call yields it again: its name is fixed. None: it is removed.

    Raises:
        InputError: ``directory`` exists with other content, is a mount point, its parent cannot be written, or another
            process is making it.
        OSError: the disk is full.
    """
    refuse_other_content(directory)
    directory = directory.resolve()
    if directory.is_mount():
        raise InputError(f"{directory} is a mount point, which cannot be replaced. Name a directory inside it.")
    temporary = partial_of(directory, unique="" if keep else f".{uuid.uuid4().hex[:8]}")
    new_parents = [parent for parent in directory.parents if not parent.exists()]
    try:
        temporary.mkdir(parents=True, exist_ok=keep is not None)
        lock = os.open(temporary, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{directory} cannot be made: {error.strerror}.") from error
    if not _locked(lock, temporary):
        os.close(lock)
        raise InputError(f"another process is making {directory}. Wait for it, or name another directory.")
    try:
        yield temporary
        # The empty directory that may stand there is replaced; one that was filled meanwhile is not.
        os.replace(temporary, directory)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        advice = "Free some space there, or name another directory."
        if keep and keep(temporary):
            advice = "Free some space there and run the same again: it continues where it stopped."
        raise OSError(f"{directory} cannot be written: {error.strerror}. {advice}") from error
    finally:
        os.close(lock)
        if not (keep and temporary.exists() and keep(temporary)):
            shutil.rmtree(temporary, ignore_errors=True)
            for parent in new_parents:
                with contextlib.suppress(OSError):
                    parent.rmdir()  # Fails where something is in it, which is then to stay.
