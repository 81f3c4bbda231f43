"""Peak memory of some calls above that of the imports, in new processes, because the peak of a process never falls."""

import importlib
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any


def measure_peak(imports: Sequence[str], make: Callable[[], Callable[[], Any]]) -> float:
    """Megabytes that two calls need in this process, above those of the imports.

    Args:
        imports: modules whose memory does not count; neither does that of TensorFlow's first operation.
        make: returns the function to call.
    """
    modules = [importlib.import_module(name) for name in imports]
    if modules[0].__name__ == "tensorflow":
        modules[0].zeros(1)
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call = make()
    for _ in range(2):
        call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - floor) / 1024


def measure_in_processes(*arguments: str) -> float:
    """Runs the script three times with these arguments; returns the median of the peaks that it prints.

    TensorFlow runs operations in a different order each time, so that the peak differs.
    """
    return statistics.median(run_script(*arguments) for _ in range(3))


def run_script(*arguments: str) -> Any:
    """Starts the running script again with these arguments; returns the last line it prints, decoded from JSON."""
    command = [sys.executable, sys.argv[0], *arguments]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(output.splitlines()[-1])
