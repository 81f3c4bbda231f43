"""Reads texts with annotated spans of characters, and lists of tagged words, from JSON and tables in memory."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from keras_bert_impl.data.tables import Records, check_text, make_column_error, read_lines, read_records
from keras_bert_impl.data.tag_schemes import Entity, make_tags
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import parse_json

# Chinese characters, which BERT's tokenizer splits into words of one character.
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ceaf\U0002f800-\U0002fa1f"
# Japanese text changes between hiragana and katakana at most boundaries of words and names.
_HIRAGANA, _KATAKANA = "\u3041-\u309f", "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_WORD = re.compile(rf"[{_HAN}]|[{_HIRAGANA}]+|[{_KATAKANA}]+|[^\W{_HAN}{_HIRAGANA}{_KATAKANA}]+|[^\w\s]")

# Names of the columns, and of the fields of a span that is an object: those of Doccano, of Label Studio, of data sets
# for transformers, and of predictions of this package.
_TEXTS = ("words", "tokens", "text")
_SPANS = ("label", "labels", "entities")
_TAGS = ("tags", "ner_tags", "label", "labels")
_SPAN_FIELDS = {
    "begin": ("start", "start_offset", "begin"),
    "end": ("end", "end_offset"),
    "label": ("label", "labels", "kind"),
}


def split_words(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """Splits a text into words and punctuation; each Chinese character is a word, and kana are of one kind.

    Returns:
        the words, and the start and end of each in the text.

    >>> split_words("Ada, again")
    (['Ada', ',', 'again'], [(0, 3), (3, 4), (5, 10)])
    >>> split_words("東京タワーで")[0]
    ['東', '京', 'タワー', 'で']
    """
    matches = list(_WORD.finditer(text))
    return [match[0] for match in matches], [match.span() for match in matches]


def iterate_tagged(
    path: str | Path, *, labeled: bool = True, text: str | None = None, label: str | None = None
) -> Iterator[dict[str, Any]]:
    r"""Reads texts with annotated spans, or words with a tag each, one example after the other.

    A row has a text and a list of spans. A span is a list, ``[begin, end, "LABEL"]``, or an object with ``start``,
    ``end`` and ``label``, as Doccano (JSONL) and Label Studio (JSON-MIN) export them; it counts characters from 0.
    Label Studio's JSON is read too: the first annotation of each task that was not cancelled. Or a row has a list of
    words and a list of tags.

    Args:
        path: a ``.jsonl`` or ``.json`` file, or ``tfds:NAME:SPLIT``.
        labeled: whether spans and tags are read; false for prediction.
        text: the column with the text or the words; None: ``words``, ``tokens`` or ``text``.
        label: the column with the spans or the tags; None: for spans ``label``, ``labels`` or ``entities``, for tags
            ``tags``, ``ner_tags``, ``label`` or ``labels``.

    Yields:
        a dictionary per example: ``location``, ``words``, and if ``labeled`` ``label``, a tag per word. For a text also
        ``text``, and ``spans``, the characters of each word. The tags are in the scheme BIO; a word that is partly in a
        span belongs to it completely.

    Raises:
        InputError: the file cannot be used; or a span is empty, outside of its text, contains no word, or overlaps with
            another. The message names the line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "doccano.jsonl")
    >>> _ = path.write_text('{"text": "Ada Lovelace was here", "label": [[0, 12, "person"]]}\n')
    >>> next(iterate_tagged(path))["label"]
    ['B-person', 'I-person', 'O', 'O']
    """
    is_json = Path(str(path)).suffix.lower() == ".json"
    keys: set[str] = set()
    for location, record in _read_json(path) if is_json else read_records(path, header=True):
        if "annotations" in record:
            record = _flatten_task(record, location, labeled=labeled)
        content = _take(record, text, _TEXTS, location, "the text or the words")
        is_split = isinstance(content, list)
        kind, usual = ("the tags", _TAGS) if is_split else ("the spans", _SPANS)
        annotation = _take(record, label, usual, location, kind) if labeled else None
        if labeled and annotation is None:
            raise InputError(f"{location}: {kind} are missing. Add them, or remove the row.")
        make = _make_words_example if is_split else _make_text_example
        example = {"location": location, **make(content, annotation, location)}
        keys = keys or set(example)
        if keys != set(example):
            raise InputError(f"{location}: texts and lists of words were found; one of them was expected in all rows.")
        yield example


def _read_json(path: str | Path) -> Records:
    """Yields the objects of a JSON list; their locations are counted from 1."""
    value = parse_json("\n".join(line for _, line in read_lines(path)), path)
    if not isinstance(value, list) or not value:
        raise InputError(f"{path} contains a JSON {type(value).__name__}; a list of annotated texts was expected.")
    for number, record in enumerate(value, 1):
        location = f"{path}, example {number}"
        if not isinstance(record, dict):
            raise InputError(f"{location} is a JSON {type(record).__name__}; an object with named fields was expected.")
        yield location, record


def _flatten_task(record: Mapping[str, Any], location: str, *, labeled: bool) -> dict[str, Any]:
    """Returns a task in Label Studio's JSON as a row: the fields of its data, and the spans as ``label``."""
    try:
        kept = [annotation["result"] for annotation in record["annotations"] if not annotation.get("was_cancelled")]
        if labeled and not kept:
            raise InputError(f"{location} has no annotation. Annotate the task, or remove it.")
        results = kept[0] if kept else []
        return {**record["data"], "label": [result["value"] for result in results if result["type"] == "labels"]}
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{location} has 'annotations', but not in the form of Label Studio's JSON ({error!r}). Export JSON again."
        ) from error


