"""Reading tagged words, from a published data set and from hand-made files."""

from pathlib import Path

import pytest

from keras_bert_impl.data import read_conll
from keras_bert_impl.errors import InputError


@pytest.mark.parametrize(
    ("name", "sentences"),
    [("wnut17train.conll", 3394), ("emerging.dev.conll", 1009), ("emerging.test.annotated", 1287)],
)
def test_wnut_is_read_completely(shared_data: Path, name: str, sentences: int) -> None:
    # The numbers of sentences that the hub's copy of the data set, wnut_17, states.
    lines = [line.split() for line in (shared_data / "wnut17" / name).read_text(encoding="utf-8").split("\n")]
    columns = read_conll(shared_data / "wnut17" / name)
    assert len(columns["words"]) == len(columns["label"]) == sentences
    assert [
        [word, tag]
        for pair in zip(columns["words"], columns["label"], strict=True)
        for word, tag in zip(*pair, strict=True)
    ] == [line for line in lines if line]


def test_documents_spaces_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(
        b"-DOCSTART- -X- -X- O\r\n\r\nEU NNP B-NP B-ORG\r\nis VBZ  B-VP O\r\n\t\r\n\r\nPeter NNP B-NP B-PER\r\n\r\n"
    )
    columns = read_conll(path)
    assert columns["words"] == [["EU", "is"], ["Peter"]]
    assert columns["label"] == [["B-ORG", "O"], ["B-PER"]]
    assert columns["location"] == [f"{path}, line 3", f"{path}, line 7"]


def test_words_may_contain_spaces_that_do_not_separate(tmp_path: Path) -> None:
    (tmp_path / "tabs.conll").write_text("New York\tB-place\n")
    (tmp_path / "spaces.conll").write_text("10\u00a0000 O\n")
    assert read_conll(tmp_path / "tabs.conll")["words"] == [["New York"]]
    assert read_conll(tmp_path / "spaces.conll")["words"] == [["10\u00a0000"]]


def test_tags_are_not_needed_for_prediction(tmp_path: Path) -> None:
    (tmp_path / "x.conll").write_text("Ada\nagain\n\nParis\n")
    columns = read_conll(tmp_path / "x.conll", labeled=False)
    assert columns["words"] == [["Ada", "again"], ["Paris"]]
    assert "label" not in columns


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"-DOCSTART- O\n\n", "contains no words"),
        (b"a\tO\n\tB-person\n", r"line 2: the tag 'B-person' has no word before"),
        (b"a O\n\nb\n", "line 3: the word 'b' has no tag"),
        (b"a\tO\nb\t\n", "line 2: the word 'b' has no tag"),
        (b"a O\nb NNP O\n", "line 2: found 3 columns; the first line has 2"),
        (b"a O\nb\x00 O\n", "line 2 contains a NUL byte"),
        (b"a O\nb\xe9 O\n", "is not UTF-8: byte 5, in line 2, is 0xe9"),
    ],
)
def test_bad_files_are_refused_with_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.conll").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_conll(tmp_path / "x.conll")
    assert str(tmp_path / "x.conll") in str(error.value)
