"""Compares the private names of other libraries in the source with the table in ``docs/private-names.md``."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import keras

import keras_bert_impl

PACKAGE = Path(keras_bert_impl.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "private-names.md").read_text(encoding="utf-8")
TREES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
# Python documents these in spite of their underscore.
DOCUMENTED = {"_exit", "_replace", "_fields", "_asdict", "_make"}
# Our classes derive from these and may override or call their private names by accident.
KERAS = (
    *(keras.Model, keras.Layer, keras.Optimizer, keras.optimizers.AdamW, keras.callbacks.Callback),
    *(keras.losses.Loss, keras.metrics.Metric, keras.optimizers.schedules.LearningRateSchedule),
)
KERAS_NAMES = {name for each in KERAS for name in dir(each) if re.match(r"_[a-z]", name)}
KERAS_NAMES |= vars(keras.callbacks.TensorBoard()).keys() - vars(keras.callbacks.Callback()).keys()


def collect_defined_names(tree: ast.AST) -> set[str]:
    """Returns the names that a syntax tree defines: functions, classes, variables, attributes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return names


CLASSES = {node.name: node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def collect_class_names(name: str) -> set[str]:
    """Returns the names that a class of this package and its bases in this package define."""
    node = CLASSES[name]
    bases = (ast.unparse(base).split(".")[-1].split("[")[0] for base in node.bases)
    return collect_defined_names(node).union(
        *(collect_class_names(base) for base in bases if base in CLASSES and base != name)
    )


def find_private_names(node: ast.AST, defined: set[str], owned: set[str]) -> Iterator[str]:
    """Yields the private names of other libraries in a syntax tree.

    Args:
        node: the tree.
        defined: the names that its file defines.
        owned: the names that the surrounding class defines, if any.
    """
    if isinstance(node, ast.ClassDef):
        owned = collect_class_names(node.name)
        yield from (name for name in collect_defined_names(node) if name in KERAS_NAMES or name.startswith("_keras"))
    elif isinstance(node, ast.Attribute):
        is_ours = node.attr in (owned if ast.unparse(node.value) in ("self", "cls") else defined)
        if re.match(r"_[a-z]", node.attr) and (not is_ours or node.attr in KERAS_NAMES):
            yield node.attr
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
        name = node.args[1]
        if isinstance(name, ast.Constant) and re.match(r"_[a-z]", name.value) and name.value not in defined:
            yield name.value
    elif isinstance(node, ast.ImportFrom) and re.search(r"^keras\.src|^tensorflow\.python|\._", node.module or ""):
        yield str(node.module)
    for child in ast.iter_child_nodes(node):
        yield from find_private_names(child, defined, owned)


def test_the_page_lists_the_private_names_that_the_source_uses() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| .+ \| .+ \|$", PAGE, flags=re.MULTILINE)
    listed = {(name, file) for name, files in rows for file in re.findall(r"`([^`]+)`", files)}
    used = {
        (name, file)
        for file, tree in TREES.items()
        for name in find_private_names(tree, collect_defined_names(tree), set())
        if name not in DOCUMENTED
    }
    assert used - listed == set(), "add these to docs/private-names.md, each with the reason"
    assert listed - used == set(), "not used any more: delete these in docs/private-names.md"
