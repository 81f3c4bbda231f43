"""Columns of texts that are written are read again."""

from pathlib import Path

import pytest

from keras_bert_impl.data.table_writer import check_output, write_text_columns
from keras_bert_impl.data.tables import Columns, iterate_table, to_columns
from keras_bert_impl.data.text_columns import iterate_text_columns
from keras_bert_impl.errors import InputError

TEXTS = ["a", "", "Emoji 😀, “quotes” \"and\" 'others'"]
COLUMNS: dict[str, Columns] = {
    "triplet": {"text": TEXTS, "positive": TEXTS[::-1], "negatives": [["x"], [""], ["y z"]]},
    "n-tuple": {"text": TEXTS, "positive": TEXTS[::-1], "negatives": [["x", "\u2028"], ["", ""], ["y", "ü"]]},
}
LABELED: Columns = {"text": TEXTS, "text_pair": TEXTS[::-1], "label": ["1", "0", "0"]}


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
@pytest.mark.parametrize("name", list(COLUMNS))
def test_texts_with_negatives(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    write_text_columns(path, COLUMNS[name], suffix=suffix)
    (columns,) = to_columns(iterate_text_columns(path))
    del columns["location"]
    assert columns == COLUMNS[name]


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_pairs_with_labels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    write_text_columns(path, LABELED, suffix=suffix)
    (columns,) = to_columns(iterate_table(path))
    del columns["location"]
    assert columns == LABELED


def test_texts_that_tsv_cannot_contain(tmp_path: Path) -> None:
    for text in ("a\tb", "a\nb", "a\r", "\0"):
        texts = [("x.tsv, line 2", "c"), ("x.jsonl, line 5", text)]
        with pytest.raises(
            InputError, match=r"x\.jsonl, line 5: the text .* contains a TAB, .* the output out\.jsonl\."
        ):
            check_output("new/out.tsv", texts)
        check_output("new/out.JSONL", texts)
        columns = {"text": [text], "positive": ["b"], "negatives": [[text]]}
        write_text_columns(tmp_path / "x.jsonl", columns, suffix=".jsonl")
        assert next(iterate_text_columns(tmp_path / "x.jsonl"))["negatives"] == [text]
    with pytest.raises(InputError, match=r"out\.txt: the file name must end in \.tsv or \.jsonl, which decides"):
        check_output("out.txt", [])
