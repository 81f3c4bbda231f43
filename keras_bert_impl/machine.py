"""What the machine has, and lets a process have."""

import os
import resource

# Files that a process has open for other reasons: libraries, pipes, sockets.
_OTHERS = 512


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allow_open_files(count: int) -> None:
    """Lets this process open so many files beside those that it has, as far as the system allows it to."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _OTHERS
    if most != resource.RLIM_INFINITY:
        needed = min(needed, most)
    if least != resource.RLIM_INFINITY and least < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))
