"""CPU cores, memory and open files that the operating system lets this process use."""

import os
import sys
from pathlib import Path

from keras_bert_impl.errors import InputError

# Files that a process has open for other reasons: libraries, pipes, sockets.
_OTHER_FILES = 512
# On Linux: the memory of the machine in kB by name, and the limit and the use of a container in bytes (cgroup v2).
_MEMORY = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


def count_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_free_memory() -> int | None:
    """Returns the bytes of memory that this process can allocate without swapping; None if the system does not say.

    Linux says it, for the machine and for the container that the process runs in.
    """
    free = []
    if _MEMORY.is_file():
        sizes = dict(line.split(":") for line in _MEMORY.read_text().splitlines())
        free.append(1024 * int(sizes["MemAvailable"].split()[0]))
    limit = _CONTAINER / "memory.max"
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        sizes = dict(line.split() for line in (_CONTAINER / "memory.stat").read_text().splitlines())
        used = int((_CONTAINER / "memory.current").read_text())
        free.append(max(0, int(text) - used + int(sizes["inactive_file"])))  # Cached files, which the system drops.
    return min(free, default=None)


def check_memory_for_vectors(vectors: int, dimensions: int) -> None:
    """Checks that there is enough memory for float32 vectors of texts, which are copied once to collect them.

    Args:
        vectors: the number of vectors.
        dimensions: the number of dimensions of each.

    Raises:
        InputError: more memory is needed than is free. Where the system does not say how much that is, nothing is
            raised.
    """
    needed, free = 2 * 4 * vectors * dimensions, count_free_memory()
    if free is not None and needed > free:
        raise InputError(
            f"the vectors of {vectors:,} texts need {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are "
            "free. Use a part of the texts."
        )


def raise_open_file_limit(count: int) -> None:
    """Lets this process open ``count`` more files, as far as the system allows. Windows has no such limit to raise."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
