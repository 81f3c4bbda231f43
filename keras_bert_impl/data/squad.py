"""Questions, contexts and answers from SQuAD files, versions 1.1 and 2.0."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.data.columns import Columns, check_text
from keras_bert_impl.data.text import read_data_text
from keras_bert_impl.data.tfds import is_tfds, tfds_records
from keras_bert_impl.errors import InputError


def read_squad(path: str | Path, *, labelled: bool = True) -> Columns:
    """Reads questions about contexts, with the answers' texts and where in the context they begin.

    Args:
        path: the JSON file, or ``tfds:NAME:SPLIT`` for a data set of the same shape.
        labelled: whether answers are read; false for prediction.

    Returns:
        ``id``, ``question``, ``context``, ``answers`` if asked for, and ``where``. Each entry of ``answers`` is
        ``{"text": [...], "answer_start": [...]}``, in characters; both lists are empty where the context has no answer.

    Raises:
        InputError: a file that is missing, empty, no JSON, or without the fields that SQuAD has; answers that do not
            stand where ``answer_start`` says. The message names the place in the file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "questions.json")
    >>> answer = {"text": "Paris", "answer_start": 8}
    >>> question = {"id": "q1", "question": "Where?", "answers": [answer]}
    >>> paragraph = {"context": "She saw Paris.", "qas": [question]}
    >>> _ = path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    >>> read_squad(path)["answers"]
    [{'text': ['Paris'], 'answer_start': [8]}]
    """
    records = _tfds_questions(str(path)) if is_tfds(path) else _questions(path)
    columns: Columns = {"where": [], "id": [], "question": [], "context": [], **({"answers": []} if labelled else {})}
    for place, context, question in records:
        columns["where"].append(place)
        columns["id"].append(check_text(_get(question, "id", place), name="id", place=place))
        columns["question"].append(check_text(_get(question, "question", place), name="question", place=place))
        columns["context"].append(check_text(context, name="context", place=place))
        if labelled:
            columns["answers"].append(_answers(question, place))
    if not columns["id"]:
        raise InputError(f"{path} holds no questions.")
    if labelled:
        _check_starts(path, columns)
    return columns


def squad_examples(path: str | Path, *, labelled: bool = True) -> Iterator[dict[str, Any]]:
    """The examples of `read_squad`, one after the other; JSON is read as a whole all the same."""
    columns = read_squad(path, labelled=labelled)
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _questions(path: str | Path) -> Iterator[tuple[str, Any, Any]]:
    try:
        value = json.loads(read_data_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise InputError(f"{path} is no usable JSON: it is nested too deeply.") from error
    for i, article in enumerate(_get(value, "data", str(path), list)):
        for j, paragraph in enumerate(_get(article, "paragraphs", f"{path}, data[{i}]", list)):
            place = f"{path}, data[{i}].paragraphs[{j}]"
            context = _get(paragraph, "context", place)
            for k, question in enumerate(_get(paragraph, "qas", place, list)):
                yield f"{place}.qas[{k}]", context, question


def _tfds_questions(spec: str) -> Iterator[tuple[str, Any, Any]]:
    for place, record in tfds_records(spec):
        answers = _get(record, "answers", place, dict)
        listed = [dict(zip(answers, pair, strict=True)) for pair in zip(*answers.values(), strict=True)]
        yield place, _get(record, "context", place), {**record, "answers": listed}


def _get(value: Any, key: str, place: str, kind: type = object) -> Any:
    """A field of a JSON object that must be there."""
    if not isinstance(value, dict):
        raise InputError(f"{place}: a JSON {type(value).__name__}; an object with a field {key!r} was expected.")
    if key not in value or not isinstance(value[key], kind):
        found = f"{key!r} is a {type(value[key]).__name__}" if key in value else f"there is no {key!r}"
        raise InputError(f"{place}: {found}. SQuAD has data, paragraphs, context, qas, id, question and answers.")
    return value[key]


def _answers(question: dict[str, Any], place: str) -> dict[str, list[Any]]:
    if question.get("is_impossible"):
        return {"text": [], "answer_start": []}
    answers = _get(question, "answers", place, list)
    texts = [check_text(_get(answer, "text", place), name="the answer", place=place) for answer in answers]
    return {"text": texts, "answer_start": [_get(answer, "answer_start", place, int) for answer in answers]}


def _check_starts(path: str | Path, columns: Columns) -> None:
    wrong = [
        (place, context, start, text)
        for place, context, answers in zip(columns["where"], columns["context"], columns["answers"], strict=True)
        for start, text in zip(answers["answer_start"], answers["text"], strict=True)
        if not text or start < 0 or not context.startswith(text, start)
    ]
    if wrong:
        place, context, start, text = wrong[0]
        total = sum(len(answers["text"]) for answers in columns["answers"])
        raise InputError(
            f"{path}: {len(wrong)} of {total} answers do not stand at their answer_start. The first is {place}: "
            f"the answer is {text!r}, but at {start} the context has {context[max(start, 0) :][: len(text) + 1]!r}. "
            "Correct answer_start, which counts characters (not bytes) from 0, or remove these answers."
        )
