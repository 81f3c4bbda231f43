"""Runs the examples in the docstrings of all modules; their output must be as written."""

import doctest
import pkgutil

import pytest
from torch_process import TORCH_MODULES, run_in_torch_process

import keras_bert_impl

MODULES = [module.name for module in pkgutil.walk_packages(keras_bert_impl.__path__, f"{keras_bert_impl.__name__}.")]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_examples(name: str, options: int) -> tuple[str | None, int]:
    """Returns a module's docstring, and the number of its examples that failed."""
    import doctest
    import importlib

    module = importlib.import_module(name)
    return module.__doc__, doctest.testmod(module, optionflags=options).failed


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_in_torch_process(run_examples) if name in TORCH_MODULES else run_examples
    docstring, failed = run(name, OPTIONS)
    assert docstring, f"{name} lacks a docstring"
    assert failed == 0
