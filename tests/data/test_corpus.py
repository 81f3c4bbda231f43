"""Reading a corpus: documents from every kind of file, lines that are not UTF-8, and units."""

import gzip
import io
import json
from pathlib import Path

import pytest

from keras_bert_impl.data import corpus
from keras_bert_impl.data.corpus import find_parts, read_documents, read_units, sort_paths
from keras_bert_impl.data.sentences import split_sentences
from keras_bert_impl.errors import InputError

DOCUMENTS = [["One.", "Two. Three."], ["Vier."], ["吾輩は猫である。"]]
TEXT = "One.\nTwo. Three.\n\n\nVier.\r\n \n吾輩は猫である。"


def read_all_documents(*sources: Path, **options) -> list[list[str]]:
    return [document for part in find_parts(sources) for document in read_documents(part, **options)]


def test_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert read_all_documents(tmp_path / "a.txt") == DOCUMENTS


def test_each_line_is_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "Five.\nSix."}))
    lines = [[line] for document in DOCUMENTS for line in document]
    assert read_all_documents(tmp_path, line_by_line=True) == [*lines, ["Five.", "Six."]]


def test_a_gzip_file_with_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.text").write_bytes(gzip.compress(TEXT.encode()))
    assert read_all_documents(tmp_path / "a.text") == DOCUMENTS


def test_lines_of_json(tmp_path: Path) -> None:
    """An object is a document: empty lines and other line breaks do not end it."""
    records = [{"body": "One.\nTwo. Three.", "id": 7}, {"body": "Vier.\n\n吾輩は\u2028猫である。"}, {"body": " "}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n\n")
    assert read_all_documents(tmp_path / "a.jsonl", text_field="body") == [
        DOCUMENTS[0],
        ["Vier.", "吾輩は\u2028猫である。"],
    ]


def test_a_directory_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.txt").write_text("Zwei.")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"Drei."))
    (tmp_path / "a.txt").write_text("Eins.")
    (tmp_path / "notes.md").write_text("Nothing.")
    (tmp_path / "vocab.txt").write_text("[PAD]")
    assert read_all_documents(tmp_path) == [["Eins."], ["Zwei."], ["Drei."]]


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_paths_have_the_same_order_with_each_separator(separator: str) -> None:
    """``-`` and ``B`` are before the backslash, but after the end of a component."""
    paths = [path.replace("/", separator) for path in ("c/a/b", "c/a-b", "c/aB", "d")]
    assert sort_paths(paths[::-1], separator) == paths


def test_a_document_ends_with_its_file(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("Same part.")
    assert len(find_parts([tmp_path])) == 1
    assert read_all_documents(tmp_path) == [["Same part."], ["Same part."]]


def test_broken_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Good.\nbad \xff\xfe\nAlso good.\n\xc3\n")
    (part,) = find_parts([tmp_path / "a.txt"])
    (unit,) = read_units(part)
    assert unit.documents == [["Good.", "Also good."]]
    assert unit.broken == 2
    with pytest.raises(InputError, match=r"a\.txt is not UTF-8: byte 4, in line 2, is 0xff"):
        list(read_units(part, strict=True))


def test_halves_of_surrogate_pairs_are_counted_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Good."}\n{"text": "bad \\ud83d"}\n{"text": "Fine \\ud83d\\ude00."}\n')
    (part,) = find_parts([tmp_path / "a.jsonl"])
    (unit,) = read_units(part)
    assert unit.documents == [["Good."], ["Fine 😀."]]
    assert unit.broken == 1
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: text contains half of a surrogate pair"):
        list(read_units(part, strict=True))


def test_long_text_without_sentences_is_cut_at_spaces() -> None:
    text = " ".join(["word" * 3] * 2000 + ["x" * 9000] + ["y"] * 9)
    found = list(split_sentences(text, language="en"))
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
    assert max(map(len, found)) <= 4096
    assert all(sentence == sentence.strip() for sentence in found)
    assert all(word in ("wordwordword", "y") or set(word) == {"x"} for one in found for word in one.split())


def test_broken_lines_alone_are_counted_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\n")
    (unit,) = read_units(find_parts([tmp_path / "a.txt"])[0])
    assert (unit.documents, unit.broken) == ([], 1)


def test_units_contain_complete_documents_and_all_bytes(tmp_path: Path) -> None:
    text = "\n\n".join(f"{number:04} {'x' * 95}" for number in range(37))
    (tmp_path / "a.txt").write_text(text)
    (part,) = find_parts([tmp_path / "a.txt"])
    units = list(read_units(part, size=450))
    assert [len(unit.documents) for unit in units] == [5] * 7 + [2]
    assert [unit.name for unit in units] == [f"00000-{number:05}" for number in range(8)]
    assert sum(unit.read for unit in units) == part.size == len(text)


def test_bytes_of_gzip_files_are_those_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(TEXT.encode() * 999))
    (part,) = find_parts([tmp_path / "a.gz"])
    assert sum(unit.read for unit in read_units(part)) == part.size


def test_long_lines_and_documents_are_cut_between_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "MAX_LINE", 100)
    monkeypatch.setattr(corpus, "MAX_DOCUMENT", 150)
    text = "日本語" * 100
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    found = read_all_documents(tmp_path / "a.txt")
    assert "".join(line for document in found for line in document) == text
    assert max(len(line.encode()) for document in found for line in document) <= 102
    assert all(sum(map(len, document)) < 150 + 34 for document in found)
    assert len(found) > 1


