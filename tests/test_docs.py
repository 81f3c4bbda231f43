"""The commands of the guides, run in their order; the requests that they show, answered."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_corpus import contents, made_corpus
from page_code import blocks, commands, with_variables
from trained import free_ports

from keras_bert_impl.cli.main import main
from keras_bert_impl.training import Saving

PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
ROOT = Path(__file__).parents[1]
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
INSIDE = (ROOT / "docs" / "inside.md").read_text(encoding="utf-8")
PRETRAINING = (ROOT / "docs" / "pretraining.md").read_text(encoding="utf-8")
SCALING = (ROOT / "docs" / "guides" / "scaling.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sentiment_run: Path, snippets: Path) -> Path:
    """A directory with the run and the data that the page speaks of, in which its commands were run."""
    directory = tmp_path_factory.mktemp("reader")
    shutil.copytree(sentiment_run, directory / "runs" / "sentiment")
    # What the small model is sure of: of few texts no one may be answered otherwise in another precision.
    shutil.copy(snippets / "train.tsv", directory / "valid.tsv")
    shown = commands(SERVING)
    assert [command[0] for command in shown].count("export") == 6
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        for command in shown:
            assert main(command) == 0, command
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

    ((_, method, address, _, body),) = commands(SERVING, "curl")
    assert (method, address) == ("POST", "http://localhost:8501/v1/models/sentiment:predict")
    answer = Service(place / "saved_models" / "sentiment" / "1").rest(body)
    assert answer["predictions"][0]["label"] in {"0", "1"}


# What makes the commands of docs/pretraining.md those of seconds: other sizes, the same way.
SHORTER = {
    r"--size 8000": "--size 900",
    r"--minutes 60": "--steps 2 --batch-size 4 --max-length 32",
    r"--preset base": "--preset tiny",
    r"--recipe adamw-1": "--recipe adamw-1 --steps 1 --batch-size 4 --max-length 32",
    r"--recipe adamw-2": "--recipe adamw-2 --steps 1 --batch-size 2 --max-length 96",
    r"epochs=10": "epochs=1",
    r"steps_per_epoch=100": "steps_per_epoch=1",
    r"batch_size=32": "batch_size=4",
}


def shorter(text: str) -> str:
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


@pytest.mark.filterwarnings("default")  # Beam's own.
def test_pretraining(tmp_path: Path, film_texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(long in PRETRAINING for long in SHORTER)
    texts = ["\n".join(film_texts[begin : begin + 12]) for begin in range(0, 1200, 12)]
    (tmp_path / "novels").mkdir()
    (tmp_path / "novels" / "one.txt").write_text("\n\n".join(texts), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    shown = commands(shorter(PRETRAINING))
    assert len(shown) == 8
    for command in shown:
        assert main(command) == 0, command
    for name in re.findall(r"^      ([\w.-]+)", PRETRAINING, flags=re.MULTILINE):
        assert (tmp_path / "shards" / name).is_file(), name
    assert contents(Path("shards")) == contents(Path("shards-by-beam"))
    (block,) = blocks(shorter(PRETRAINING))
    exec(compile(block, "docs/pretraining.md", "exec"), {})
    assert Path("runs/by-hand/model.safetensors").is_file()


def test_the_recipes_of_the_page_are_those_of_the_package() -> None:
    from keras_bert_impl.training import RECIPES

    rows = re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \| (\d+) \| ([\d,]+) \| (\S+) \|", PRETRAINING, flags=re.MULTILINE)
    found = {name: (int(a.replace(",", "")), int(b), int(c.replace(",", "")), float(d)) for name, a, b, c, d in rows}
    assert found == {
        name: (r.settings.batch_size, r.objective.max_length, r.steps, r.settings.learning_rate)
        for name, r in RECIPES.items()
    }


def test_long_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and scripts run for one device; the first of each goes on when run again."""
    (tmp_path / "shards").mkdir()
    made_corpus(tmp_path / "shards", documents=60, sentences=(4, 20), tokens=(3, 11))
    monkeypatch.chdir(tmp_path)
    page = re.sub(r"100000|\b1000\b", "12", SCALING).replace("steps_per_epoch=100", "steps_per_epoch=5")
    page = page.replace("--preset base", "--preset tiny")
    resumed, spared, _ = commands(page)
    script, accumulating, _ = blocks(page)
    small = ["--batch-size", "8", "--max-length", "37", "--held-out", "0.2"]
    assert main([*spared, *small]) == 0
    exec(compile(accumulating, "scaling.md", "exec"), {})
    for _ in range(2):
        assert main([*resumed, *small]) == 0
        exec(compile(script.replace("Saving(minutes=1,", "Saving(minutes=1e-9,"), "scaling.md", "exec"), {})
    assert Path("runs/novels/model.safetensors").is_file()
    assert len(list(Path("runs/states").iterdir())) == 3
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| (\S+) \|", SCALING, flags=re.MULTILINE))
    saving = Saving()
    assert rows == {"save-minutes": f"{saving.minutes:g}", "save-steps": "0", "keep-states": str(saving.keep)}


