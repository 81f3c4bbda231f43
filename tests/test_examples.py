"""The scripts in ``examples/``, run as their docstrings say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(command):
    """The standard output of a script."""
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=EXAMPLES.parent)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_sentence_similarity(minilm):
    """The sentences about money are closest; sentence-transformers publishes no number for them, the order is plain."""
    cosines = [float(line.split()[0]) for line in run(["examples/sentence_similarity.py"]).splitlines()]
    assert len(cosines) == 3
    assert max(cosines) == cosines[0]


def test_pretrain_with_fit():
    """The perplexity falls towards that of the words' frequencies."""
    lines = run(["examples/pretrain_with_fit.py", "--steps", "60"]).splitlines()
    first, _, third = (float(value) for value in lines[-1].split()[1:])
    assert 2000 > first > third
    assert third < 800


@pytest.mark.slow
def test_finetune_with_fit(minilm):
    """Near the accuracy that the script expects."""
    accuracy = re.search(r"accuracy ([0-9.]+)$", run(["examples/finetune_with_fit.py", "--rows", "2000"]).strip())
    assert float(accuracy[1]) > 0.75
