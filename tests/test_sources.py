"""Finds the files of a source. The hub is a server in this process; each of its clients is a separate process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import Hub, make_commit_hash, serve

from keras_bert_impl import sources
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source, find_public_name, open_source


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("config.json", "model.safetensors", "bert_model.ckpt.index", "notes.md"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_directory(directory: Path) -> None:
    source = open_source(directory)
    assert source == Source(str(directory), directory=directory)
    assert source.find_file("config.json") == directory / "config.json"
    assert source.find_file("vocab.txt") is None
    assert source.list_files() == ["bert_model.ckpt.index", "config.json", "model.safetensors", "notes.md"]


def test_the_folder_of_old_directories(directory: Path) -> None:
    """Files in it precede others, if it has the configuration of the BERT."""
    folder = directory / "0_Transformer"
    folder.mkdir()
    (folder / "vocab.txt").write_text("vocab.txt")
    assert open_source(directory).find_file("vocab.txt") is None
    (folder / "config.json").write_text("config.json")
    source = open_source(directory)
    assert source.find_file("vocab.txt") == folder / "vocab.txt"
    assert source.get_config() == folder / "config.json"
    assert source.find_file("notes.md") == directory / "notes.md"


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("model.safetensors", "model.safetensors"),
        ("bert_model.ckpt", "bert_model.ckpt.index"),
        ("bert_model.ckpt.index", "bert_model.ckpt.index"),
    ],
)
def test_weights_file(directory: Path, name: str, weights: str) -> None:
    source = open_source(str(directory / name))
    assert (source.directory, source.weights) == (directory, directory / weights)
    assert source.find_file("config.json") == directory / "config.json"


def test_a_relative_path_and_the_home_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    monkeypatch.setenv("HOME", str(directory.parent))
    assert open_source("model.safetensors").find_file("config.json") == Path("config.json")
    assert open_source(f"~/{directory.name}").directory == directory


def test_bundled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.setattr(sources, "BUNDLED", tmp_path)
    assert open_source("demo").directory == tmp_path / "demo"
    assert open_source("other").directory is None


@pytest.mark.parametrize("name", ["bert-base-uncased", "google/bert_uncased_L-2_H-128_A-2", "org/model-v1.5", "a"])
def test_hub_names(name: str) -> None:
    assert open_source(name, "v2") == Source(name, revision="v2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty"),
        ("./missing", "no such file or directory"),
        ("/missing", "no such file or directory"),
        ("~missing/model", "no such file or directory"),
        ("some/where/else", "no such file or directory"),
        ("model.safetensors", "no such file or directory"),
        ("bert/bert_model.ckpt", "no such file or directory"),
        ("bert base", "valid name"),
        ("org/../x", "no such file or directory"),
        ("a--b", "valid name"),
        ("nul\0byte", "valid name"),
        ("é", "valid name"),
        ("x" * 5000, "valid name"),
    ],
)
def test_invalid_names(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(name)


def test_a_file_without_weights(directory: Path) -> None:
    with pytest.raises(InputError, match=r"notes\.md is not a weights file"):
        open_source(directory / "notes.md")


def test_an_open_source_is_returned_unchanged(directory: Path) -> None:
    opened = open_source(directory)
    assert open_source(opened) is opened


def test_a_revision_of_a_directory(directory: Path) -> None:
    with pytest.raises(InputError, match="has no revision 'v2'"):
        open_source(directory, "v2")


def test_a_subfolder_of_a_directory(directory: Path) -> None:
    folder = directory / "runs" / "best"
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("vocab.txt")
    source = open_source(directory, subfolder="runs/best/")
    assert source.find_file("vocab.txt") == folder / "vocab.txt"
    assert source.find_file("config.json") is None
    for other in ("runs/worst", "../runs", "notes.md"):
        with pytest.raises(InputError, match=r"has no folder|a folder inside of"):
            open_source(directory, subfolder=other)


def test_options_for_an_open_source(directory: Path) -> None:
    source = open_source("org/model", "v2", subfolder="a", token="secret", cache_dir="/cache")
    assert open_source(source) is source
    assert (str(source), Path(source)) == ("org/model", Path("org/model"))
    assert "secret" not in repr(source)
    for options in ({"revision": "v3"}, {"subfolder": "b"}, {"token": "other"}, {"cache_dir": "/other"}):
        with pytest.raises(InputError, match=r"org/model is opened already\. Give the options"):
            open_source(source, **options)


# Opens a source and prints, for each file, its content, None if it is absent, or the error.
CLIENT = """
import json, sys
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source, find_public_name
name, revision, *files = sys.argv[1:]
source = open_source(name, revision or None)
answers = []
for file in files:
    try:
        path = source.find_file(file)
        answers.append(path and path.read_text())
    except InputError as error:
        answers.append(f"{type(error).__name__}: {error}")
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("files")
    for revision in ("main", "v2"):
        (root / revision).mkdir()
        (root / revision / "config.json").write_text(f"config of {revision}")
        (root / revision / "vocab.txt").write_text(f"vocabulary of {revision}")
    return {"main": root / "main", "v2": root / "v2"}


