"""Checks that the notebooks match the current scripts, and runs each in its own kernel."""

import re
import runpy
import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = (EXAMPLES.parent / "docs" / "notebooks.md").read_text(encoding="utf-8")
MAKER = runpy.run_path(str(EXAMPLES / "make_notebooks.py"))
NOTEBOOKS, REPOSITORY = MAKER["NOTEBOOKS"], MAKER["REPOSITORY"]

# These take seconds, so they run without --slow.
QUICK = ("build_bert",)


def test_notebooks_are_made_from_the_scripts() -> None:
    """If this fails: ``python examples/make_notebooks.py``."""
    assert {path.stem for path in (EXAMPLES / "notebooks").glob("*.ipynb")} == set(NOTEBOOKS)
    for name in NOTEBOOKS:
        written = nbformat.read(EXAMPLES / "notebooks" / f"{name}.ipynb", as_version=4)
        expected = nbformat.reads(MAKER["make_notebook"](name), as_version=4)
        assert written.cells == expected.cells, name
        nbformat.validate(written)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_have_a_badge_an_installation_and_a_seed(name: str) -> None:
    badge, install, *cells = nbformat.read(EXAMPLES / "notebooks" / f"{name}.ipynb", as_version=4).cells
    assert f"colab.research.google.com/github/{REPOSITORY}/blob/main/examples/notebooks/{name}.ipynb" in badge.source
    assert f"github.com/{REPOSITORY}" in install.source
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert "set_random_seed(1)" in code
    assert re.search(r"^assert ", code, re.MULTILINE)
    assert REPOSITORY not in code
    assert f"](../examples/notebooks/{name}.ipynb)" in PAGE


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NOTEBOOKS]
)
@pytest.mark.filterwarnings("default")  # Jupyter's own.
def test_notebooks_run(name: str, tmp_path: Path, minilm: Path, request: pytest.FixtureRequest) -> None:
    """All cells run, the assertions in them hold, and no error or warning is printed."""
    if name == "semantic_search":  # It downloads this file if it is missing.
        shutil.copy(request.getfixturevalue("shared_data") / "xquad_en" / "xquad.en.json", tmp_path)
    notebook = nbformat.read(EXAMPLES / "notebooks" / f"{name}.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    printed = "".join(output.get("text", "") for output in outputs if output.output_type == "stream")
    assert "Warning" not in printed, printed
    assert len(outputs) > 4
