"""Calls functions in another Python process, for libraries that must not share a process with TensorFlow.

PyPI's torch for Linux brings triton, and importing triton after TensorFlow ends the process with a segmentation fault.
With two processes the import order does not matter, and one process can report that the other died.
"""

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from typing import Any

# The number of lines of a dead process's output that the error shows.
_SHOWN_LINES = 5


class ProcessDiedError(RuntimeError):
    """The process ended before it returned a result.

    Args:
        reason: the signal or the exit code, in words.
        output: the last lines that it printed.
    """

    def __init__(self, reason: str, output: str) -> None:
        super().__init__(f"it {reason}. Its last lines:\n{output}" if output else f"it {reason} and printed nothing")
        self.reason = reason
        self.output = output


class PythonProcess:
    """Another Python process, with the same interpreter and import paths, that runs functions by name.

    Arguments, results and exceptions are sent as pickles over pipes that only these two processes can write to. The
    process is started by the first call. It ends with `close`, or when this process ends in any way. Its output is
    saved for `ProcessDiedError`.

    >>> with PythonProcess() as process:
    ...     process.call("math", "hypot", 3, 4)
    5.0
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: Any = None

    def __enter__(self) -> "PythonProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process's number; None before the first call."""
        return self._process.pid if self._process else None

    def call(self, module: str, function: str, *arguments: Any, **options: Any) -> Any:
        """Runs ``module.function(*arguments, **options)`` there and returns its result.

        The module is imported in the process when it is first called.

        Raises:
            ProcessDiedError: the process ended before it returned a result.
            Exception: what the function or the import raised there, with the other process's traceback as a note.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        request = pickle.dumps((module, function, arguments, options), pickle.HIGHEST_PROTOCOL)
        try:
            process.stdin.write(request)
            process.stdin.flush()
            succeeded, result = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            process.wait()
            self._printed.seek(0)
            lines = self._printed.read().decode("utf-8", "replace").strip().splitlines()
            self.close()
            raise ProcessDiedError(_describe(process.returncode), "\n".join(lines[-_SHOWN_LINES:])) from error
        if not succeeded:
            raise result
        return result

    def close(self) -> None:
        """Ends the process."""
        if self._process:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._printed.close()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        # Without -P, a file of the working directory could be imported in place of a library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
        )
        return self._process


def _describe(returncode: int) -> str:
    """How a process ended, in words."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was ended by {name}" + (", which the system sends when memory runs out" if name == "SIGKILL" else "")


def _run_request(module: str, function: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> bytes:
    """Runs a function; returns whether it succeeded, and its result or exception, as a pickle."""
    try:
        result = getattr(importlib.import_module(module), function)(*arguments, **options)
        return pickle.dumps((True, result), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        error.add_note(f"In the other process:\n{traceback.format_exc()}")
        try:
            return pickle.dumps((False, error))
        except Exception:
            return pickle.dumps((False, RuntimeError(traceback.format_exc())))


def _serve() -> None:
    """Runs the requested functions until the other process closes the pipe."""
    requests, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # From here on, output of libraries is redirected to standard error, because standard output carries the results.
    os.dup2(2, 1)
    # Ctrl-C in a terminal sends SIGINT to both processes; only the other one handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        results.write(_run_request(*request))
        results.flush()


if __name__ == "__main__":
    _serve()
