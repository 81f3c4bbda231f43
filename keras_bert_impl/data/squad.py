"""Reads questions, contexts and answers from SQuAD files, versions 1.1 and 2.0."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.data.tables import Columns, check_text, is_tfds, read_lines, read_records
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import parse_json


def read_squad(path: str | Path, *, labeled: bool = True) -> Columns:
    """Reads questions about contexts, and the answers: their texts and where in the context they start.

    Args:
        path: the JSON file; or ``tfds:NAME:SPLIT`` for a data set with the same fields, where ``answers`` may also be a
            dictionary of lists.
        labeled: whether answers are read; false for prediction.

    Returns:
        ``id``, ``question``, ``context``, ``answers`` if requested, and ``location``. Each entry of ``answers`` is
        ``{"text": [...], "answer_start": [...]}``, in characters; both lists are empty if the context has no answer.

    Raises:
        InputError: the file is missing, empty, not JSON, or lacks fields of SQuAD; or a context does not have an
            answer at its ``answer_start``. The message names the place in the file.

    >>> import json, tempfile
    >>> path = Path(tempfile.mkdtemp(), "questions.json")
    >>> answer = {"text": "Paris", "answer_start": 8}
    >>> question = {"id": "q1", "question": "Where?", "answers": [answer]}
    >>> paragraph = {"context": "She saw Paris.", "qas": [question]}
    >>> _ = path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    >>> read_squad(path)["answers"]
    [{'text': ['Paris'], 'answer_start': [8]}]
    """
    records = _read_json(path) if isinstance(path, str | os.PathLike) and not is_tfds(path) else _read_rows(path)
    columns: Columns = {"location": [], "id": [], "question": [], "context": []}
    if labeled:
        columns["answers"] = []
    for location, context, question in records:
        columns["location"].append(location)
        for name in ("id", "question"):
            columns[name].append(check_text(_get(question, name, location), name=name, location=location))
        columns["context"].append(check_text(context, name="context", location=location))
        if labeled:
            columns["answers"].append(_read_answers(question, location))
    if not columns["id"]:
        raise InputError(f"{path} contains no questions; a SQuAD file with questions was expected.")
    if labeled:
        _check_starts(path, columns)
    return columns


def iterate_squad(path: str | Path, *, labeled: bool = True) -> Iterator[dict[str, Any]]:
    """Yields the examples of `read_squad` one by one, after reading the complete JSON file."""
    columns = read_squad(path, labeled=labeled)
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _read_json(path: str | Path) -> Iterator[tuple[str, Any, Any]]:
    """Location, context and question of each question in a file."""
    value = parse_json("\n".join(line for _, line in read_lines(path)), path)
    for i, article in enumerate(_get(value, "data", str(path), list)):
        for j, paragraph in enumerate(_get(article, "paragraphs", f"{path}, data[{i}]", list)):
            location = f"{path}, data[{i}].paragraphs[{j}]"
            context = _get(paragraph, "context", location)
            for k, question in enumerate(_get(paragraph, "qas", location, list)):
                yield f"{location}.qas[{k}]", context, question


def _read_rows(path: str | Path) -> Iterator[tuple[str, Any, Any]]:
    """Location, context and question of each row of a table, where ``answers`` is a dictionary of lists."""
    for location, record in read_records(path, header=True):
        if missing := [name for name in ("question", "context") if name not in record]:
            raise InputError(
                f"{location}: there is no column {missing[0]!r}; the columns are {', '.join(map(repr, record))}. "
                "question, context and, to train or evaluate, answers were expected. Rename the columns."
            )
        question = {**record, "id": str(record.get("id", location))}
        answers = record.get("answers")
        if isinstance(answers, dict):
            question["answers"] = _to_rows(answers, location)
        yield location, record["context"], question


def _to_rows(answers: dict[str, Any], location: str) -> list[dict[str, Any]]:
    """Returns a dictionary per answer for a dictionary of lists."""
    try:
        return [dict(zip(answers, row, strict=True)) for row in zip(*answers.values(), strict=True)]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{location}: answers is {answers!r:.200}; the lists text and answer_start, of the same length, were "
            "expected."
        ) from error


def _get(value: Any, key: str, location: str, kind: type = object) -> Any:
    """Returns a required field of a JSON object."""
    if not isinstance(value, dict):
        raise InputError(f"{location} is a JSON {type(value).__name__}; an object with a field {key!r} was expected.")
    if key not in value or not isinstance(value[key], kind):
        problem = f"{key!r} is a {type(value[key]).__name__}" if key in value else f"there is no {key!r}"
        raise InputError(f"{location}: {problem}. SQuAD has data, paragraphs, context, qas, id, question and answers.")
    return value[key]


def _read_answers(question: dict[str, Any], location: str) -> dict[str, list[Any]]:
    if question.get("is_impossible"):
        return {"text": [], "answer_start": []}
    answers = _get(question, "answers", location, list)
    texts = [check_text(_get(answer, "text", location), name="the answer", location=location) for answer in answers]
    return {"text": texts, "answer_start": [_get(answer, "answer_start", location, int) for answer in answers]}


def _check_starts(path: str | Path, columns: Columns) -> None:
    """Raises ``InputError`` if a context does not have an answer at its ``answer_start``."""
    wrong = [
        (location, context, start, text)
        for location, context, answers in zip(columns["location"], columns["context"], columns["answers"], strict=True)
        for start, text in zip(answers["answer_start"], answers["text"], strict=True)
        if not text or start < 0 or not context.startswith(text, start)
    ]
    if wrong:
        location, context, start, text = wrong[0]
        total = sum(len(answers["text"]) for answers in columns["answers"])
        raise InputError(
            f"{path}: {len(wrong)} of {total} answers are not at their answer_start. The first is {location}: "
            f"the answer is {text!r}, but at {start} the context has {context[max(start, 0) :][: len(text) + 1]!r}. "
            "Correct answer_start, which counts characters (not bytes) from 0, or remove these answers."
        )
