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
