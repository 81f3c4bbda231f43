"""The pipeline on Beam's local runner writes the same bytes as `prepare`."""

import gzip
import json
from pathlib import Path

import pytest
from corpora import read_files

from keras_bert_impl.data import prepare
from keras_bert_impl.data.beam import prepare_with_beam
from keras_bert_impl.errors import InputError

pytestmark = pytest.mark.filterwarnings("default")  # Beam's own.
SIZE = 1500
LOCAL = ["--runner=DirectRunner"]


@pytest.fixture(scope="module")
def text(film_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of several kinds and sizes, one with a line that is not UTF-8, some in a directory."""
    directory = tmp_path_factory.mktemp("corpus")
    lines = film_texts[:300]
    (directory / "deep").mkdir()
    (directory / "b.txt").write_bytes("\n\n".join(lines[:150]).encode() + b"\n\n\xff\n")
    (directory / "a.txt.gz").write_bytes(gzip.compress("\n\n".join(lines[150:200]).encode()))
    for number in range(5):
        part = lines[200 + 10 * number : 210 + 10 * number]
        (directory / "deep" / f"{number}.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in part))
    (directory / "deep.txt").write_text("\n\n".join(lines[250:]))
    (directory / "notes.md").write_text("Nothing.")
    return directory


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_shards(text: Path, small_bert: Path, tmp_path: Path, workers: int) -> None:
    with pytest.warns(UserWarning, match="1 line is not UTF-8 and was skipped"):
        prepare([text], small_bert, tmp_path / "local", shard_size=SIZE, workers=2)
    options = [*LOCAL, f"--direct_num_workers={workers}", "--direct_running_mode=multi_threading"]
    with pytest.warns(UserWarning, match="1 line is not UTF-8 and was skipped"):
        manifest = prepare_with_beam([str(text)], small_bert, str(tmp_path / "beam"), options=options, shard_size=SIZE)
    assert len(manifest["shards"]) > 10
    assert read_files(tmp_path / "beam") == read_files(tmp_path / "local")


def test_a_single_file(text: Path, small_bert: Path, tmp_path: Path) -> None:
    source = str(text / "a.txt.gz")
    prepare([source], small_bert, tmp_path / "local", workers=1)
    prepare_with_beam([source], small_bert, str(tmp_path / "beam"), options=LOCAL)
    assert read_files(tmp_path / "beam") == read_files(tmp_path / "local")


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", b"Fine.\n\n\xff\n", {"strict": True}, r"a\.txt is not UTF-8: byte 0, in line 3"),
        ("a.jsonl", b'{"body": "Fine."}\n', {}, r"a\.jsonl, line 1 has no field 'text'"),
        ("a.txt", b"\n\n", {}, "contains no text"),
    ],
)
def test_bad_input(
    small_bert: Path, tmp_path: Path, name: str, content: bytes, options: dict[str, bool], message: str
) -> None:
    """The same message as without Beam, and no files that would prevent the next attempt."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / name).write_bytes(content)
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            prepare_with_beam([str(tmp_path / "corpus")], small_bert, str(tmp_path / "new"), options=LOCAL, **options)
    assert not (tmp_path / "new").exists()


def test_an_output_that_is_not_empty_and_no_beam(text: Path, small_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists and is not empty"):
        prepare_with_beam([str(text)], small_bert, str(text), options=LOCAL)
    with pytest.raises(InputError, match="is neither a file nor a directory with text"):
        prepare_with_beam([str(tmp_path / "absent")], small_bert, str(tmp_path / "new"), options=LOCAL)
