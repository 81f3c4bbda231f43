"""Reads the pairs of code on the pages of docs/migration, and runs them.

A pair is the code of the other library (``theirs``), ours, and the names whose values must be equal.

It imports only NumPy, because it also runs in the environments of the other libraries.
"""

import dataclasses
import hashlib
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
MIGRATION = ROOT / "docs" / "migration"
RECORDED = ROOT / "tests" / "docs" / "recorded"

_PAIR = re.compile(
    r"""^\#\#\ (?P<title>[^\n]+)\n
    (?:(?!^\#\#\ ).)*?
    ^<div\ class="grid"\ markdown>\n+
    ^```python\ title="(?!keras_bert_impl)[^"]+"\n(?P<theirs>.*?)^```\n+
    ^```python\ title="keras_bert_impl"\n(?P<ours>.*?)^```\n+
    ^</div>\n+
    ^Same\ values:\ (?P<same>[^.]+)\.\n""",
    flags=re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_SCRIPT = re.compile(r'^```python title="\w+\.py"\n(.*?)^```', flags=re.DOTALL | re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Pair:
    """One pair: its heading, the code of both sides, and the names whose values must be equal."""

    title: str
    theirs: str
    ours: str
    same: tuple[str, ...]


def read_page(page: str) -> str:
    """Returns the Markdown of a page."""
    return (MIGRATION / f"{page}.md").read_text(encoding="utf-8")


def read_pairs(page: str) -> list[Pair]:
    """Returns the pairs of a page, in order; later pairs use the variables of earlier ones."""
    result = [
        Pair(match["title"], match["theirs"], match["ours"], tuple(re.findall(r"`(\w+)`", match["same"])))
        for match in _PAIR.finditer(read_page(page))
    ]
    assert len(result) == read_page(page).count('<div class="grid" markdown>'), f"{page}: a pair has an unexpected form"
    assert all(pair.same for pair in result)
    return result


def run(page: str, side: str) -> list[dict[str, np.ndarray]]:
    """Runs one side of a page, ``theirs`` or ``ours``, from top to bottom; returns the compared values of each pair.

    The scripts of the page, which are blocks titled ``NAME.py``, run before ours. Each runs in a process of its own,
    because torch may crash in one process with TensorFlow.
    """
    names: dict[str, Any] = {"__name__": page}
    if side == "ours":
        for script in _SCRIPT.findall(read_page(page)):
            subprocess.run([sys.executable, "-c", script], check=True)
    values = []
    for pair in read_pairs(page):
        exec(compile(getattr(pair, side), f"{page}.md, {pair.title}, {side}", "exec"), names)
        values.append({name: to_array(names[name]) for name in pair.same})
    return values


def compute_fingerprint(page: str) -> str:
    """Returns a hash of the other library's code, to detect a change after its results were recorded."""
    return hashlib.sha256("\n".join(pair.theirs for pair in read_pairs(page)).encode()).hexdigest()


def to_array(value: Any) -> np.ndarray:
    """Converts a number, a list, or a tensor of any library to an array."""
    value = value.detach() if hasattr(value, "detach") else value
    array = np.asarray(value)
    assert array.dtype.kind in "biufU", f"{value!r} cannot be compared"
    return array


def flatten(values: list[dict[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """Returns all values of a page by the names that are used in the recorded files."""
    return {f"{number}_{name}": array for number, pair in enumerate(values) for name, array in pair.items()}
