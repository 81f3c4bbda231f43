"""Runs the code and the commands in the README; checks its tables, its commands, its links and its length."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import summarize
import transformers_models
from hub_server import Hub, serve
from page_code import extract_blocks, extract_commands
from torch_process import run_in_torch_process

from keras_bert_impl.cli.main import main, make_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md"), *ROOT.glob("saved_models/*.md")]
)
WORDS = """[PAD] [UNK] [CLS] [SEP] [MASK] i went to the bank we sat on river a great film waste of time .""".split()


@pytest.fixture
def uncased(tmp_path):
    """A small BERT that transformers saved, in place of bert-base-uncased."""
    directory = tmp_path / "uncased"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    transformers_models.save("BertModel", directory, vocab_size=len(WORDS), type_vocab_size=2, **sizes)
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return directory


def test_python_blocks(uncased, tmp_path):
    """The blocks run in order in one process, with a hub server on this machine."""
    code = "\n".join(extract_blocks(README))
    assert "from_pretrained" in code
    with serve(Hub(models={"bert-base-uncased": {"main": uncased}})) as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hub")}
        environment.pop("HF_HUB_OFFLINE", None)
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:2] == ["(2, 9, 32)", "(2, 32)"]
    assert load_labels(tmp_path / "my-classifier") == {0: "bad", 1: "good"}


@run_in_torch_process
def load_labels(directory: Path) -> dict[int, str]:
    import torch_models

    return torch_models.load("BertForSequenceClassification", directory).config.id2label


def test_the_bundled_model_works_without_a_network(capsys, monkeypatch):
    """Runs the commands of the README and of docs/commands.md; every attempt to connect fails."""

    def refuse(*_):
        raise AssertionError("tried to connect")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    pages = README + (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    shown = [command for command in extract_commands(pages) if "bert-tiny-novels" in command]
    assert [command[0] for command in shown] == ["fill-mask", "fill-mask", "next-sentence"]
    answers = []
    for command in shown:
        assert main(command) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert "door" in answers[0].splitlines()[0]
    assert float(answers[2].split("%")[0]) > 80


def test_all_commands_are_listed():
    """docs/commands.md lists every verb, and the README lists only verbs that exist."""
    (verbs,) = [action for action in make_parser()._actions if action.dest == "help" or action.choices][1:]
    pattern = r"keras-bert ([a-z][a-z-]*)"
    listed = re.findall(pattern, (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"))
    assert set(listed) == set(verbs.choices)
    assert set(re.findall(pattern, README)) <= set(verbs.choices)
    assert len({command[0] for command in extract_commands(README.split("## Use it on the command line")[1])}) == 5


def list_anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for path, anchor in re.findall(r"\]\(((?![a-z]+:)[^)#\s]*)#?([^)\s]*)\)", text):
        target = page.parent / path if path else page
        assert target.exists(), f"{page} links to {path}, which does not exist"
        assert not anchor or anchor in list_anchors(target), (
            f"{page} links to #{anchor}, a heading that {target} does not have"
        )


def test_files_that_the_readme_names_exist():
    paths = re.findall(r"`((?:keras_bert_impl|models|checkpoints|layers|ops)/[\w/.]+)`", README)
    assert paths
    assert [path for path in paths if not any((ROOT / base / path).exists() for base in ("", "keras_bert_impl"))] == []


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 110


@pytest.mark.parametrize("name", summarize.PAGES)
def test_tables_of_measurements_come_from_the_reports(name):
    """If this fails: ``python benchmarks/summarize.py``."""
    page = (ROOT / name).read_text(encoding="utf-8")
    assert summarize.replace_tables(page, summarize.PAGES[name]()) == page


def test_a_ratio_above_one_means_that_this_package_is_faster():
    """Compares ratios with sentences in two reports that say which of the two is faster."""
    sentence, *_ = [row for row in summarize.COMPARISONS if row.job.startswith("one sentence")]
    report = summarize.find_report("serving").read_text(encoding="utf-8")
    (reported,) = re.findall(r"one sentence: SavedModel at least 0.56 × ONNX Runtime: ([\d.]+) ", report)
    assert summarize.compute_ratios(sentence)["ONNX Runtime"] == pytest.approx(float(reported), abs=0.01)
    inference, *_ = summarize.COMPARISONS
    report = summarize.find_report("inference").read_text(encoding="utf-8")
    (reported,) = re.findall(r"float32: keras_bert_impl at least 1.10 × KerasHub: ([\d.]+) ", report)
    assert summarize.compute_ratios(inference)["KerasHub"] == pytest.approx(float(reported), abs=0.01)
