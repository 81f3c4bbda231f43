"""Runs the commands and the code of the guides about pretraining, long runs and many devices, with small sizes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpora import make_corpus, read_files
from page_code import extract_blocks, extract_commands, extract_commands_with_variables
from training_process import find_free_ports

from keras_bert_impl.cli.main import main
from keras_bert_impl.training import SavingSettings

PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PRETRAINING = (GUIDES / "pretraining.md").read_text(encoding="utf-8")
SCALING = (GUIDES / "scaling.md").read_text(encoding="utf-8")
ADAPTATION = (GUIDES / "adaptation.md").read_text(encoding="utf-8")


# Replacements that make the commands of the guide run in seconds.
SMALLER = {
    r"--size 8000": "--size 900",
    r"--minutes 60": "--steps 2 --batch-size 4 --max-length 32",
    r"--preset base": "--preset tiny",
    r"--recipe adamw-1": "--recipe adamw-1 --steps 1 --batch-size 4 --max-length 32",
    r"--recipe adamw-2": "--recipe adamw-2 --steps 1 --batch-size 2 --max-length 96",
    r"epochs=10": "epochs=1",
    r"steps_per_epoch=100": "steps_per_epoch=1",
    r"batch_size=32": "batch_size=4",
}


def make_smaller(text: str) -> str:
    """Replaces the sizes of a guide by small ones."""
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return text


@pytest.mark.filterwarnings("default")  # Beam gives warnings.
@pytest.mark.slow
def test_pretraining(tmp_path: Path, film_texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(large in PRETRAINING for large in SMALLER)
    texts = ["\n".join(film_texts[begin : begin + 12]) for begin in range(0, 1200, 12)]
    (tmp_path / "novels").mkdir()
    (tmp_path / "novels" / "one.txt").write_text("\n\n".join(texts), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    shown = extract_commands(make_smaller(PRETRAINING))
    assert len(shown) == 8
    for command in shown:
        assert main(command) == 0, command
    for name in re.findall(r"^      ([\w.-]+)", PRETRAINING, flags=re.MULTILINE):
        assert (tmp_path / "shards" / name).is_file(), name
    assert read_files(Path("shards")) == read_files(Path("shards-by-beam"))
    (block,) = extract_blocks(make_smaller(PRETRAINING))
    exec(compile(block, "pretraining.md", "exec"), {})
    assert Path("runs/by-hand/model.safetensors").is_file()


@pytest.mark.slow
def test_adaptation(tmp_path: Path, film_texts: list[str], snippets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reviews.txt").write_text("\n".join(film_texts[:300]), encoding="utf-8")
    (tmp_path / "held-out.txt").write_text("\n".join(film_texts[300:310]), encoding="utf-8")
    for name in ("train", "valid"):
        shutil.copy(snippets / f"{name}.tsv", tmp_path)
    monkeypatch.chdir(tmp_path)
    page = ADAPTATION.replace("--steps 2000", "--steps 2 --batch-size 4 --max-length 32 --held-out 0.2")
    shown = extract_commands(page.replace("--output runs/sentiment", "--output runs/sentiment --epochs 1"))
    verbs = "prepare pretrain evaluate evaluate finetune evaluate evaluate grow-vocab prepare pretrain shrink pretrain"
    assert [command[0] for command in shown] == verbs.split()
    for command in shown:
        assert main(command) == 0, command
    (block,) = extract_blocks(page)
    exec(compile(block, "adaptation.md", "exec"), {})
    assert main(["predict", "with-more-words", "A sitcom from New York"]) == 0


def test_the_guide_lists_the_defaults_of_adaptation() -> None:
    from keras_bert_impl.training.published import choose_defaults

    rows = re.findall(r"^\| `--([a-z-]+)` \| ([^|]+) \| ([^|]+) \|", ADAPTATION, flags=re.MULTILINE)
    assert len(rows) == 4
    words = {"yes": True, "no": False, "the checkpoint's": None}
    for name, *values in rows:
        for value, init in zip(values, ("bert", None), strict=True):
            recipe = choose_defaults("mlm", init)
            default = {**vars(recipe.settings), **vars(recipe.objective)}[name.replace("-", "_")]
            assert (words[value] if value in words else float(value)) == default, name


def test_the_guide_lists_the_recipes_of_the_package() -> None:
    from keras_bert_impl.training import RECIPES

    rows = re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \| (\d+) \| ([\d,]+) \| (\S+) \|", PRETRAINING, flags=re.MULTILINE)
    listed = {name: (int(a.replace(",", "")), int(b), int(c.replace(",", "")), float(d)) for name, a, b, c, d in rows}
    assert listed == {
        name: (r.settings.batch_size, r.objective.max_length, r.steps, r.settings.learning_rate)
        for name, r in RECIPES.items()
    }


@pytest.mark.slow
def test_long_runs(tmp_path: Path, snippets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and scripts for one device; some of them continue when they are run again."""
    (tmp_path / "shards").mkdir()
    make_corpus(tmp_path / "shards", documents=60, sentences=(4, 20), tokens=(3, 11))
    for name in ("train", "valid"):
        shutil.copy(snippets / "valid.tsv", tmp_path / f"{name}.tsv")
    monkeypatch.chdir(tmp_path)
    page = re.sub(r"100000|\b1000\b", "12", SCALING).replace("steps_per_epoch=100", "steps_per_epoch=5")
    page = page.replace("--preset base", "--preset tiny")
    resumed, followed, low_memory, _ = extract_commands(page)
    callbacks, script, accumulating, _ = extract_blocks(page)
    small = ["--batch-size", "8", "--max-length", "37", "--held-out", "0.2"]
    assert main([*low_memory, *small]) == 0
    exec(compile(accumulating, "scaling.md", "exec"), {})
    for _ in range(2):
        assert main([*resumed, *small]) == 0
        exec(compile(script.replace("(minutes=1,", "(minutes=1e-9,"), "scaling.md", "exec"), {})
        exec(compile(callbacks, "scaling.md", "exec"), {})
    assert Path("runs/novels/model.safetensors").is_file()
    assert len(list(Path("runs/states").iterdir())) == 3
    assert main([*followed, "--epochs", "1"]) == 0
    assert {path.name for path in Path("logs/followed").iterdir()} == {"train", "validation"}
    assert len(Path("epochs.csv").read_text(encoding="utf-8").splitlines()) == 1 + 5
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| (\S+) \|", SCALING, flags=re.MULTILINE))
    saving = SavingSettings()
    assert rows == {"save-minutes": f"{saving.minutes:g}", "save-steps": "0", "keep-states": str(saving.keep)}


