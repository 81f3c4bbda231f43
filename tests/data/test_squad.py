"""Reading SQuAD files, compared with the JSON itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from keras_bert_impl.data import read_squad
from keras_bert_impl.errors import InputError

CONTEXT = "Ada Lovelace was born in London\U0001f3a9 in 1815."


def make_squad(*questions: Any, context: Any = CONTEXT) -> dict[str, Any]:
    return {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def make_question(**changes: Any) -> dict[str, Any]:
    return {"id": "q", "question": "Where?", "answers": [{"text": "London", "answer_start": 25}], **changes}


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_xquad_is_read_completely(shared_data: Path) -> None:
    path = shared_data / "xquad_en" / "xquad.en.json"
    paragraphs = [paragraph for article in json.loads(path.read_text())["data"] for paragraph in article["paragraphs"]]
    expected = [(question["id"], paragraph["context"]) for paragraph in paragraphs for question in paragraph["qas"]]
    columns = read_squad(path)
    assert len(expected) == 1190
    assert list(zip(columns["id"], columns["context"], strict=True)) == expected
    for context, answers in zip(columns["context"], columns["answers"], strict=True):
        start, text = answers["answer_start"][0], answers["text"][0]
        assert context[start : start + len(text)] == text


def test_questions_without_answer(tmp_path: Path) -> None:
    plausible = [{"text": "Ada", "answer_start": 0}]
    impossible = make_question(id="no", is_impossible=True, answers=[], plausible_answers=plausible)
    after_the_emoji = make_question(id="yes", is_impossible=False, answers=[{"text": "1815", "answer_start": 36}])
    columns = read_squad(write(tmp_path / "x.json", make_squad(impossible, after_the_emoji)))
    assert columns["answers"] == [{"text": [], "answer_start": []}, {"text": ["1815"], "answer_start": [36]}]
    assert columns["location"][1] == f"{tmp_path / 'x.json'}, data[0].paragraphs[0].qas[1]"


def test_answers_are_not_needed_for_prediction(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", make_squad({"id": "q", "question": ""}))
    assert set(read_squad(path, labeled=False)) == {"location", "id", "question", "context"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"is a JSON list; an object with a field 'data'"),
        ({"articles": []}, r"there is no 'data'"),
        ({"data": {}}, r"'data' is a dict"),
        ({"data": []}, r"contains no questions"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\]\.paragraphs\[0\]: there is no 'context'"),
        (make_squad(make_question(), "q"), r"qas\[1\] is a JSON str; an object"),
        (make_squad({"id": "q", "answers": []}), r"qas\[0\]: there is no 'question'"),
        (make_squad({"id": "q", "question": "?"}), r"qas\[0\]: there is no 'answers'"),
        (make_squad(make_question(), context=7), r"qas\[0\]: context is 7; a string"),
        (make_squad(make_question(answers=[{"text": "London"}])), r"there is no 'answer_start'"),
        (make_squad(make_question(answers=[{"text": "London", "answer_start": "25"}])), r"'answer_start' is a str"),
        (
            make_squad(make_question(), make_question(answers=[{"text": "1815", "answer_start": 38}])),
            r"1 of 2 answers are not at .*qas\[1\]: the answer is '1815', but at 38 the context has '15\.'",
        ),
        (make_squad(make_question(answers=[{"text": "", "answer_start": 3}])), r"1 of 1 answers are not at"),
        (make_squad(make_question(answers=[{"text": ".", "answer_start": -1}])), r"1 of 1 answers are not at"),
    ],
)
def test_bad_content_is_refused_with_its_location(tmp_path: Path, value: Any, message: str) -> None:
    path = write(tmp_path / "x.json", value)
    with pytest.raises(InputError, match=message) as error:
        read_squad(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b'{"data": [}', "is not JSON: line 1, column 11"),
        (b'{"\xff', "in line 1, is 0xff"),
        (b"{\x00}", "NUL"),
    ],
)
def test_bad_bytes_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_squad(tmp_path / "x.json")
