"""What the README shows, run."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from hub_server import Hub, serve
from page_code import blocks, commands

from keras_bert_impl.cli.main import main, parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = """[PAD] [UNK] [CLS] [SEP] [MASK] i went to the bank we sat on river a great film waste of time .""".split()


@pytest.fixture
def uncased(tmp_path):
    """A small BERT that stands in for bert-base-uncased, saved by transformers."""
    directory = tmp_path / "uncased"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return directory


def test_python_blocks(uncased, tmp_path):
    """One after the other in one process, with a hub of our own on this machine."""
    code = "\n".join(blocks(README))
    assert "from_pretrained" in code
    with serve(Hub(models={"bert-base-uncased": {"main": uncased}})) as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hub")}
        environment.pop("HF_HUB_OFFLINE", None)
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
    assert result.returncode == 0, result.stderr
    assert "(2, 9, 32) (2, 32)" in result.stdout
    reopened = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "my-classifier")
    assert reopened.config.id2label == {0: "bad", 1: "good"}


def test_the_model_that_ships_answers_offline(capsys, monkeypatch):
    """With no way out of this machine, as the README shows it."""

    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    shown = [command for command in commands(README) if "bert-tiny-novels" in command]
    assert [command[0] for command in shown] == ["fill-mask", "next-sentence"]
    answers = []
    for command in shown:
        assert main(command) == 0
        answers.append(capsys.readouterr().out)
    assert "door" in answers[0].splitlines()[0]
    assert float(answers[1].split("%")[0]) > 80


def test_commands_exist():
    """Every verb that is shown is one, and none is left out."""
    (verbs,) = [action for action in parser()._actions if action.dest == "help" or action.choices][1:]
    assert set(re.findall(r"keras-bert ([a-z][a-z-]*)", README)) == set(verbs.choices)


def test_tree_is_true():
    """The annotated tree names what is there."""
    tree = README.split("## What is where")[1].split("\n\n")[1]
    top = re.findall(r"^    (\S+)", tree, flags=re.MULTILINE)
    inner = re.findall(r"^      (\S+)", tree, flags=re.MULTILINE)
    assert [name for name in top if not (ROOT / name).exists()] == []
    assert [name for name in inner if not (ROOT / "keras_bert_impl" / name).exists()] == []
    rooms = {f"{path.name}/" for path in (ROOT / "keras_bert_impl").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert rooms <= set(inner)


def test_links_lead_somewhere():
    """Relative links name files."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
