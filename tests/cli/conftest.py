"""Runs verbs in this process and captures what they print."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from keras_bert_impl.cli.main import main


@dataclass(frozen=True)
class Result:
    """The exit code of a verb, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """``run("predict", directory, "text")``."""

    def run(*arguments: str | Path) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run
