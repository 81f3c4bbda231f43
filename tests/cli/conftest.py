"""Runs verbs in this process, and sees what they print and write."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from keras_bert_impl.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a verb did."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """``run("predict", directory, "text")``."""

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return run
