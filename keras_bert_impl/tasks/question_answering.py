"""Extractive question answering: the span of a context that answers a question."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features, Ragged
from keras_bert_impl.data.squad import iterate_squad
from keras_bert_impl.data.tables import Columns, location
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Outputs, Prediction, Serving, Summary, TargetLogit, Task, find_words
from keras_bert_impl.tasks.encoding import check_fit, cut_texts, make_model_inputs, softmax
from keras_bert_impl.tasks.squad_metrics import compute_exact_match, compute_f1
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText

# Values of the published run_squad.py: the maximum number of tokens of a question and of an answer, and the number of
# candidates over which the score is normalized.
MAX_QUESTION = 64
MAX_ANSWER = 30
CANDIDATES = 20

# The key of config.json that allows "no answer", which is then scored at [CLS], the first token. It is named after the
# option of transformers' run_qa.py that trains with such questions.
NO_ANSWER_KEY = "version_2_with_negative"


def get_window_sizes(max_length: int) -> tuple[int, int]:
    """Returns the maximum number of a question's tokens, and by how many tokens windows of a context overlap."""
    return min(MAX_QUESTION, max_length // 4), max_length // 3


def may_have_no_answer(config: BertConfig) -> bool:
    """Whether the configuration allows that a question has no answer in its context."""
    return bool(config.extra.get(NO_ANSWER_KEY, False))


class QuestionAnswering(Task):
    """Extractive question answering. Files are in SQuAD format, version 1.1 or 2.0."""

    name: ClassVar[str] = "question-answering"
    model_name: ClassVar[str] = "BertForQuestionAnswering"
    main_metric: ClassVar[str] = "f1"
    config_keys: ClassVar[tuple[str, ...]] = (NO_ANSWER_KEY,)
    graph: ClassVar[str] = "span"
    pipeline_tag: ClassVar[str | None] = "question-answering"
    group_column: ClassVar[str] = "context"
    per_token: ClassVar[bool] = True
    needs_pair: ClassVar[bool] = True
    text_columns: ClassVar[tuple[str, ...]] = ("question", "context")
    label_column: ClassVar[str] = "answers"
    # The mean of both cross entropies, as the published model was trained.
    loss_weights: ClassVar[Mapping[str, float] | None] = {"start_logits": 0.5, "end_logits": 0.5}

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a SQuAD file; see `keras_bert_impl.data.read_squad`."""
        return iterate_squad(path, labeled=labeled, **columns)

    def from_texts(self, texts: Sequence[str], text_pairs: Sequence[Any] | None = None) -> Columns:
        """Returns columns for questions and their contexts.

        Raises:
            InputError: there are no contexts.
        """
        if text_pairs is None:
            raise InputError("a question needs a context: give two texts, the question and the text with its answer.")
        return {"id": [str(i) for i in range(len(texts))], "question": list(texts), "context": list(text_pairs)}

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the names of the model's two outputs per token."""
        return ["start", "end"]

    def make_config_extra(self, columns: Columns, *, max_length: int) -> dict[str, Any]:
        """Whether some questions have no answer, as in SQuAD 2.0."""
        return {NO_ANSWER_KEY: not all(answers["text"] for answers in columns["answers"])}

    def allow_no_answer(self, config: BertConfig, allow: bool) -> BertConfig:
        """Returns the configuration with "no answer" allowed, or not."""
        return replace(config, extra={**config.extra, NO_ANSWER_KEY: allow})

    def parse_label(self, label: Any, columns: Columns, index: int, config: BertConfig) -> dict[str, list[Any]]:
        """Returns the answers of a question; see `Task.parse_label`.

        A label has ``text`` and ``answer_start``, the first character in the context: of one answer, or lists of the
        same length, which are empty if the question has no answer.
        """
        context, where = columns["context"][index], location(columns, index)
        if not isinstance(label, Mapping) or not {"text", "answer_start"} <= label.keys():
            raise InputError(
                f"{where}: the answer is {label!r:.100}; a dictionary with 'text' and 'answer_start' was expected."
            )
        texts, starts = (
            [label[key]] if isinstance(label[key], str | int) else list(label[key]) for key in ("text", "answer_start")
        )
        if len(texts) != len(starts):
            raise InputError(
                f"{where} has {len(texts)} answers and {len(starts)} starts; the same number was expected."
            )
        for text, start in zip(texts, starts, strict=True):
            if context[start : start + len(text)] != text:
                raise InputError(
                    f"{where}: the context has {context[start : start + len(text)]!r:.50} at the character {start}, "
                    f"not the answer {text!r:.50}. Correct answer_start, which counts characters from 0."
                )
        return {"text": texts, "answer_start": starts}

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes question and context; a long context becomes several windows that overlap by a third of a row.

        Labels are int32 ``[rows]``: first and last token of the first answer, 0 if the row does not contain the
        complete answer. ``alignment["characters"]`` contains each token's first character and the one after its last,
        ``[tokens, 2]``, -1 outside of contexts.

        Raises:
            InputError: ``max_length`` exceeds the model's positions.
        """
        check_fit(tokenizer, config, max_length=max_length, pairs=True)
        limit, overlap = get_window_sizes(max_length)
        questions, _ = cut_texts(columns["question"], tokenizer, max_tokens=limit)
        rows = tokenizer(
            questions,
            columns["context"],
            padding=False,
            truncation="only_second",
            max_length=max_length,
            stride=overlap,
            return_offsets=True,
            return_text_ids=True,
            return_overflowing=True,
        )
        inputs = make_model_inputs(rows, tokenizer)
        example = rows["overflow_to_sample_mapping"]
        in_context = np.concatenate(rows["text_ids"]) == 1
        offsets = inputs["input_ids"].offsets
        characters = np.where(in_context[:, None], np.concatenate(rows["offset_mapping"]), -1)
        labels = _find_answer_tokens(columns["answers"], example, characters, offsets) if "answers" in columns else {}
        return Features(inputs, labels, {}, example=example, alignment={"characters": Ragged(characters, offsets)})

    def make_loss(self) -> dict[str, Any]:
        """Cross entropies of start and end over the tokens of a row."""
        from keras_bert_impl.tasks.losses import make_cross_entropy

        return {"start_logits": make_cross_entropy(), "end_logits": make_cross_entropy()}

    def make_metrics(self) -> dict[str, Any]:
        """Returns the fractions of rows with the right start and the right end."""
        from keras_bert_impl.tasks.losses import make_accuracy

        return {"start_logits": [make_accuracy()], "end_logits": [make_accuracy()]}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per question its ``id``, ``answer``, ``start`` and ``end`` (characters of the context), and ``score``.

        The answer is the span with the largest sum of logits in any of the question's windows. A span has 1 to 30
        tokens. If the configuration allows "no answer" and its logit is larger, ``answer`` is empty and ``start`` and
        ``end`` are None. ``score`` is the probability among the 20 best candidates.
        """
        start_logits, end_logits = outputs["start_logits"], outputs["end_logits"]
        characters = features.alignment["characters"]
        spans: list[list[_Span]] = [[] for _ in columns["id"]]
        no_answer = np.full(len(spans), np.inf)
        for row, example in enumerate(features.example):
            start, end = start_logits[row].astype(np.float64), end_logits[row].astype(np.float64)
            spans[example] += _find_best_spans(start, end, characters[row])
            no_answer[example] = min(no_answer[example], start[0] + end[0])
        allow = may_have_no_answer(config)
        return [
            {"id": columns["id"][i], **_choose(candidates, columns["context"][i], no_answer[i] if allow else None)}
            for i, candidates in enumerate(spans)
        ]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """``exact_match`` and ``f1``, the means over all questions, from 0 to 1."""
        references = [answers["text"] for answers in columns["answers"]]
        answers = [prediction["answer"] for prediction in predictions]
        pairs = list(zip(answers, references, strict=True))
        return {
            "exact_match": float(np.mean([compute_exact_match(*pair) for pair in pairs])),
            "f1": float(np.mean([compute_f1(*pair) for pair in pairs])),
        }

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``answer``, strings ``[batch]``; ``start`` and ``end``, int32 ``[batch]``, -1 without answer; ``score``."""
        return {name: outputs[name] for name in ("answer", "start", "end", "score")}

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the answer."""
        return Summary("Answer", [(prediction["answer"] or "none", prediction["score"])])

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logits of start and end, at the words ``target`` of the context or at the most likely span."""
        context = [word for word in row.words if word.segment == 1 and not word.is_special]
        if not context:
            raise InputError("a question needs a context: give two texts, the question and the text with its answer.")
        if target is not None:
            words = next((words for words in find_words(row, target) if words[0].segment == 1), None)
            if words is None:
                raise InputError(f"the target {target!r} is only in the question. Name words of the context.")
            begin, end = words[0], words[-1]
        else:
            starts = outputs["start_logits"][0, [word.first for word in context]]
            ends = outputs["end_logits"][0, [word.last - 1 for word in context]]
            sums = np.where(np.tri(len(context), dtype=bool).T, starts[:, None] + ends, -np.inf)
            first, last = np.unravel_index(sums.argmax(), sums.shape)
            begin, end = context[first], context[last]
        return [
            TargetLogit(f"logit of the start at {begin.text!r}", "start_logits", begin.first),
            TargetLogit(f"logit of the end at {end.text!r}", "end_logits", end.last - 1),
        ]


class _Span(NamedTuple):
    """A candidate: characters of the context, and the sum of its two logits."""

    start: int
    end: int
    logit: float


def _find_answer_tokens(
    answers: Sequence[Mapping[str, list[Any]]], example: np.ndarray, characters: np.ndarray, offsets: np.ndarray
) -> dict[str, np.ndarray]:
    """Finds the first and last token of the first answer in each row, 0 if the row does not contain it completely."""
    spans = [(a["answer_start"][0], a["answer_start"][0] + len(a["text"][0])) if a["text"] else (0, 0) for a in answers]
    start, end = np.repeat(np.array(spans)[example], np.diff(offsets), axis=0).T
    inside = characters[:, 0] >= 0
    position = np.arange(len(characters)) - np.repeat(offsets[:-1], np.diff(offsets))
    beyond = len(characters)
    first = np.minimum.reduceat(np.where(inside & (characters[:, 1] > start), position, beyond), offsets[:-1])
    last = np.maximum.reduceat(np.where(inside & (characters[:, 0] < end), position, -1), offsets[:-1])
    # A window contains the answer if its text begins at or before the answer's start and ends at or after its end.
    has_start = np.logical_or.reduceat(inside & (characters[:, 0] <= start), offsets[:-1])
    has_end = np.logical_or.reduceat(inside & (characters[:, 1] >= end), offsets[:-1])
    contained = has_start & has_end & (first <= last)
    return {
        "start_logits": np.where(contained, first, 0).astype(np.int32),
        "end_logits": np.where(contained, last, 0).astype(np.int32),
    }


def _find_best_spans(start: np.ndarray, end: np.ndarray, characters: np.ndarray) -> list[_Span]:
    """Returns the best candidates of one row; all arrays have an entry per token."""
    tokens = np.flatnonzero(characters[:, 0] >= 0)
    if not tokens.size:
        return []
    reach = np.concatenate([end[tokens], np.full(MAX_ANSWER - 1, -np.inf)])
    # [start, length - 1]: the sum of both logits.
    sums = start[tokens, None] + np.lib.stride_tricks.sliding_window_view(reach, MAX_ANSWER)
    count = min(CANDIDATES, sums.size)
    best = np.argpartition(sums, -count, axis=None)[-count:]
    best = best[sums.flat[best] > -np.inf]
    first, extra = np.unravel_index(best, sums.shape)
    begin, stop = characters[tokens[first], 0], characters[tokens[first + extra], 1]
    return [_Span(*span) for span in zip(begin.tolist(), stop.tolist(), sums.flat[best].tolist(), strict=True)]


def _choose(spans: list[_Span], context: str, no_answer: float | None) -> dict[str, Any]:
    """Makes a prediction from the candidates of all rows; ``no_answer`` is its logit, or None if not allowed."""
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
