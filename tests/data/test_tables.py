"""Reading tables, compared with files that the csv and json modules wrote and read."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from keras_bert_impl.data import read_table
from keras_bert_impl.errors import InputError

# Texts that each format must carry through, and a label each.
ROWS = [
    ("plain", "yes"),
    ("", "no"),
    ('say "hello", twice', "yes"),
    ("an emoji \U0001f3ac and \u2028 a line separator", "no"),
    ("  spaces kept  ", "a label"),
]


def test_film_snippets_read_as_the_csv_module_reads_them(data_dir: Path) -> None:
    with open(data_dir / "valid.tsv", encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = read_table(data_dir / "valid.tsv")
    assert len(expected) == 1057
    assert columns["text"] == [row["text"] for row in expected]
    assert columns["label"] == [row["label"] for row in expected]
    assert columns["location"][-1] == f"{data_dir / 'valid.tsv'}, line 1058"
    assert "text_pair" not in columns


def test_similarity_csv_without_names(shared_data: Path) -> None:
    path = shared_data / "stsb_en" / "stsb-en-dev.csv"
    columns = read_table(path, text="0", text_pair="1", label="2")
    assert len(columns["text"]) == len(columns["text_pair"]) == len(columns["label"]) == 1500
    assert columns["text"][0] == "A man with a hard hat is dancing."
    assert columns["text_pair"][0] == "A man wearing a hard hat is dancing."
    assert columns["label"][0] == "5.0"
    assert all(0 <= float(label) <= 5 for label in columns["label"])


def write_csv(path: Path) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS])


def write_tsv(path: Path) -> None:
    path.write_text("".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *ROWS]), encoding="utf-8")


def write_jsonl(path: Path) -> None:
    lines = [json.dumps({"id": 7, "label": label, "text": text}) for text, label in ROWS]
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize(("name", "write"), [("x.csv", write_csv), ("x.tsv", write_tsv), ("x.jsonl", write_jsonl)])
def test_formats_give_the_same_columns(tmp_path: Path, name: str, write) -> None:
    write(tmp_path / name)
    columns = read_table(tmp_path / name)
    assert list(zip(columns["text"], columns["label"], strict=True)) == ROWS
    assert "label" not in read_table(tmp_path / name, labeled=False)


def test_quoted_line_breaks_count_as_lines(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b'text,label\r\n"one\r\ntwo",a\r\nthree,b\r\n')
    columns = read_table(tmp_path / "x.csv")
    assert columns["text"] == ["one\ntwo", "three"]
    assert [location.rpartition(" ")[2] for location in columns["location"]] == ["2", "4"]


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,b\n", encoding="utf-8-sig")
    assert read_table(tmp_path / "x.csv")["text"] == ["a"]


def test_empty_lines_are_texts_in_a_file_of_one_column_only(tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("text\nfirst\n\nthird\n")
    (tmp_path / "two.tsv").write_text("text\tlabel\nfirst\ta\n\nthird\tb\n\n")
    assert read_table(tmp_path / "one.tsv", labeled=False)["text"] == ["first", "", "third"]
    assert read_table(tmp_path / "two.tsv")["text"] == ["first", "third"]


def test_columns_by_other_names(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("premise\tgold\thypothesis\np\tg\th\n")
    columns = read_table(tmp_path / "x.tsv", text="premise", text_pair="hypothesis", label="gold")
    assert (columns["text"], columns["text_pair"], columns["label"]) == (["p"], ["h"], ["g"])


def test_json_numbers_and_truth_values_are_labels(tmp_path: Path) -> None:
    labels = [1, 2.5, True, " x "]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps({"text": "t", "label": label}) for label in labels))
    assert read_table(tmp_path / "x.jsonl")["label"] == ["1", "2.5", "true", "x"]


BAD = {
    "missing": ("absent.tsv", None, {}, r"absent\.tsv cannot be read: No such file"),
    "ending": ("x.xlsx", b"PK", {}, r"x\.xlsx: the file name must end in one of \.tsv, \.csv, \.jsonl"),
    "empty": ("x.tsv", b"", {}, r"x\.tsv is empty"),
    "blank": ("x.csv", b" \n\n", {}, r"x\.csv is empty"),
    "names only": ("x.tsv", b"text\tlabel\n", {}, r"x\.tsv contains only the line of column names"),
    "column": ("x.tsv", b"text\tstars\na\t1\n", {}, r"line 2: there is no column 'label'; .*'text', 'stars'\. .*label"),
    "pair": ("x.tsv", b"text\tlabel\na\t1\n", {"text_pair": "b"}, r"no column 'b'.*contains the text_pair"),
    "number": (
        "x.csv",
        b"a,b\n",
        {"text": "0", "label": "2"},
        r"line 1: there is no column '2'; the columns are '0', '1'",
    ),
    "too many": ("x.tsv", b"text\tlabel\na\t1\nb\tc\t0\n", {}, r"line 3 has 3 fields; the first line has 2"),
    "too few": ("x.csv", b"text,label\na,1\nb\n", {}, r"line 3 has 1 fields; the first line has 2"),
    "NUL": ("x.tsv", b"text\tlabel\na\t1\nb\x00\t0\n", {}, r"line 3 contains a NUL byte"),
    "UTF-16": ("x.csv", "text,label\na,b\n".encode("utf-16-le"), {}, r"line 1 contains a NUL byte.* UTF-8"),
    "UTF-8": ("x.tsv", b"text\tlabel\na\t1\nb\xff\t0\n", {}, r"x\.tsv is not UTF-8: byte 16, in line 3, is 0xff"),
    "no label": ("x.tsv", b"text\tlabel\na\t1\nb\t \n", {}, r"line 3: the label in column 'label' is empty"),
    "quote": ("x.csv", b'text,label\na,1\n"b,0\nc,1\n', {}, r"line 3: not valid CSV: unexpected end of data"),
    "not JSON": ("x.jsonl", b'{"text": "a", "label": "b"}\n{"text":\n', {}, r"line 2 is not JSON: Expecting value"),
    "not an object": ("x.jsonl", b'["a", "b"]\n', {}, r"line 1 contains a JSON list; an object"),
    "not a string": ("x.jsonl", b'{"text": 5, "label": "b"}\n', {}, r"line 1: text is 5; a string was expected"),
    "null label": (
        "x.jsonl",
        b'{"text": "a", "label": null}\n',
        {},
        r"line 1: the label in column 'label' is empty \(None\)",
    ),
    "NaN label": (
        "x.jsonl",
        b'{"text": "a", "label": NaN}\n',
        {},
        r"line 1: the label in column 'label' is empty \(nan\)",
    ),
    "list label": (
        "x.jsonl",
        b'{"text": "a", "label": ["b"]}\n',
        {},
        r"line 1: the label is \['b'\]; a string, a number",
    ),
    "weight": (
        "x.tsv",
        b"text\tlabel\tw\na\tb\t-1\n",
        {"weight": "w"},
        r"line 2: the weight in column 'w' is '-1'; a fin",
    ),
    "surrogate": (
        "x.jsonl",
        rb'{"text": "\ud83d", "label": "b"}',
        {},
        r"line 1: text contains half of a surrogate",
    ),
    "row lacks": ("x.jsonl", b'{"text": "a", "label": "b"}\n{"text": "c"}', {}, r"line 2: there is no column 'label'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_file_and_line(tmp_path: Path, case: str) -> None:
    name, content, arguments, message = BAD[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_table(tmp_path / name, **arguments)
    assert str(tmp_path / name) in str(error.value)


def test_labels_are_ignored_for_prediction(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("text\tlabel\na\t\n")
    assert read_table(tmp_path / "x.tsv", labeled=False)["text"] == ["a"]


CSV_ROWS = [
    ("Ein Film, lang; gut", "4,5"),
    ('sagt "nein"', "1"),
    ("zwei\nZeilen", "2,0"),
    ("Tab\there", "3"),
    ("plain", "5"),
]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_of_csv_are_recognized(tmp_path: Path, separator: str, header: bool, encoding: str) -> None:
    path = tmp_path / "x.csv"
    with open(path, "w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=separator).writerows([("Kritik", "Note")] * header + CSV_ROWS)
    # pandas guesses the separator too, but reads the TABs of the file without names wrong.
    options = {"sep": None if header else separator, "header": 0 if header else None}
    expected = pd.read_csv(path, engine="python", dtype=str, encoding=encoding, **options)
    names = {"text": "Kritik", "label": "Note"} if header else {"text": "0", "label": "1"}
    columns = read_table(path, **names)
    assert list(zip(columns["text"], columns["label"], strict=True)) == CSV_ROWS
    assert expected.to_numpy().tolist() == [list(row) for row in CSV_ROWS]


def test_excel_names_the_separator_in_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('\ufeffsep=|\ntext|label\na;b,c|1\n"d\ne"|0\nf|\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.csv, line 6: the label in column 'label' is empty"):
        read_table(tmp_path / "x.csv")
    columns = read_table(tmp_path / "x.csv", labeled=False)
    assert columns["text"] == ["a;b,c", "d\ne", "f"]
    assert [location.rpartition(" ")[2] for location in columns["location"]] == ["3", "4", "6"]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('text,label\n"a; b",1\n"c; d",0\n', ["a; b", "c; d"]),
        ('"text; or not",label\n"a; b",1\n', ["a; b"]),
        ('text;label\n"a, b";1\n', ["a, b"]),
        ("text\na\nb; c\n", ["a", "b; c"]),
        ("text,label\na; b; c,1\n", ["a; b; c"]),
    ],
)
def test_separators_in_quotes_and_texts(tmp_path: Path, content: str, texts: list[str]) -> None:
    (tmp_path / "x.csv").write_text(content)
    name = "text; or not" if "or not" in content else "text"
    assert read_table(tmp_path / "x.csv", text=name, labeled=False)["text"] == texts


def test_long_csv_files_with_quoted_line_breaks(tmp_path: Path) -> None:
    """A row may begin in the lines by which the separator is found, and end after them."""
    rows = [(f"a, {i}\n" * (i % 7 + 1), str(i)) for i in range(150)]
    with open(tmp_path / "x.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";", quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    columns = read_table(tmp_path / "x.csv")
    assert list(zip(columns["text"], columns["label"], strict=True)) == rows