def run_client(endpoint: str, home: Path, *arguments: str, **environment: str) -> list[str | None]:
    """Runs `CLIENT` with a source, a revision and names of files as arguments; returns what it prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    env = inherited | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), **environment}
    process = subprocess.run([sys.executable, "-c", CLIENT, *arguments], env=env, capture_output=True, check=True)
    return json.loads(process.stdout)


def test_hub_downloads_caches_and_works_offline(files: dict[str, Path], tmp_path: Path) -> None:
    old, new = "bert-base-uncased", "google-bert/bert-base-uncased"
    with serve(Hub({new: files}, moved={old: new})) as hub:
        answers = run_client(hub.endpoint, tmp_path, old, "", "config.json", "model.safetensors")
        assert answers == ["config of main", None]
        assert run_client(hub.endpoint, tmp_path, old, "v2", "config.json") == ["config of v2"]
        assert run_client(hub.endpoint, tmp_path, old, make_commit_hash(new, "v2"), "config.json") == ["config of v2"]
        assert run_client(hub.endpoint, tmp_path, old, "", "config.json") == ["config of main"]
        downloads = [request for request in hub.requests if request.startswith("GET") and "config.json" in request]
        assert len(downloads) == 2, "one for each revision"
        count = len(hub.requests)
        answers = run_client(hub.endpoint, tmp_path, old, "", "config.json", "vocab.txt", HF_HUB_OFFLINE="1")
        # The vocabulary is not in the cache, but another file of the revision is, so it counts as absent.
        assert answers == ["config of main", None]
        assert run_client(hub.endpoint, tmp_path, old, "v2", "config.json", HF_HUB_OFFLINE="1") == ["config of v2"]
        assert len(hub.requests) == count


def test_errors_of_the_hub_are_explained(files: dict[str, Path], tmp_path: Path) -> None:
    with serve(Hub({"org/model": files, "org/gated": files}, gated=("org/gated",))) as hub:
        (unknown,) = run_client(hub.endpoint, tmp_path, "org/unknown", "", "config.json")
        (revision,) = run_client(hub.endpoint, tmp_path, "org/model", "v9", "config.json")
        (gated,) = run_client(hub.endpoint, tmp_path, "org/gated", "", "config.json")
        (offline,) = run_client(hub.endpoint, tmp_path, "org/model", "", "config.json", HF_HUB_OFFLINE="1")
    assert unknown == (
        f"InputError: org/unknown is neither a directory on this machine nor a model on {hub.endpoint}. Check the "
        "spelling; if it is private, log in with `hf auth login`, or give a token."
    )
    assert revision is not None
    assert "org/model has no revision 'v9'" in revision
    assert gated is not None
    assert f"Accept its terms at {hub.endpoint}/org/gated" in gated
    assert offline is not None
    assert "HF_HUB_OFFLINE is set" in offline


def test_public_names(tmp_path: Path) -> None:
    assert find_public_name("bert-tiny-novels") == "bert-tiny-novels"
    assert find_public_name("org/model") == "org/model"
    directory = tmp_path / "my-bert"
    directory.mkdir()
    (directory / "model.safetensors").touch()
    for origin, expected in (
        ("someone/my-bert", "someone/my-bert"),
        ("someone/another-bert", "my-bert"),
        ("/home/someone/my-bert", "my-bert"),
        (None, "my-bert"),
    ):
        (directory / "config.json").write_text(json.dumps({"_name_or_path": origin}), encoding="utf-8")
        for source in (directory, str(directory), f"{directory}/", directory / "model.safetensors"):
            assert find_public_name(source) == expected
    assert find_public_name(tmp_path / "all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"


def test_the_cache_serves_an_unreachable_hub(files: dict[str, Path], tmp_path: Path) -> None:
    with serve(Hub({"org/model": files})) as hub:
        run_client(hub.endpoint, tmp_path, "org/model", "", "config.json")
    assert run_client(hub.endpoint, tmp_path, "org/model", "", "config.json") == ["config of main"]


@pytest.mark.slow  # huggingface_hub retries for 20 seconds.
def test_an_unreachable_hub_without_cache(tmp_path: Path) -> None:
    with serve(Hub({})) as hub:
        pass
    (answer,) = run_client(hub.endpoint, tmp_path, "org/model", "", "config.json")
    assert answer is not None
    assert f"its config.json is not in the cache {tmp_path}/hub, and {hub.endpoint} did not respond" in answer


@pytest.mark.slow  # huggingface_hub retries for 5 seconds.
def test_a_broken_download(files: dict[str, Path], tmp_path: Path) -> None:
    with serve(Hub({"org/model": files}, broken=("org/model",))) as hub:
        (answer,) = run_client(hub.endpoint, tmp_path, "org/model", "", "config.json")
    assert answer is not None
    assert answer.startswith(f"InputError: config.json of org/model cannot be downloaded from {hub.endpoint}")
