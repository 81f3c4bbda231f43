"""The commands of docs/serving.md, run in their order; the requests that it shows, answered."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from keras_bert_impl.cli.main import main

ROOT = Path(__file__).parents[1]
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sentiment_run: Path, snippets: Path) -> Path:
    """A directory with the run and the data that the page speaks of, in which its commands were run."""
    directory = tmp_path_factory.mktemp("reader")
    shutil.copytree(sentiment_run, directory / "runs" / "sentiment")
    shutil.copy(snippets / "valid.tsv", directory)
    commands = re.findall(r"^    keras-bert (.*)$", SERVING, flags=re.MULTILINE)
    assert [command.split()[0] for command in commands].count("export") == 6
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        for command in commands:
            assert main(shlex.split(command)) == 0, command
    return directory


def test_the_commands_make_what_the_page_lists(place: Path) -> None:
    export = place / "saved_models" / "sentiment" / "1"
    listed = re.search(r"^    saved_models/sentiment/1/\n(.*?)\n\n", SERVING, flags=re.DOTALL | re.MULTILINE)[1]
    names = re.findall(
        r"([\w.]+(?:\.\w+|/)),? ?", " ".join(line.strip().split("  ")[0] for line in listed.splitlines())
    )
    assert {"saved_model.pb", "variables/", "README.md", "assets.extra/", "vocab.txt"} <= set(names)
    for name in names:
        assert (export / name).exists() or (export / "assets.extra" / name).exists(), name
    files = {"onnx": "model.onnx", "openvino": "model.xml", "litert": "model.tflite"}
    for name, file in files.items():
        assert (place / "exports" / f"sentiment-{name}" / file).is_file()
        assert f"`{file}`" in SERVING


def test_the_server_is_started_as_an_export_says(place: Path) -> None:
    def command(page: str) -> str:
        return re.search(r"docker run .*?tensorflow/serving", page.replace("\\\n", " "))[0]

    page = (place / "saved_models" / "sentiment" / "1" / "README.md").read_text(encoding="utf-8")
    assert shlex.split(command(SERVING)) == shlex.split(command(page))


def test_the_request_is_answered(place: Path) -> None:
    pytest.importorskip("tensorflow_serving.apis.predict_pb2", reason="needs the package tensorflow-serving-api")
    from tf_server import Service

    (line,) = re.findall(r"^    curl .*$", SERVING, flags=re.MULTILINE)
    _, _, method, address, _, body = shlex.split(line)
    assert (method, address) == ("POST", "http://localhost:8501/v1/models/sentiment:predict")
    answer = Service(place / "saved_models" / "sentiment" / "1").rest(body)
    assert answer["predictions"][0]["label"] in {"0", "1"}
