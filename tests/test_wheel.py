"""Builds a wheel, installs it, and uses the package from another directory."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import keras_bert_impl

REPOSITORY = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command without PYTHONPATH; asserts that it succeeds, and returns its standard output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    # Built from a copy of the tracked and new files: an old build directory in the repository may contain other files.
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "keras_bert_impl", cwd=REPOSITORY)
    for name in (*files.splitlines(), "pyproject.toml", "README.md", "LICENSE"):
        if (REPOSITORY / name).is_file():
            target = directory / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((REPOSITORY / name).read_bytes())
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        directory,
        directory / "source",
        cwd=directory,
    )
    return next(directory.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_contains_all_files(wheel: Path) -> None:
    assert wheel.name == f"keras_bert_impl-{keras_bert_impl.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    package = REPOSITORY / "keras_bert_impl"
    expected = {str(path.relative_to(REPOSITORY)) for path in package.rglob("*") if path.is_file()}
    assert {name for name in expected if "__pycache__" not in name} == {
        name for name in names if ".dist-info/" not in name
    }
    for name in ("py.typed", "assets/movie_snippets/train.tsv", "assets/movie_snippets/LICENSE"):
        assert f"keras_bert_impl/{name}" in names


@pytest.mark.slow
def test_the_wheel_works_from_another_directory(
    wheel: Path, small_bert: Path, sentiment_run: Path, tmp_path: Path
) -> None:
    # The package comes from the wheel, its dependencies from this environment.
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    install = ["install", "--quiet", "--no-deps", "--target", site, wheel]
    run(sys.executable, "-m", "pip", *install, cwd=tmp_path)
    # Paths in a .pth file come after its own directory: the wheel takes precedence over an installed repository.
    paths = [path for path in sys.path if path.endswith("-packages")]
    (site / "dependencies.pth").write_text("\n".join(paths) + "\n")
    location = run(python, "-c", "import keras_bert_impl; print(keras_bert_impl.__file__)", cwd=tmp_path)
    assert Path(location.strip()).is_relative_to(site)

    command = site / "bin" / "keras-bert"
    assert run(python, command, "--version", cwd=tmp_path) == f"keras-bert {keras_bert_impl.__version__}\n"
    assert run(python, command, "convert", small_bert, "new", cwd=tmp_path).endswith("written to new\n")
    assert (tmp_path / "new" / "model.safetensors").is_file()
    prediction = json.loads(run(python, command, "predict", sentiment_run, "A good film.", cwd=tmp_path))
    assert prediction["label"] in ("negative", "positive")
    filled = run(python, command, "fill-mask", "bert-tiny-novels", "The [MASK] crossed the river.", cwd=tmp_path)
    assert len(filled.splitlines()) == 5
    snippets = "from keras_bert_impl.recipes.quickstart import SNIPPETS; print(len(list(SNIPPETS.glob('*.tsv'))))"
    assert run(python, "-c", snippets, cwd=tmp_path) == "3\n"
