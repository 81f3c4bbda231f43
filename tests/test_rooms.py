"""The rooms of the package and who may import whom (docs/design.md), held against the imports in the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import keras_bert_impl

PACKAGE = Path(keras_bert_impl.__file__).parent

# Room: the rooms, then the libraries that it may import. All may import the leaves and the standard library.
LEAVES = {"drawing", "errors", "files", "machine"}
_BELOW_TASKS = {"config", "data", "models", "sources", "tokenization"}
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "drawing": (set(), {"matplotlib"}),
    "errors": (set(), set()),
    "files": (set(), set()),
    "machine": (set(), set()),
    "sources": (set(), {"huggingface_hub"}),
    "config": ({"sources"}, set()),
    "layers": (set(), {"keras", "numpy", "tensorflow"}),
    "checkpoints": ({"config", "sources"}, {"ml_dtypes", "numpy", "safetensors", "tensorflow"}),
    "models": ({"checkpoints", "config", "layers", "sources"}, {"keras", "numpy"}),
    "tokenization": ({"sources"}, {"numpy", "tensorflow", "tokenizers"}),
    "data": (
        {"config", "tokenization"},
        {"apache_beam", "grain", "keras", "numpy", "safetensors", "sentencex", "tensorflow", "tensorflow_datasets"},
    ),
    "tasks": (_BELOW_TASKS, {"keras", "numpy", "scipy", "sklearn"}),
    "training": (
        {*_BELOW_TASKS, "checkpoints", "tasks"},
        {"jax", "keras", "matplotlib", "numpy", "safetensors", "tensorflow"},
    ),
    "prediction": ({*_BELOW_TASKS, "export", "tasks"}, {"keras"}),
    "export": ({*_BELOW_TASKS, "layers", "prediction", "tasks"}, {"keras", "numpy", "tensorflow", "tokenizers"}),
    "interpret": ({*_BELOW_TASKS, "tasks"}, {"jax", "keras", "matplotlib", "numpy", "sklearn", "tensorflow", "torch"}),
    "interop": (
        {"checkpoints", "config", "models", "sources", "tokenization"},
        {"keras", "keras_hub", "numpy", "safetensors", "torch", "transformers"},
    ),
    "recipes": ({*_BELOW_TASKS, "checkpoints", "interop", "export", "tasks", "training"}, set()),
    "cli": ({*_BELOW_TASKS, "interop", "interpret", "prediction", "recipes", "export", "tasks", "training"}, set()),
}

# Library: the only files that may import it. What starts slowly or may be absent is imported inside a function.
ONLY_IN = {
    "huggingface_hub": {"sources.py"},
    "apache_beam": {"data/beam.py"},
    "sentencex": {"data/sentences.py"},
    "tensorflow": {
        "checkpoints/tf1.py",
        "data/feed.py",
        "interpret/gradients.py",
        "layers/attention.py",
        "layers/base.py",
        "export/check.py",
        "export/graphs/classification.py",
        "export/graphs/embedding.py",
        "export/graphs/int8.py",
        "export/graphs/masked_lm.py",
        "export/graphs/question_answering.py",
        "export/graphs/served.py",
        "export/graphs/spelled.py",
        "export/graphs/tagging.py",
        "export/guide.py",
        "export/runtimes.py",
        "export/saved_model.py",
        "export/signatures.py",
        "export/warmup.py",
        "export/tokenizer/in_graph.py",
        "export/tokenizer/ragged_ops.py",
        "training/accumulation.py",
        "training/distribution.py",
        "training/optimizers.py",
    },
    "tensorflow_datasets": {"data/tfds.py"},
    "jax": {"interpret/gradients.py", "training/accumulation.py", "training/distribution.py"},
    "keras_hub": {"interop/keras_hub.py"},
    "torch": {"interop/reference.py", "interpret/gradients.py"},
    "transformers": {"interop/reference.py"},
}
INSIDE_FUNCTIONS = {
    *("apache_beam", "huggingface_hub", "jax", "keras_hub"),
    *("sentencex", "tensorflow", "tensorflow_datasets"),
}

# Files of TensorFlow operations: they import it at their top, and others import them inside functions.
GRAPHS = (
    "export/check.py",
    "export/graphs/",
    "export/guide.py",
    "export/signatures.py",
    "export/warmup.py",
    "export/tokenizer/in_graph.py",
    "export/tokenizer/ragged_ops.py",
)

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py")


def imports(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a piece of source imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            at_top = node.module == PACKAGE.name
            yield from (f"{node.module}.{alias.name}" for alias in node.names) if at_top else [str(node.module)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    room = name.split("/")[0].removesuffix(".py")
    rooms, libraries = ROOMS[room]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    outside = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    is_graph = name.startswith(GRAPHS)
    started = set() if is_graph else {found for node in outside for found in imports(node)}
    started |= {found.split(".")[0] for found in started}
    for found in imports(tree):
        first, *rest = found.split(".")
        if first == PACKAGE.name:
            target = rest[0] if rest else "__version__"
            assert target in {room, *rooms, *LEAVES, "__version__"}, f"{room} may not import the room {target}"
            at_top = found in started and "/".join(rest).startswith(
                tuple(graph.removesuffix(".py") for graph in GRAPHS)
            )
            assert not at_top, f"{found} starts TensorFlow and is imported inside a function"
        elif first not in sys.stdlib_module_names:
            assert first in libraries, f"{room} may not import {first}"
            assert name in ONLY_IN.get(first, {name}), f"{first} belongs in {ONLY_IN[first]}"
            assert first not in started & INSIDE_FUNCTIONS, f"{first} is imported inside a function"


def test_every_room_is_in_the_table() -> None:
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert found == set(ROOMS)