def _take(record: Mapping[str, Any], chosen: str | None, usual: tuple[str, ...], location: str, content: str) -> Any:
    """Returns the column that the user named, or the first of the usual ones."""
    names = (chosen,) if chosen else usual
    name = next((name for name in names if name in record), None)
    if name is None:
        raise make_column_error(record, names, f"contains {content}", location=location)
    return record[name]


def _make_words_example(words: list[Any], tags: Any, location: str) -> dict[str, Any]:
    example = {"words": [check_text(word, name="a word", location=location) for word in words]}
    if tags is None:
        return example
    if not isinstance(tags, list) or len(tags) != len(words):
        raise InputError(f"{location}: the tags are {tags!r:.200}; a list of {len(words)} was expected, one per word.")
    return {**example, "label": [check_text(tag, name="a tag", location=location) for tag in tags]}


def _make_text_example(text: Any, annotation: Any, location: str) -> dict[str, Any]:
    check_text(text, name="the text", location=location)
    words, spans = split_words(text)
    example = {"text": text, "words": words, "spans": spans}
    if annotation is None:
        return example
    if not isinstance(annotation, list):
        raise InputError(f"{location}: the spans are {annotation!r:.200}; a list of spans was expected.")
    entities = [_make_entity(span, text, spans, location) for span in annotation]
    entities.sort(key=lambda entity: entity.begin)
    for one, other in pairwise(entities):
        if other.begin < one.end:
            raise InputError(
                f"{location}: a span of {one.kind!r} and a span of {other.kind!r} have the word "
                f"{words[other.begin]!r} in common; a word has one tag. Remove one of the spans."
            )
    return {**example, "label": make_tags(entities, len(words))}


def _make_entity(span: Any, text: str, words: list[tuple[int, int]], location: str) -> Entity:
    """Returns the words of a span of characters."""
    begin, end, label = _parse_span(span, text, location)
    if not 0 <= begin <= end <= len(text):
        problem = f"is outside of the text, which has {len(text)} characters"
    elif begin == end:
        problem = "is empty"
    else:
        inside = [i for i, (first, last) in enumerate(words) if first < end and begin < last]
        if inside:
            return Entity(label, inside[0], inside[-1] + 1)
        problem = f"contains no word, but {text[begin:end]!r}"
    raise InputError(f"{location}: the span {[begin, end, label]!r} {problem}. Correct or remove it.")


def _parse_span(span: Any, text: str, location: str) -> tuple[int, int, str]:
    """Returns the start, the end and the label of a span."""
    if isinstance(span, Mapping):
        fields = [
            next((span[name] for name in names if span.get(name) is not None), None) for names in _SPAN_FIELDS.values()
        ]
    else:
        fields = span if isinstance(span, list) else [span]
    begin, end, label = fields if len(fields) == 3 else (None, None, None)
    if isinstance(label, list) and len(label) == 1:
        (label,) = label
    if type(begin) is not int or type(end) is not int or not isinstance(label, str) or not label:
        raise InputError(
            f"{location}: the span {span!r:.200} was not understood; [begin, end, 'LABEL'], or an object with start, "
            "end and label, was expected."
        )
    # Other programs may count UTF-16 units or bytes.
    if isinstance(span, Mapping) and isinstance(span.get("text"), str) and span["text"] != text[begin:end]:
        raise InputError(
            f"{location}: the span {[begin, end, label]!r} has the text {span['text']!r:.100}, but the text has "
            f"{text[begin:end]!r:.100} there. Correct the numbers, which count characters from 0."
        )
    return begin, end, label
