"""Runs the examples in the docstrings of all modules; their output must be as written."""

import doctest
import importlib
import pkgutil

import pytest
from torch_process import TORCH_MODULES

import keras_bert_impl

NAMES = {module.name for module in pkgutil.walk_packages(keras_bert_impl.__path__, f"{keras_bert_impl.__name__}.")}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", sorted(NAMES - TORCH_MODULES))
def test_examples(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} lacks a docstring"
    assert doctest.testmod(module, optionflags=OPTIONS).failed == 0
