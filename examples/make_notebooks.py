"""Makes ``examples/notebooks/`` of the scripts: run it after a change of one.

    python examples/make_notebooks.py

The scripts are the source. A notebook gets a badge that opens it in Colab, and a first cell that installs the package
where it is missing.
"""

import sys
from pathlib import Path

import jupytext
from nbformat.v4 import new_code_cell, new_markdown_cell

# Where the repository is: for the badges and the first cells.
REPOSITORY = "keras-bert-impl/keras_bert_impl"

# In the order of reading.
NOTEBOOKS = (
    "build_bert",
    "load_checkpoint",
    "inputs",
    "bank_vectors",
    "sentiment",
    "look_inside",
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


def notebook(name: str) -> str:
    """The notebook of a script, as JSON."""
    made = jupytext.read(HERE / f"{name}.py")
    made.cells = [
        new_markdown_cell(_BADGE.format(repository=REPOSITORY, name=name)),
        new_code_cell(_INSTALL.format(repository=REPOSITORY)),
        *made.cells,
    ]
    for number, cell in enumerate(made.cells):
        cell.id = f"{name.replace('_', '-')}-{number}"  # The library's own are random.
    made.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return jupytext.writes(made, fmt="ipynb") + "\n"


def main() -> None:
    """Writes those that changed."""
    for name in NOTEBOOKS:
        path = HERE / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(notebook(name), encoding="utf-8")
        print(path.relative_to(HERE.parent), file=sys.stderr)


if __name__ == "__main__":
    main()
