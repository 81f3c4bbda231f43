"""Answers to questions, as parts of a given context."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.columns import Columns
from keras_bert_impl.data.features import Features, Ragged
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.encoding import check_fit, model_inputs, softmax
from keras_bert_impl.tasks.squad_metrics import exact_match, f1
from keras_bert_impl.tokenization import BertTokenizer

# Numbers of the published run_squad.py: tokens of a question, tokens of an answer, candidates that share the score.
LONGEST_QUESTION = 64
LONGEST_ANSWER = 30
CANDIDATES = 20

# The names of the two labels tell whether training had questions without answer: these point at [CLS], the first token.
ALWAYS_ANSWERED = ["start", "end"]
OR_NO_ANSWER = ["start or no answer", "end or no answer"]


def from_texts(texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> Columns:
    """Columns for questions and their contexts."""
    if text_pairs is None:
        raise InputError("questions need contexts: give each question as a pair, the context second.")
    return {"id": [str(i) for i in range(len(texts))], "question": list(texts), "context": list(text_pairs)}


def label_names(columns: Columns) -> list[str]:
    """Names of the model's two outputs, which tell whether some questions have no answer (SQuAD 2.0)."""
    return ALWAYS_ANSWERED if all(answers["text"] for answers in columns["answers"]) else OR_NO_ANSWER


