"""Runs the scripts in ``examples/`` as their docstrings say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(command):
    """Runs a script; returns its standard output."""
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=EXAMPLES.parent)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_sentence_similarity(minilm):
    """The two sentences about money are the most similar pair (no published numbers exist)."""
    cosines = [float(line.split()[0]) for line in run(["examples/sentence_similarity.py"]).splitlines()]
    assert len(cosines) == 3
    assert max(cosines) == cosines[0]


@pytest.mark.slow
def test_search_numpy(minilm, tmp_path):
    """A text finds itself first; the second search reads the vectors that the first wrote."""
    passages = tmp_path / "passages.txt"
    passages.write_text("The river burst its banks.\nHe deposited the cash.\nA dull film.\n", encoding="utf-8")
    for _ in range(2):
        lines = run(["examples/search_numpy.py", str(passages), "He deposited the cash.", "--top-k", "2"]).splitlines()
        assert lines[0] == "1.000  He deposited the cash."
        assert len(lines) == 2
    assert len(run(["examples/search_numpy.py"]).splitlines()) == 5


@pytest.mark.slow
def test_search_faiss(minilm):
    """Exact search and search by bits agree on most passages."""
    pytest.importorskip("faiss", reason="needs faiss-cpu")
    floats, bits = run(["examples/search_faiss.py"]).split("bits:\n")
    found = [{line.split()[0] for line in part.splitlines() if line.startswith("  ")} for part in (floats, bits)]
    assert [len(rows) for rows in found] == [5, 5]
    assert len(found[0] & found[1]) >= 3


@pytest.mark.slow
def test_pretrain_with_fit():
    """The perplexity falls toward that of the word frequencies."""
    lines = run(["examples/pretrain_with_fit.py", "--steps", "60"]).splitlines()
    first, _, third = (float(value) for value in lines[-1].split()[1:])
    assert 2000 > first > third
    assert third < 800


@pytest.mark.slow
def test_finetune_with_fit(minilm):
    """The accuracy is near the one in the script's docstring."""
    accuracy = re.search(r"accuracy ([0-9.]+)$", run(["examples/finetune_with_fit.py", "--rows", "2000"]).strip())
    assert float(accuracy[1]) > 0.75
