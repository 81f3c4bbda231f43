"""Compares the imports in the source with the tables of permitted imports in ``docs/design.md``."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from torch_process import TORCH_MODULES

import keras_bert_impl

PACKAGE = Path(keras_bert_impl.__file__).parent
DESIGN = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch", "flax", "transformers", "sentence_transformers"}


class Import(NamedTuple):
    """One import statement: the dotted name, and whether it is executed when the module is imported."""

    name: str
    on_import: bool


def read_table(heading: str) -> list[list[list[str]]]:
    """Returns the names in backquotes, per row and cell, of the first table below a heading of the page."""
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", DESIGN, flags=re.DOTALL | re.MULTILINE)
    assert section, f"docs/design.md has no heading {heading!r}"
    _, _, *rows = re.findall(r"^\|(.*)\|$", section[1], flags=re.MULTILINE)
    return [[re.findall(r"`([^`]+)`", cell) for cell in row.split("|")] for row in rows]


def find_package(file: str) -> str:
    """Returns the package that a file belongs to, as the table names it: its top-level folder or module."""
    return file.split("/")[0].removesuffix(".py")


PACKAGES = {
    tuple(name.rstrip("/").removesuffix(".py") for name in names): (set(packages), set(libraries))
    for names, _, packages, libraries in read_table("Packages and what each may import")
}
# By library: the files that may import it, and the files whose import may start it, also through other files.
LIBRARIES = {
    name: (files, on_import) for (name,), files, on_import in read_table("Libraries that only some files may import")
}
EVERYWHERE = set(re.findall(r"`(\w+)`", re.search(r"^All may import (.*?)\.$", DESIGN, flags=re.M | re.S)[1]))


def is_listed(file: str, entries: Iterable[str]) -> bool:
    """Whether a file, or a folder that contains it (with a slash at the end), is among the entries."""
    return any(file == entry or (entry.endswith("/") and file.startswith(entry)) for entry in entries)


@cache
def list_imports(file: str) -> tuple[Import, ...]:
    """Returns all imports of a file, also those inside functions and for type checkers."""

    def walk(node: ast.AST, on_import: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, on_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{file}: imports are absolute"
                is_ours = str(child.module).split(".")[0] == PACKAGE.name
                names = [f"{child.module}.{alias.name}" for alias in child.names] if is_ours else [str(child.module)]
                yield from (Import(name, on_import) for name in names)
            else:
                is_type_checking = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, on_import and not is_type_checking and not is_function)

    return tuple(walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8")), True))


def list_imported_packages(file: str) -> set[str]:
    """Returns the packages in the table that a file imports, except its own."""
    names = {name.split(".")[1] for name, _ in list_imports(file) if name.startswith(f"{PACKAGE.name}.")}
    return names - {find_package(file), "__version__"}


def list_imported_libraries(file: str) -> set[str]:
    """Returns the libraries that a file imports, except the standard library."""
    return {name.split(".")[0] for name, _ in list_imports(file)} - {PACKAGE.name, *sys.stdlib_module_names}


def find_executed_files(file: str) -> set[str]:
    """Returns the files of this package that are executed when a file is imported."""
    executed: set[str] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current in executed or current not in FILES:
            continue
        executed.add(current)
        for name, on_import in list_imports(current):
            first, *rest = name.split(".")
            if first == PACKAGE.name and on_import:
                for length in range(len(rest) + 1):
                    part = "/".join(rest[:length])
                    waiting += [f"{part}.py", f"{part}/__init__.py".removeprefix("/")]
    return executed


@pytest.mark.parametrize("file", FILES)
def test_imports_are_permitted(file: str) -> None:
    if file == "__init__.py":  # It imports each public package when it is first used.
        return
    ((packages, libraries),) = [row for names, row in PACKAGES.items() if find_package(file) in names]
    surplus = list_imported_packages(file) - packages - EVERYWHERE
    assert not surplus, f"{file} imports {sorted(surplus)}: not permitted by the table of packages in docs/design.md"
    surplus = list_imported_libraries(file) - libraries
    assert not surplus, f"{file} imports {sorted(surplus)}: not permitted by the table of packages in docs/design.md"


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_are_imported_only_where_the_table_says(library: str) -> None:
    files, on_import = LIBRARIES[library]
    users = [file for file in FILES if library in list_imported_libraries(file)]
    assert [file for file in users if not is_listed(file, files)] == [], f"{library}: only in {files}"
    at_top = {
        file
        for file in users
        if any(each.on_import and each.name.split(".")[0] == library for each in list_imports(file))
    }
    importers = [file for file in FILES if at_top & find_executed_files(file)]
    surplus = {file: at_top & find_executed_files(file) for file in importers if not is_listed(file, on_import)}
    assert not surplus, f"these files import {library} when they are imported; import it inside a function: {surplus}"
    unused = [entry for entry in files if not any(is_listed(file, [entry]) for file in users)]
    assert not unused, f"docs/design.md permits {library} in {unused}, which do not use it"
    unused = [entry for entry in on_import if not any(is_listed(file, [entry]) for file in importers)]
    assert not unused, f"docs/design.md permits {library} at the top of {unused}, which do not import it there"


@pytest.mark.parametrize("library", ["torch", "transformers", "sentence_transformers"])
def test_only_modules_for_the_torch_process_import_torch_at_the_top(library: str) -> None:
    _, exceptions = LIBRARIES[library]
    modules = {f"{PACKAGE.name}.{file.removesuffix('.py').replace('/', '.')}" for file in exceptions}
    others = modules - TORCH_MODULES
    assert not others, f"{others} import {library}, which may crash a process with TensorFlow; see TORCH_MODULES"


def test_every_package_is_in_the_table_once() -> None:
    rows = [name for names in PACKAGES for name in names]
    assert sorted(rows) == sorted({find_package(file) for file in FILES} - {"__init__"})


@pytest.mark.parametrize("names", PACKAGES, ids=", ".join)
def test_no_permission_is_unused(names: tuple[str, ...]) -> None:
    packages, libraries = PACKAGES[names]
    files = [file for file in FILES if find_package(file) in names]
    assert files
    unused = (packages | libraries) - set().union(
        *map(list_imported_packages, files), *map(list_imported_libraries, files)
    )
    assert not unused, f"docs/design.md permits {sorted(unused)} to {names}, which do not import it: delete it there"


def test_only_the_listed_files_ask_for_the_backend() -> None:
    """In any spelling: ``keras.backend.backend()``, ``keras.config.backend()``, or an imported ``backend``."""

    def is_backend_query(node: ast.AST) -> bool:
        if isinstance(node, ast.ImportFrom):
            return any(alias.name == "backend" for alias in node.names)
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backend"

    trees = {file: ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))) for file in FILES}
    listed = [file for (file,), _ in read_table("Files that ask for the backend")]
    assert len(listed) <= 6
    assert sorted(listed) == [file for file, nodes in trees.items() if any(map(is_backend_query, nodes))]


def test_importing_the_package_starts_no_framework() -> None:
    code = "import sys, keras_bert_impl; print(*{name.split('.')[0] for name in sys.modules})"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not FRAMEWORKS & set(output.split())
