"""CPU cores and open files that the operating system lets this process use."""

import os
import sys

# Files that a process has open for other reasons: libraries, pipes, sockets.
_OTHER_FILES = 512


def count_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