@pytest.mark.slow
def test_many_devices(tmp_path: Path, snippets: Path) -> None:
    """The commands and the script for several devices and processes run, each in processes of its own."""
    (tmp_path / "shards").mkdir()
    made_corpus(tmp_path / "shards", documents=60, sentences=(4, 20), tokens=(3, 11))
    for name in ("train", "valid"):
        shutil.copy(snippets / "valid.tsv", tmp_path / f"{name}.tsv")
    page = re.sub(r"100000|\b1000\b", "12", SCALING).replace("/shared/", "")

    def run(*given: tuple[dict[str, str], list[str]]) -> None:
        started = [
            subprocess.Popen(
                [sys.executable, *arguments], cwd=tmp_path, env={**os.environ, **environment}, text=True, **PIPES
            )
            for environment, arguments in given
        ]
        for process in started:
            output, _ = process.communicate(timeout=500)
            assert process.returncode == 0, output

    _, _, mirrored = commands(page)
    parallel, workers, processes = with_variables(page)
    _, _, script = blocks(page)
    verb = ["-c", "import sys; from keras_bert_impl.cli.main import main; sys.exit(main())"]
    pretraining = ["--batch-size", "8", "--max-length", "37", "--held-out", "0.2"]
    run(({}, [*verb, *mirrored, "--epochs", "1"]))
    run((parallel[0], [*verb, *parallel[1], "--epochs", "1"]))
    run(({}, ["-c", script]))
    first, second = free_ports(2)
    one = workers[0]["TF_CONFIG"].replace("10.0.0.1:2222", f"127.0.0.1:{first}")
    one = one.replace("10.0.0.2:2222", f"127.0.0.1:{second}")
    other = one.replace('"index": 0', '"index": 1')
    assert one != other
    run(*(({"TF_CONFIG": config}, [*verb, *workers[1], *pretraining]) for config in (one, other)))
    assert (tmp_path / "runs" / "novels" / "model.safetensors").is_file()
    shutil.rmtree(tmp_path / "runs" / "novels")
    environment = {**processes[0], "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{free_ports(1)[0]}"}
    both = [{**environment, "KERAS_DISTRIBUTION_PROCESS_ID": number} for number in "01"]
    run(*((one, [*verb, *processes[1], *pretraining]) for one in both))
    assert (tmp_path / "runs" / "novels" / "model.safetensors").is_file()


def test_inside(sentiment_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(sentiment_run, tmp_path / "runs" / "sentiment")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("notebooks"))
    monkeypatch.chdir(tmp_path)
    shown = commands(INSIDE)
    assert len(shown) == 4
    for command in shown:
        assert main(command) == 0, command
    code = blocks(INSIDE)
    assert len(code) == 3
    exec(compile("\n".join(code), "docs/inside.md", "exec"), {})
    for name in ("points.svg", "layers.svg", "view.html", "why.html", "weights.png"):
        assert Path(name).stat().st_size, name
