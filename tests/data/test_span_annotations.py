"""Annotated spans of characters, in the files of annotation tools and in memory."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from keras_bert_impl.data.span_annotations import iterate_tagged, split_words
from keras_bert_impl.data.tables import Columns, to_columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS

TEXT = "Ada Lovelace, 36, was born in London. 😀 Rome"
SPANS = [[30, 36, "place"], [0, 12, "person"], [40, 44, "place"]]
TAGS = ["B-person", "I-person", "O", "O", "O", "O", "O", "O", "B-place", "O", "O", "B-place"]
# The fields of Label Studio's regions.
REGIONS = [{"start": begin, "end": end, "text": TEXT[begin:end], "labels": [label]} for begin, end, label in SPANS]


def make_task(regions: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A task in Label Studio's JSON."""
    results = [
        {"value": region, "id": "x", "from_name": "label", "to_name": "text", "type": "labels"} for region in regions
    ]
    other = {"value": {"choices": ["news"]}, "from_name": "kind", "to_name": "text", "type": "choices"}
    relation = {"from_id": "x", "to_id": "x", "type": "relation", "direction": "right"}
    cancelled = {"id": 1, "was_cancelled": True, "result": []}
    annotations = [cancelled, {"id": 2, "was_cancelled": False, "result": [other, *results, relation]}]
    return {"id": 7, "data": {"text": TEXT}, "annotations": annotations, "predictions": [], **changes}


ROWS: dict[str, dict[str, Any]] = {
    "Doccano": {"id": 3, "text": TEXT, "label": SPANS},
    "older Doccano": {"id": 3, "text": TEXT, "meta": {}, "annotation_approver": None, "labels": SPANS},
    "Doccano with relations": {
        "text": TEXT,
        "relations": [],
        "entities": [
            {"id": i, "label": label, "start_offset": begin, "end_offset": end}
            for i, (begin, end, label) in enumerate(SPANS)
        ],
    },
    "spaCy": {"text": TEXT, "entities": SPANS},
    "Label Studio, JSON-MIN": {"id": 5, "text": TEXT, "label": REGIONS, "annotator": 1},
    "Label Studio, JSON": make_task(REGIONS),
    "predictions": {
        "text": TEXT,
        "entities": [{"kind": label, "text": TEXT[b:e], "start": b, "end": e, "score": 0.5} for b, e, label in SPANS],
    },
}


def read(path: Path, **options: Any) -> Columns:
    return next(to_columns(iterate_tagged(path, **options)))


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_the_formats_of_annotation_tools(tmp_path: Path, name: str, suffix: str) -> None:
    rows = [ROWS[name]] * 2
    path = tmp_path / f"x{suffix}"
    lines = [json.dumps(row) for row in rows]
    path.write_text(f"[{', '.join(lines)}]" if suffix == ".json" else "\n".join(lines))
    columns = read(path)
    assert columns["label"] == [TAGS] * 2
    assert columns["text"] == [TEXT] * 2
    for words, spans in zip(columns["words"], columns["spans"], strict=True):
        assert words == [TEXT[begin:end] for begin, end in spans]
    assert columns["location"][1] == f"{path}, {'example' if suffix == '.json' else 'line'} 2"
    assert read(path, labeled=False).keys() == {"location", "text", "words", "spans"}
    assert TASKS["tagging"].read_file(path) == TASKS["tagging"].read_file(columns) == columns
    in_memory = TASKS["tagging"].read_file(rows)
    assert {**in_memory, "location": columns["location"]} == columns


def test_columns_by_other_names(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([make_task(REGIONS, data={"body": TEXT})]))
    assert read(tmp_path / "x.json", text="body")["label"] == [TAGS]
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "?", "body": TEXT, "label": 1, "ner": SPANS}))
    assert read(tmp_path / "x.jsonl", text="body", label="ner")["label"] == [TAGS]


