"""The pairs of code on the pages of docs/migration: theirs, ours, and the names whose values are equal in both.

No import but NumPy's, for environments of other libraries run this too.
"""

import dataclasses
import hashlib
import re
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


@dataclasses.dataclass(frozen=True)
class Pair:
    """One pair: its heading, the two pieces of code, and the names that it says are equal."""

    title: str
    theirs: str
    ours: str
    same: tuple[str, ...]


def text(page: str) -> str:
    """The Markdown of a page."""
    return (MIGRATION / f"{page}.md").read_text(encoding="utf-8")


def pairs(page: str) -> list[Pair]:
    """The pairs of a page, in their order: later ones use the names of earlier ones."""
    found = [
        Pair(match["title"], match["theirs"], match["ours"], tuple(re.findall(r"`(\w+)`", match["same"])))
        for match in _PAIR.finditer(text(page))
    ]
    assert len(found) == text(page).count('<div class="grid" markdown>'), f"{page}: a pair of another form"
    assert all(pair.same for pair in found)
    return found


def run(page: str, side: str) -> list[dict[str, np.ndarray]]:
    """Runs one side of a page, ``theirs`` or ``ours``, from top to bottom; for each pair the values that it names.

    Scripts of the page, blocks titled ``NAME.py``, run before ours.
    """
    names: dict[str, Any] = {"__name__": page}
    if side == "ours":
        for script in re.findall(r'^```python title="\w+\.py"\n(.*?)^```', text(page), flags=re.DOTALL | re.MULTILINE):
            exec(compile(script, f"{page}.md", "exec"), {})
    values = []
    for pair in pairs(page):
        exec(compile(getattr(pair, side), f"{page}.md, {pair.title}, {side}", "exec"), names)
        values.append({name: as_array(names[name]) for name in pair.same})
    return values


def fingerprint(page: str) -> str:
    """Tells whether their code is still the one whose values were recorded."""
    return hashlib.sha256("\n".join(pair.theirs for pair in pairs(page)).encode()).hexdigest()


def as_array(value: Any) -> np.ndarray:
    """A number, a list, or a tensor of any library as an array."""
    value = value.detach() if hasattr(value, "detach") else value
    array = np.asarray(value)
    assert array.dtype.kind in "biufU", f"{value!r} cannot be compared"
    return array


def flat(values: list[dict[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """All values of a page under the names that they are recorded by."""
    return {f"{number}_{name}": array for number, found in enumerate(values) for name, array in found.items()}