@pytest.mark.slow
def test_many_devices(tmp_path: Path, snippets: Path) -> None:
    """The commands and the script for several devices and processes, each in its own processes."""
    (tmp_path / "shards").mkdir()
    make_corpus(tmp_path / "shards", documents=60, sentences=(4, 20), tokens=(3, 11))
    for name in ("train", "valid"):
        shutil.copy(snippets / "valid.tsv", tmp_path / f"{name}.tsv")
    page = re.sub(r"100000|\b1000\b", "12", SCALING).replace("/shared/", "")

    def run(*jobs: tuple[dict[str, str], list[str]]) -> None:
        started = [
            subprocess.Popen(
                [sys.executable, *arguments], cwd=tmp_path, env={**os.environ, **environment}, text=True, **PIPES
            )
            for environment, arguments in jobs
        ]
        for process in started:
            output, _ = process.communicate(timeout=500)
            assert process.returncode == 0, output

    _, _, _, mirrored = extract_commands(page)
    parallel, workers, processes = extract_commands_with_variables(page)
    _, _, _, script = extract_blocks(page)
    verb = ["-c", "import sys; from keras_bert_impl.cli.main import main; sys.exit(main())"]
    pretraining = ["--batch-size", "8", "--max-length", "37", "--held-out", "0.2"]
    run(({}, [*verb, *mirrored, "--epochs", "1"]))
    run((parallel[0], [*verb, *parallel[1], "--epochs", "1"]))
    run(({}, ["-c", script]))
    first, second = find_free_ports(2)
    one = workers[0]["TF_CONFIG"].replace("10.0.0.1:2222", f"127.0.0.1:{first}")
    one = one.replace("10.0.0.2:2222", f"127.0.0.1:{second}")
    other = one.replace('"index": 0', '"index": 1')
    assert one != other
    run(*(({"TF_CONFIG": config}, [*verb, *workers[1], *pretraining]) for config in (one, other)))
    assert (tmp_path / "runs" / "novels" / "model.safetensors").is_file()
    shutil.rmtree(tmp_path / "runs" / "novels")
    environment = {**processes[0], "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{find_free_ports(1)[0]}"}
    both = [{**environment, "KERAS_DISTRIBUTION_PROCESS_ID": number} for number in "01"]
    run(*((one, [*verb, *processes[1], *pretraining]) for one in both))
    assert (tmp_path / "runs" / "novels" / "model.safetensors").is_file()
