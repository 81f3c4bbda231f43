"""Makes ``examples/notebooks/`` from the scripts. Run it after you change a script.

    python examples/make_notebooks.py

Each notebook gets a badge that opens it in Colab, and a first cell that installs the package if it is missing. It has
no outputs.
"""

import sys
from pathlib import Path

import jupytext
from nbformat.v4 import new_code_cell, new_markdown_cell

# The repository on GitHub, for the badges and the first cells.
REPOSITORY = "keras-bert-impl/keras_bert_impl"

# In reading order.
NOTEBOOKS = (
    "build_bert",
    "load_checkpoint",
    "inputs",
    "bank_vectors",
    "sentiment",
    "look_inside",
    "semantic_search",
    "pretraining",
    "export_and_serving",
)

HERE = Path(__file__).parent
_BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/examples/notebooks/{name}.ipynb)"
)
_INSTALL = """\
import importlib.util

if importlib.util.find_spec("keras_bert_impl") is None:
    %pip install -q "keras_bert_impl[tensorflow] @ git+https://github.com/{repository}\""""


def make_notebook(name: str) -> str:
    """Converts a script to a notebook, as JSON."""
    result = jupytext.read(HERE / f"{name}.py")
    result.cells = [
        new_markdown_cell(_BADGE.format(repository=REPOSITORY, name=name)),
        new_code_cell(_INSTALL.format(repository=REPOSITORY)),
        *result.cells,
    ]
    for number, cell in enumerate(result.cells):
        cell.id = f"{name.replace('_', '-')}-{number}"  # The ids of nbformat are random.
    result.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return jupytext.writes(result, fmt="ipynb") + "\n"


def main() -> None:
    """Writes all notebooks."""
    for name in NOTEBOOKS:
        path = HERE / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(make_notebook(name), encoding="utf-8")
        print(path.relative_to(HERE.parent), file=sys.stderr)


if __name__ == "__main__":
    main()