def test_lists_of_words_and_tags(tmp_path: Path) -> None:
    rows = [{"tokens": ["New York", "is"], "ner_tags": ["B-x", "O"]}, {"tokens": [], "ner_tags": []}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = read(tmp_path / "x.jsonl")
    assert (columns["words"], columns["label"]) == ([["New York", "is"], []], [["B-x", "O"], []])
    assert "text" not in columns


def test_spans_that_cut_words_and_spaces() -> None:
    """As a computation by characters says."""
    draw = random.Random(2)
    for _ in range(200):
        text = "".join(draw.choice("ab, .é") for _ in range(30))
        bounds = sorted(draw.sample(range(31), 4))
        spans = [[bounds[0], bounds[1], "x"], [bounds[2], bounds[3], "y"]]
        words, places = split_words(text)
        touched = [
            [i for i, (first, last) in enumerate(places) if set(range(first, last)) & set(range(begin, end))]
            for begin, end, _ in spans
        ]
        data = [{"text": text, "label": spans}]
        if not all(touched) or set(touched[0]) & set(touched[1]):
            with pytest.raises(InputError, match=r"contains no word|have the word '.*' in common"):
                TASKS["tagging"].read_file(data)
            continue
        expected = ["O"] * len(words)
        for (_, _, label), numbers in zip(spans, touched, strict=True):
            for i in numbers:
                expected[i] = f"{'B' if i == numbers[0] else 'I'}-{label}"
        assert TASKS["tagging"].read_file(data)["label"] == [expected]


BAD: dict[str, tuple[Any, str]] = {
    "outside": ([[0, 99, "x"]], r"the span \[0, 99, 'x'\] is outside of the text, which has 44 characters\. Correct"),
    "before": ([[-3, 2, "x"]], r"the span \[-3, 2, 'x'\] is outside of the text"),
    "reversed": ([[5, 2, "x"]], r"the span \[5, 2, 'x'\] is outside of the text"),
    "empty": ([[3, 3, "x"]], r"the span \[3, 3, 'x'\] is empty\. Correct or remove it"),
    "no word": ([[3, 4, "x"]], r"the span \[3, 4, 'x'\] contains no word, but ' '"),
    "overlap": ([[0, 12, "x"], [4, 14, "y"]], "a span of 'x' and a span of 'y' have the word 'Lovelace' in common"),
    "twice": ([[0, 3, "x"], [0, 3, "x"]], "a span of 'x' and a span of 'x' have the word 'Ada' in common"),
    "parts of a word": (
        [[4, 8, "x"], [8, 12, "y"]],
        "a span of 'x' and a span of 'y' have the word 'Lovelace' in",
    ),
    "strings": ([["0", "3", "x"]], r"the span \['0', '3', 'x'\] was not understood; \[begin, end, 'LABEL'\]"),
    "truth values": ([[False, True, "x"]], r"the span \[False, True, 'x'\] was not understood"),
    "two numbers": ([[0, 3]], r"the span \[0, 3\] was not understood"),
    "a number": ([4], "the span 4 was not understood"),
    "no label": ([{"start": 0, "end": 3}], r"the span \{'start': 0, 'end': 3\} was not understood"),
    "two labels": ([{"start": 0, "end": 3, "labels": ["x", "y"]}], "the span .* was not understood"),
    "another text": (
        [{"start": 1, "end": 4, "labels": ["x"], "text": "Ada"}],
        r"the span \[1, 4, 'x'\] has the text 'Ada', but the text has 'da ' there\. Correct the numbers",
    ),
    "not a list": ("x", "the spans are 'x'; a list of spans was expected"),
    "missing": (None, r"the spans are missing\. Add them, or remove the row"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_spans_are_refused_with_the_line(tmp_path: Path, case: str) -> None:
    spans, message = BAD[case]
    rows = [{"text": TEXT, "label": []}, {"text": TEXT, "label": spans}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=rf"x\.jsonl, line 2: {message}"):
        read(tmp_path / "x.jsonl")


FILES: dict[str, tuple[str, str, str]] = {
    "no spans": ("x.jsonl", '{"text": "a"}', r"line 1: there is no column 'label' or 'labels' or .*; the columns are"),
    "no text": ("x.jsonl", '{"body": "a", "label": []}', r"line 1: there is no column 'words' or 'tokens' or 'text'"),
    "both": ("x.jsonl", '{"text": "a", "label": []}\n{"words": ["a"], "label": ["O"]}', "line 2: texts and lists of"),
    "tags": ("x.jsonl", '{"words": ["a", "b"], "label": ["O"]}', r"line 1: the tags are \['O'\]; a list of 2 was"),
    "a tag": ("x.jsonl", '{"words": ["a"], "label": [3]}', "line 1: a tag is 3; a string was expected"),
    "a word": ("x.jsonl", '{"words": [5], "label": ["O"]}', "line 1: a word is 5; a string was expected"),
    "a number": ("x.jsonl", '{"text": 5, "label": []}', "line 1: the text is 5; a string was expected"),
    "an object": ("x.json", "{}", r"x\.json contains a JSON dict; a list of annotated texts was expected"),
    "an empty list": ("x.json", "[]", r"x\.json contains a JSON list; a list of annotated texts was expected"),
    "numbers": ("x.json", "[1]", r"x\.json, example 1 is a JSON int; an object with named fields was expected"),
    "not JSON": ("x.json", "[{]", r"x\.json is not JSON: line 1"),
    "not annotated": ("x.json", '[{"data": {"text": "a"}, "annotations": []}]', "example 1 has no annotation"),
    "other annotations": ("x.json", '[{"data": {"text": "a"}, "annotations": [{}]}]', "not in the form of Label"),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_files(tmp_path: Path, case: str) -> None:
    name, content, message = FILES[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path / name)


def test_tasks_without_annotations_can_be_predicted(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([make_task([], annotations=[])]))
    assert read(tmp_path / "x.json", labeled=False)["text"] == [TEXT]


def test_chinese_characters_are_words() -> None:
    """As BERT's tokenizer splits them; so a span of some of them is not extended."""
    text = "我住在北京, caf\u00e9_1𠀀!"
    words, spans = split_words(text)
    assert words == ["我", "住", "在", "北", "京", ",", "caf\u00e9_1", "𠀀", "!"]
    assert [text[begin:end] for begin, end in spans] == words
    columns = TASKS["tagging"].read_file([{"text": text, "label": [[3, 5, "x"]]}])
    assert columns["label"] == [["O", "O", "O", "B-x", "I-x", "O", "O", "O", "O"]]