def encode(columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
    """Rows of question and context; a long context becomes several rows that overlap by a third of ``max_length``.

    Labels are int32 ``[rows]``: first and last token of the first answer, 0 if the row does not hold it whole.
    ``alignment["characters"]`` has first character and the one behind the last, ``[tokens, 2]``, -1 outside contexts.

    Raises:
        InputError: a ``max_length`` beyond the model's positions.
    """
    check_fit(tokenizer, config, max_length=max_length, pairs=True)
    rows = tokenizer(
        _shortened(columns["question"], tokenizer, limit=min(LONGEST_QUESTION, max_length // 4)),
        columns["context"],
        padding=False,
        truncation="only_second",
        max_length=max_length,
        stride=max_length // 3,
        return_offsets=True,
        return_overflowing=True,
    )
    inputs = model_inputs(rows, tokenizer)
    example = rows["overflow_to_sample_mapping"]
    in_context = inputs["token_type_ids"].flat == 1
    offsets = inputs["input_ids"].offsets
    in_context[offsets[1:] - 1] = False  # the last [SEP]
    characters = np.where(in_context[:, None], np.concatenate(rows["offset_mapping"]), -1)
    labels = _answer_tokens(columns["answers"], example, characters, offsets) if "answers" in columns else {}
    return Features(inputs, labels, {}, example=example, alignment={"characters": Ragged(characters, offsets)})


def _shortened(questions: Sequence[str], tokenizer: BertTokenizer, *, limit: int) -> list[str]:
    """The questions, cut behind so many tokens."""
    shortened = list(questions)
    ids = tokenizer.encode_ragged(questions, truncation=False)["input_ids"]
    long = [i for i, row in enumerate(ids) if len(row) > limit + 2]
    cut = tokenizer([questions[i] for i in long], padding=False, max_length=limit + 2, return_offsets=True)
    for i, spans in zip(long, cut["offset_mapping"], strict=True):
        shortened[i] = questions[i][: spans[-2, 1]]
    return shortened


def _answer_tokens(
    answers: Sequence[Mapping[str, list[Any]]], example: np.ndarray, characters: np.ndarray, offsets: np.ndarray
) -> dict[str, np.ndarray]:
    """Where in each row the first answer starts and ends."""
    spans = [(a["answer_start"][0], a["answer_start"][0] + len(a["text"][0])) if a["text"] else (0, 0) for a in answers]
    start, end = np.repeat(np.array(spans)[example], np.diff(offsets), axis=0).T
    inside = characters[:, 0] >= 0
    position = np.arange(len(characters)) - np.repeat(offsets[:-1], np.diff(offsets))
    beyond = len(characters)
    first = np.minimum.reduceat(np.where(inside & (characters[:, 1] > start), position, beyond), offsets[:-1])
    last = np.maximum.reduceat(np.where(inside & (characters[:, 0] < end), position, -1), offsets[:-1])
    # A window holds the answer if text from before its start (or exactly there) to behind its end is in it.
    begun = np.logical_or.reduceat(inside & (characters[:, 0] <= start), offsets[:-1])
    ended = np.logical_or.reduceat(inside & (characters[:, 1] >= end), offsets[:-1])
    held = begun & ended & (first <= last)
    return {
        "start_logits": np.where(held, first, 0).astype(np.int32),
        "end_logits": np.where(held, last, 0).astype(np.int32),
    }


def loss() -> dict[str, Any]:
    """Cross entropies of start and end over the tokens of a row."""
    import keras

    return {
        "start_logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "end_logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }


def metrics() -> dict[str, Any]:
    """The shares of rows with the right start and the right end."""
    import keras

    return {
        "start_logits": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        "end_logits": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    }


class _Span(NamedTuple):
    """A candidate: characters of the context, and the sum of its two logits."""

    start: int
    end: int
    logit: float


def decode(
    outputs: Mapping[str, Any], features: Features, columns: Columns, config: BertConfig
) -> list[dict[str, Any]]:
    """For each question its ``id``, ``answer``, ``start`` and ``end`` (characters of the context), and ``score``.

    The answer is the span with the largest sum of logits in any of the question's rows that ends where it starts or
    later, and has at most 30 tokens. If the model was trained with questions without answer, and that is more likely,
    ``answer`` is empty and ``start`` and ``end`` are None. ``score`` is the probability among the 20 best candidates.
    """
    start_logits, end_logits = outputs["start_logits"], outputs["end_logits"]
    characters = features.alignment["characters"]
    spans: list[list[_Span]] = [[] for _ in columns["id"]]
    no_answer = np.full(len(spans), np.inf)
    for row, example in enumerate(features.example):
        start, end = start_logits[row].astype(np.float64), end_logits[row].astype(np.float64)
        spans[example] += _best_spans(start, end, characters[row])
        no_answer[example] = min(no_answer[example], start[0] + end[0])
    may_have_none = list(config.id2label.values()) == OR_NO_ANSWER
    return [
        {"id": columns["id"][i], **_choose(found, columns["context"][i], no_answer[i] if may_have_none else None)}
        for i, found in enumerate(spans)
    ]


def _best_spans(start: np.ndarray, end: np.ndarray, characters: np.ndarray) -> list[_Span]:
    """The best candidates of one row; all arrays have an entry a token."""
    tokens = np.flatnonzero(characters[:, 0] >= 0)
    if not tokens.size:
        return []
    reach = np.concatenate([end[tokens], np.full(LONGEST_ANSWER - 1, -np.inf)])
    # [start, length - 1]: the sum of both logits.
    sums = start[tokens, None] + np.lib.stride_tricks.sliding_window_view(reach, LONGEST_ANSWER)
    count = min(CANDIDATES, sums.size)
    best = np.argpartition(sums, -count, axis=None)[-count:]
    best = best[sums.flat[best] > -np.inf]
    first, extra = np.unravel_index(best, sums.shape)
    begin, stop = characters[tokens[first], 0], characters[tokens[first + extra], 1]
    return [_Span(*span) for span in zip(begin.tolist(), stop.tolist(), sums.flat[best].tolist(), strict=True)]


def _choose(spans: list[_Span], context: str, no_answer: float | None) -> dict[str, Any]:
    """The prediction from the candidates of all rows; ``no_answer`` is the logit of having none, if that may be."""
    best: dict[tuple[int, int], _Span] = {}
    for span in sorted(spans, key=lambda span: -span.logit):
        best.setdefault((span.start, span.end), span)
    candidates = list(best.values())[:CANDIDATES]
    logits = [span.logit for span in candidates] + ([] if no_answer is None else [no_answer])
    if not logits:
        return {"answer": "", "start": None, "end": None, "score": 0.0}
    score = float(softmax(np.array(logits)).max())
    if not candidates or logits[-1] > logits[0]:
        return {"answer": "", "start": None, "end": None, "score": score}
    start, end, _ = candidates[0]
    return {"answer": context[start:end], "start": start, "end": end, "score": score}


def score(predictions: list[dict[str, Any]], columns: Columns) -> dict[str, float]:
    """``exact_match`` and ``f1``, the means over all questions, from 0 to 1."""
    references = [answers["text"] for answers in columns["answers"]]
    answers = [prediction["answer"] for prediction in predictions]
    return {
        "exact_match": float(np.mean([exact_match(*pair) for pair in zip(answers, references, strict=True)])),
        "f1": float(np.mean([f1(*pair) for pair in zip(answers, references, strict=True)])),
    }
