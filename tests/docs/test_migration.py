"""Runs our code on the migration pages and compares it with the recorded results of the other library's code.

``recorded/make.py`` recorded them, each library in its own environment. KerasHub also runs here if it is installed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from migration_pairs import (
    MIGRATION,
    RECORDED,
    compute_fingerprint,
    copy_files,
    flatten,
    make_sentence_models,
    read_page,
    read_pairs,
    run,
)

PAGES = sorted(path.stem for path in MIGRATION.glob("*.md") if path.stem != "index")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the pages use."""
    copy_files(tmp_path)
    make_sentence_models(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(page: str, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    for name, expected in theirs.items():
        number, variable = name.split("_", 1)
        place = f"{page}.md, {read_pairs(page)[int(number)].title}: {variable}"
        assert ours[name].shape == expected.shape, place
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(ours[name], expected, rtol=1e-5, atol=1e-5, err_msg=place)
        else:
            np.testing.assert_array_equal(ours[name], expected, err_msg=place)


def test_all_pages_are_recorded() -> None:
    assert PAGES == [
        "d2l",
        "keras-hub",
        "pytorch-scripts",
        "pytorch-transformers",
        "run-mlm",
        "sentence-transformers",
        "transformers-4",
    ]
    assert {path.stem for path in RECORDED.glob("*.npz")} == set(PAGES)
    assert sum(path.stat().st_size for path in RECORDED.rglob("*") if path.is_file()) < 200_000


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page == "d2l" else pytest.mark.slow) for page in PAGES]
)
def test_our_code_gives_the_recorded_results(page: str, reader: Path) -> None:
    recorded = json.loads((RECORDED / f"{page}.json").read_text(encoding="utf-8"))
    assert recorded["code"] == compute_fingerprint(page), "the left code on the page was changed: record it again"
    with np.load(RECORDED / f"{page}.npz") as values:
        compare(page, flatten(run(page, "ours")), dict(values))


@pytest.mark.slow
def test_keras_hub_itself(reader: Path) -> None:
    pytest.importorskip("keras_hub", reason="needs the extra keras-hub")
    command = [sys.executable, RECORDED / "make.py", "keras-hub", reader]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with np.load(reader / "keras-hub.npz") as theirs:
        compare("keras-hub", flatten(run("keras-hub", "ours")), dict(theirs))


@pytest.mark.parametrize("page", PAGES)
def test_lines_are_short_enough_for_two_columns(page: str) -> None:
    code = "\n".join(pair.theirs + pair.ours for pair in read_pairs(page))
    assert [line for line in code.splitlines() if len(line) > 62] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_overview_names_the_recorded_versions(page: str) -> None:
    """The library's own version comes first."""
    (listed,) = re.findall(rf"\({page}\.md\).*\| ([^|]+) \|$", read_page("index"), flags=re.MULTILINE)
    recorded = json.loads((RECORDED / f"{page}.json").read_text(encoding="utf-8"))["versions"]
    versions = {name.lower().replace("_", "-"): version for name, version in recorded.items()}
    for name, version in re.findall(r"([\w-]+) ([\d.]+)", listed):
        assert versions[name.lower()].startswith(version)
