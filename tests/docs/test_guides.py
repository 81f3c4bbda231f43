"""The start page's and the fine-tuning guide's code, run with a small model on a few examples."""

import re
import shutil
from pathlib import Path

import pytest
from page_code import blocks, commands

from keras_bert_impl.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"
START = (DOCS / "index.md").read_text(encoding="utf-8")
FINE_TUNING = (DOCS / "guides" / "fine-tuning.md").read_text(encoding="utf-8")


def test_fine_tuning(
    tmp_path: Path,
    small_bert: Path,
    snippets: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(small_bert, tmp_path / "all-MiniLM-L6-v2")
    for name in ("train", "valid"):
        shutil.copy(snippets / f"{name}.tsv", tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = commands(FINE_TUNING)
    assert [command[0] for command in shown] == ["finetune", "evaluate", "predict"]
    for command in shown:
        assert main(command) == 0, command
    for name in re.findall(r"^      ([\w.]+)(?:, ([\w.]+))?", FINE_TUNING, flags=re.M):
        assert all((tmp_path / "runs" / "sentiment" / part).is_file() for part in name if part), name
    capsys.readouterr()
    first, second = blocks(FINE_TUNING)
    exec(compile(first, "fine-tuning.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.splitlines()[-1]) <= 1
    exec(compile(second, "fine-tuning.md", "exec"), {})
    assert main(["predict", "runs/with-fit", "A great film."]) == 0


def test_the_guide_tells_the_defaults() -> None:
    import dataclasses

    from keras_bert_impl.training import FineTuning

    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| (\S+) \|", FINE_TUNING, flags=re.M))
    defaults = dataclasses.asdict(FineTuning())
    assert len(rows) == 6
    for name, told in rows.items():
        value = defaults[name.replace("-", "_")]
        assert type(value)(told) == value


def test_start(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(START)
    exec(compile(block, "index.md", "exec"), {})
    said = capsys.readouterr().out.strip()
    assert f"# {said}:" in block
