"""Applies the walkthroughs of ``CONTRIBUTING.md``, as written, to a copy of the package, and runs their commands."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WALKTHROUGHS = ("Add a task", "Add a head", "Add an export format", "Add a command")
# The tests that compare the tables of the package with each other, with the documents and with transformers.
TABLES = (
    "tests/test_imports.py",
    "tests/test_registration.py::test_all_decorated_classes_are_listed",
    "tests/checkpoints/test_names.py",
    "tests/test_readme.py::test_all_commands_are_listed",
    "tests/cli/test_main.py",
    "tests/models/test_heads.py::test_the_table_is_of_all_public_model_classes",
    "tests/tasks/test_completeness.py::test_the_tables_of_this_file_have_all_tasks",
    "tests/tasks/test_table.py::test_tasks_name_models_that_exist",
    "tests/tasks/test_table.py::test_no_task_takes_the_models_of_another",
    "tests/docs/test_guides.py::test_the_fine_tuning_guide_lists_the_tasks",
    "tests/docs/test_guides.py::test_pages_list_all_tasks",
)
BLOCK = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<code>.*?)^ *```$', re.DOTALL | re.MULTILINE
)
RUN = "import json, sys\nfrom keras_bert_impl.cli.main import main\nfor arguments in json.loads(sys.argv[1]):\n"
RUN += "    print('$', arguments[0], flush=True)\n    assert main(arguments) == 0, arguments\n"


def section(heading: str) -> str:
    """The text of one walkthrough."""
    return CONTRIBUTING.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def change(root: Path, language: str, file: str, code: str) -> None:
    """Writes a new file, or applies the lines of a diff to a file, where its other lines occur exactly once."""
    path = root / file
    if language == "python":
        assert not path.exists(), f"{file} exists already"
        path.write_text(code, encoding="utf-8")
        return
    lines = [line or " " for line in code.splitlines()]
    before, after = ("".join(line[1:] + "\n" for line in lines if line[0] != other) for other in "+-")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{file} has these lines {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository to which all walkthroughs were applied."""
    root = tmp_path_factory.mktemp("contributor")
    for name in ("benchmarks", "docs", "examples", "keras_bert_impl", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "saved_models").mkdir()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("saved_models/*.md"), ROOT / "mkdocs.yml", ROOT / "pyproject.toml"):
        shutil.copy(path, root / path.relative_to(ROOT))
    for heading in WALKTHROUGHS:
        for match in BLOCK.finditer(section(heading)):
            if match["file"]:
                change(root, match["language"], match["file"], textwrap.dedent(match["code"]))
    return root


def run(changed: Path, directory: Path, *command: str) -> str:
    """The output of Python with the changed package."""
    environment = {**os.environ, "PYTHONPATH": str(changed)}
    result = subprocess.run(
        [sys.executable, *command], cwd=directory, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def run_commands(changed: Path, directory: Path, heading: str) -> dict[str, str]:
    """Command: what it prints, for the commands of a walkthrough, which run in one process."""
    commands = [shlex.split(line) for line in re.findall(r"^ {8}keras-bert (.*)$", section(heading), re.MULTILINE)]
    assert commands
    _, *parts = re.split(r"^\$ (\S+)\n", run(changed, directory, "-c", RUN, json.dumps(commands)), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def run_tests(changed: Path, *names: str) -> None:
    """Runs tests of the changed package."""
    run(changed, changed, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *names)


@pytest.mark.slow
def test_the_walkthroughs_keep_the_rules(changed: Path) -> None:
    """Formatting, lint, and the tests of the tables in which an addition must be listed."""
    for command in (["format", "--check"], ["check"]):
        run(changed, changed, "-m", "ruff", *command, "--no-cache", "keras_bert_impl", "tests")
    run_tests(changed, *TABLES)


@pytest.mark.slow
def test_the_site_shows_the_additions(changed: Path) -> None:
    run_tests(changed, "tests/docs/test_site.py::test_the_reference_shows_every_public_name")


@pytest.mark.slow  # `tests/tasks/test_hooks.py` adds another one.
def test_add_a_task(changed: Path, tmp_path: Path) -> None:
    kinds = [("A funny film.", "funny"), ("A short film.", "short"), ("A short and funny film.", "funny|short")]
    lines = ["text\tlabel", *("\t".join(kinds[number % 3]) for number in range(48))]
    for name in ("train.tsv", "valid.tsv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = run_commands(changed, tmp_path, "Add a task")
    assert list(output) == ["finetune", "evaluate", "predict", "export", "attribute"]
    assert 0 <= json.loads(output["evaluate"])["f1"] <= 1
    prediction = json.loads(output["predict"])
    assert set(prediction["scores"]) == {"funny", "short"}
    assert (tmp_path / "saved_models" / "keywords" / "1" / "saved_model.pb").is_file()
    assert "funny" in (tmp_path / "why.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_add_an_export_format(changed: Path, tmp_path: Path) -> None:
    output = run_commands(changed, tmp_path, "Add an export format")
    assert (tmp_path / "exports" / "novels-keras" / "model.keras").is_file()
    assert "door" in output["predict"]


@pytest.mark.slow
def test_add_a_head(changed: Path, tmp_path: Path) -> None:
    (code,) = [match["code"] for match in BLOCK.finditer(section("Add a head")) if not match["file"]]
    equal = (
        "for name, array in model.state_dict().items():\n    assert (array == again.state_dict()[name]).all(), name\n"
    )
    report = run(changed, tmp_path, "-c", textwrap.dedent(code) + equal + "model.save('model.keras')\n")
    assert "newly initialized" not in report
    load = "import keras, keras_bert_impl; print(type(keras.saving.load_model('model.keras')).__name__)\n"
    doctest = "import doctest, keras_bert_impl.models.token_regression as m; assert doctest.testmod(m) == (0, 4)"
    assert run(changed, tmp_path, "-c", load + doctest) == "BertForTokenRegression\n"


def test_add_a_command(changed: Path, tmp_path: Path) -> None:
    assert run_commands(changed, tmp_path, "Add a command") == {"tokenize": "she opened the door .\n"}
    assert "tokenize" in run(changed, tmp_path, "-m", "keras_bert_impl.cli.main", "--help")
