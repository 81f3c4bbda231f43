"""Calls in another Python process: results, exceptions, and the error when it dies."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_bert_impl.python_process import ProcessDiedError, PythonProcess


def test_one_process_answers_all_calls() -> None:
    with PythonProcess() as process:
        assert process.pid is None
        numbers = np.arange(1 << 20, dtype="float32")
        assert process.call("os", "getpid") == process.pid != os.getpid()
        np.testing.assert_array_equal(process.call("numpy", "square", numbers), numbers**2)
        assert process.call("builtins", "sorted", [1, 3, 2], reverse=True) == [3, 2, 1]
        assert process.call("os", "getpid") == process.pid
    assert process.pid is None


def test_what_it_prints_is_not_an_answer() -> None:
    with PythonProcess() as process:
        assert process.call("builtins", "print", "a line") is None
        assert process.call("os", "system", "echo another") == 0
        assert process.call("os", "getpid") == process.pid


def test_exceptions_come_back() -> None:
    with PythonProcess() as process:
        with pytest.raises(ValueError, match="math domain error") as raised:
            process.call("math", "log", -1)
        assert "In the other process:" in raised.value.__notes__[0]
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            process.call("no_such_module", "function")
        with pytest.raises((TypeError, AttributeError), match="lock"):
            process.call("builtins", "len", __import__("threading").Lock())
        assert process.call("math", "hypot", 3, 4) == 5


def test_a_result_that_cannot_be_sent() -> None:
    with PythonProcess() as process, pytest.raises(TypeError, match="pickle"):
        process.call("threading", "Lock")


def test_its_last_lines_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "\n".join(f"line {number}" for number in range(9))
    (tmp_path / "dies.py").write_text(f"import os\ndef now(): os.write(1, {lines.encode()!r}); os._exit(7)")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with PythonProcess() as process, pytest.raises(ProcessDiedError) as raised:
        process.call("dies", "now")
    assert str(raised.value) == "it ended with exit code 7. Its last lines:\nline 4\nline 5\nline 6\nline 7\nline 8"


def test_it_starts_again_after_it_died() -> None:
    with PythonProcess() as process:
        with pytest.raises(ProcessDiedError, match="it was ended by SIGABRT and printed nothing"):
            process.call("os", "abort")
        assert process.call("math", "hypot", 3, 4) == 5
