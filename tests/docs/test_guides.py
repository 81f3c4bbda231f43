"""The start page's and the fine-tuning guide's code, run with a small model on a few examples."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from keras_bert_impl.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.M)


def test_fine_tuning(
    tmp_path: Path,
    small_bert: Path,
    snippets: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (DOCS / "guides" / "fine-tuning.md").read_text(encoding="utf-8")
    shutil.copytree(small_bert, tmp_path / "all-MiniLM-L6-v2")
    for name in ("train", "valid"):
        shutil.copy(snippets / f"{name}.tsv", tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    keras-bert (.*)$", page, flags=re.M)
    assert [command.split()[0] for command in commands] == ["finetune", "evaluate", "predict"]
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    for name in re.findall(r"^      ([\w.]+)(?:, ([\w.]+))?", page, flags=re.M):
        assert all((tmp_path / "runs" / "sentiment" / part).is_file() for part in name if part), name
    capsys.readouterr()
    first, second = blocks("guides/fine-tuning.md")
    exec(compile(first, "fine-tuning.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.splitlines()[-1]) <= 1
    exec(compile(second, "fine-tuning.md", "exec"), {})
    assert main(["predict", "runs/with-fit", "A great film."]) == 0


def test_the_guide_tells_the_defaults() -> None:
    import dataclasses

    from keras_bert_impl.training import FineTuning

    page = (DOCS / "guides" / "fine-tuning.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| (\S+) \|", page, flags=re.M))
    defaults = dataclasses.asdict(FineTuning())
    assert len(rows) == 6
    for name, told in rows.items():
        value = defaults[name.replace("-", "_")]
        assert type(value)(told) == value


def test_start(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("index.md")
    exec(compile(block, "index.md", "exec"), {})
    said = capsys.readouterr().out.strip()
    assert f"# {said}:" in block
