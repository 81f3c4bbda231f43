"""Tests of the torch process, and that no other process imports torch."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch_process import run_in_torch_process

TESTS = Path(__file__).parent
# These are imported only in the torch process, or run as scripts.
TORCH_FILES = {
    *("torch_files.py", "torch_models.py", "torch_wrappers.py"),
    *("checkpoints/recorded/make.py", "docs/recorded/make.py"),
}
LIBRARIES = ("torch", "transformers", "sentence_transformers", "safetensors.torch")


@run_in_torch_process
def compute_softmax(logits: np.ndarray, *, axis: int = -1) -> tuple[np.ndarray, int]:
    import os

    import torch

    return torch.softmax(torch.from_numpy(logits), axis).numpy(), os.getpid()


@run_in_torch_process
def warn() -> None:
    import warnings

    warnings.warn("as in a library", stacklevel=1)


def test_functions_run_in_one_other_process() -> None:
    logits = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
    columns, first = compute_softmax(logits, axis=0)
    rows, second = compute_softmax(logits)
    assert first == second != os.getpid()
    for result, axis in ((columns, 0), (rows, -1)):
        exponents = np.exp(logits)
        np.testing.assert_allclose(result, exponents / exponents.sum(axis, keepdims=True))


def test_warnings_are_errors_in_the_torch_process() -> None:
    with pytest.raises(UserWarning, match="as in a library"):
        warn()


def find_imports_outside(node: ast.AST) -> Iterator[str]:
    """Yields the modules that are imported outside of functions for the torch process."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and "run_in_torch_process" in map(ast.unparse, child.decorator_list):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield str(child.module)
        yield from find_imports_outside(child)


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.relative_to(TESTS).as_posix())
def test_torch_is_imported_only_in_the_torch_process(path: Path) -> None:
    if path.relative_to(TESTS).as_posix() in TORCH_FILES:
        return
    imported = find_imports_outside(ast.parse(path.read_text(encoding="utf-8")))
    assert not [name for name in imported if f"{name}.".startswith(tuple(f"{library}." for library in LIBRARIES))]