def test_a_single_path_and_several_parts_of_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"One.\n\n") + gzip.compress(b"Two."))
    for source in (tmp_path / "a.txt.gz", str(tmp_path / "a.txt.gz")):
        assert [document for part in find_parts(source) for document in read_documents(part)] == [["One."], ["Two."]]


def test_files_that_lack_peek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of cloud storage, for example."""
    monkeypatch.setattr(corpus, "MAX_LINE", 100)
    for content in ("日本語" * 100).encode(), gzip.compress(("日本語" * 100).encode()):
        (tmp_path / "a.txt").write_bytes(content)
        (part,) = find_parts([tmp_path / "a.txt"])
        (unit,) = read_units(part, open_file=io.FileIO)
        assert "".join(unit.documents[0]) == "日本語" * 100


def test_lines_that_are_left_out_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Good.\n\xff\nFine.\n")
    lines = corpus.Lines(find_parts(tmp_path / "a.txt"))
    for _ in range(2):
        assert list(lines) == ["Good.", "Fine."]
        assert lines.broken == 1
    with pytest.raises(InputError, match="is not UTF-8"):
        list(corpus.Lines(find_parts(tmp_path / "a.txt"), strict=True))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": ' + b"9" * 5000 + b"}\n", r"a\.jsonl, line 1 is not JSON"),
        ("a.jsonl", b'{"text": "Fine."}\n[1]\n', r"a\.jsonl, line 2 contains a JSON list"),
        ("a.jsonl", b'{"text": "Fine."\n', r"a\.jsonl, line 1 is not JSON"),
        ("a.jsonl", b'{"body": "Fine."}\n', r"a\.jsonl, line 1 has no field 'text', but 'body'\. Set text_field"),
        ("a.jsonl", b'{"text": 5}\n', r"a\.jsonl, line 1: text is 5; a string was expected"),
        (
            "a.txt.gz",
            gzip.compress(b"Some text." * 99, mtime=0)[:-9],
            r"a\.txt\.gz cannot be read: Compressed file ended",
        ),
        ("a.txt.gz", gzip.compress(b"Some text.", mtime=0)[:14] + b"\0" * 30, r"a\.txt\.gz cannot be read"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_all_documents(tmp_path / name)


def test_a_corpus_without_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The corpus is empty: name"):
        find_parts([])
    with pytest.raises(InputError, match="contains no text; files ending in"):
        find_parts([tmp_path])
    with pytest.raises(InputError, match="no such file or directory"):
        find_parts([tmp_path / "absent.txt"])
