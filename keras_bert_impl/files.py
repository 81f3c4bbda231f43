"""Reads files with clear error messages, writes files atomically, and makes directories under a lock."""

import contextlib
import errno
import json
import mmap
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError

# Error numbers for a full disk, a used-up quota and a file larger than allowed. Windows has no quota error.
_DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# Labeled film snippets that ship with the package: train.tsv, valid.tsv and test.tsv.
SNIPPETS = Path(__file__).with_name("assets") / "movie_snippets"
# Half of a surrogate pair, which JSON can contain and UTF-8 cannot.
SURROGATE = re.compile("[\ud800-\udfff]")
# Bytes of a large file that are written before the system is asked to store them on the disk.
_CHUNK_SIZE = 1 << 24


def read_text(path: Path) -> str:
    """Reads a UTF-8 file, without the byte-order mark that it may start with.

    Raises:
        InputError: the file is missing, cannot be read, or is not UTF-8 (the message names the byte and the line).
    """
    try:
        return path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise make_utf8_error(path, error, line=line) from error
    except OSError as error:
        raise make_read_error(path, error) from error


def make_read_error(path: str | Path, error: OSError, advice: str = "") -> InputError:
    """Returns the error for a file that the system cannot read."""
    return InputError(f"{path} cannot be read: {error.strerror}. {advice}".rstrip())


def make_utf8_error(path: str | Path, error: UnicodeDecodeError, *, line: int, offset: int = 0) -> InputError:
    """Returns the error for a file that is not UTF-8; ``offset`` is where the decoded bytes start in the file."""
    return InputError(
        f"{path} is not UTF-8: byte {offset + error.start}, in line {line}, is 0x{error.object[error.start]:02x}. "
        "Save the file as UTF-8."
    )


def parse_json(text: str, path: str | Path) -> Any:
    """Returns the value in the text of a JSON file; raises ``InputError`` if it is not JSON or nested too deeply."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise InputError(f"{path} is not usable JSON: it is nested too deeply.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file that contains an object.

    Raises:
        InputError: the file is missing, is not JSON (the message names line and column), or is not an object.
    """
    value = parse_json(read_text(path), path)
    if not isinstance(value, dict):
        raise InputError(f"{path} contains a JSON {type(value).__name__}; an object in braces was expected.")
    return value


def map_file(path: Path, *, advice: str = "Download it again.") -> mmap.mmap:
    """Maps a file read-only: a page takes memory only when it is read, and the system can free it again.

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
    """Formats JSON as this package writes it: indented, in the order of the keys, with a final newline, never NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to ``path`` and renames it to ``path`` if the block succeeds; else removes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # Some writers create files that only their owner can read.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_chunks(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Writes a large file that is not read soon, and keeps little of it in the system's page cache.

    A large page cache needs new memory, and allocating it is several times slower than the writing.
    """
    with open(path, "wb") as file:
        cached = 0
        for chunk in chunks:
            for start in range(0, len(chunk), _CHUNK_SIZE):
                cached += file.write(chunk[start : start + _CHUNK_SIZE])
                if cached >= _CHUNK_SIZE:
                    file.flush()
                    os.fsync(file.fileno())
                    if hasattr(os, "posix_fadvise"):  # On Linux.
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    cached = 0


def remove_partial_files(directory: Path) -> None:
    """Removes the temporary files that killed processes left from `atomic_write`, in a directory and below it."""
    for path in directory.rglob(".*.partial"):
        path.unlink()


@contextlib.contextmanager
def open_output(path: str | Path) -> Iterator[Path]:
    """`atomic_write` for a path that a user named.

    Raises:
        InputError: the file cannot be written.
        OSError: the disk is full; or the block raised it for another file.
    """
    path = Path(path)
    temporary = None
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except OSError as error:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | Path) else ""
        if error.errno in _DISK_FULL or name not in map(str, (path, temporary, *path.parents)):
            raise
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file with line feeds, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def make_directory(directory: str | Path) -> Path:
    """Creates a directory unless it exists; raises ``InputError`` if it is a file."""
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; a directory was expected.")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def make_not_empty_error(directory: str | Path) -> InputError:
    """Returns the error for an output directory that contains something."""
    return InputError(f"{directory} exists and is not empty. Name another directory, or remove this one.")


def require_empty(directory: Path) -> None:
    """Raises ``InputError`` unless ``directory`` does not exist or is an empty directory."""
    if directory.is_dir():
        if any(directory.iterdir()):
            raise make_not_empty_error(directory)
    elif directory.exists() or directory.is_symlink():
        raise InputError(f"{directory} exists and is not a directory. Name another directory.")


def partial_path(directory: Path, *, unique: str = "") -> Path:
    """Returns the temporary directory that `create_directory` fills before it is renamed to ``directory``."""
    # A link is resolved, because renaming would replace the link.
    directory = directory.resolve()
    return directory.with_name(f".{directory.name}{unique}.partial")


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Lets only one process at a time make ``directory``. The system releases the lock when the process ends.

    Raises:
        InputError: another process is making it.
    """
    from filelock import FileLock, Timeout

    path = directory.with_name(f".{directory.name}.lock")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"another process is making {directory}. Wait for it, or name another directory.") from error
    except (OSError, NotImplementedError):
        path.unlink(missing_ok=True)  # A file system without locks.
    try:
        yield
    finally:
        if lock.is_locked:
            # Removed while it is locked, so that no process can lock the removed file. Windows does it on release.
            if sys.platform != "win32":
                path.unlink(missing_ok=True)
            lock.release()


@contextlib.contextmanager
def create_directory(directory: Path, *, keep: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yields a temporary directory next to ``directory`` and renames it to ``directory`` if the block succeeds.

    Args:
        directory: must not exist, or be an empty directory.
        keep: a function that returns whether the temporary directory is kept when the block fails; the next call then
            yields it again, because its name is fixed. None: the directory is always removed.

    Raises:
        InputError: ``directory`` has other content, is a mount point, its parent cannot be written, or another
            process is making it.
        OSError: the disk is full.
    """
    require_empty(directory)
    directory = directory.resolve()
    if os.path.ismount(directory):
        raise InputError(f"{directory} is a mount point, which cannot be replaced. Name a directory inside it.")
    temporary = partial_path(directory, unique="" if keep else f".{uuid.uuid4().hex[:8]}")
    new_parents = [parent for parent in directory.parents if not parent.exists()]
    try:
        temporary.mkdir(parents=True, exist_ok=keep is not None)
    except OSError as error:
        raise InputError(f"{directory} cannot be created: {error.strerror}. Name another directory.") from error
    try:
        with _lock(directory) if keep else contextlib.nullcontext():  # A unique name needs no lock.
            try:
                temporary.mkdir(exist_ok=True)  # Again, in case the process that held the lock has just renamed it.
                yield temporary
                if directory.exists():
                    directory.rmdir()  # It is empty, unless another process filled it: then this raises OSError.
                os.replace(temporary, directory)
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                advice = "Free some space there, or name another directory."
                if keep and keep(temporary):
                    advice = "Free some space there and run the same command again: it continues where it stopped."
                raise OSError(f"{directory} cannot be written: {error.strerror}. {advice}") from error
            finally:
                if not (keep and temporary.exists() and keep(temporary)):
                    shutil.rmtree(temporary, ignore_errors=True)
    finally:  # After the lock is released, because its file is in the parent.
        for parent in new_parents:
            with contextlib.suppress(OSError):
                parent.rmdir()  # Fails, as it should, if the parent contains other files.
