"""Answers to questions, as parts of a given context."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.served import (
    TEXT,
    Endpoint,
    Served,
    Tensors,
    all_words,
    ids_endpoint,
    substrings,
    windows,
)
from keras_bert_impl.export.tokenizer.in_graph import lengths_of
from keras_bert_impl.export.tokenizer.ragged_ops import decode
from keras_bert_impl.tasks.question_answering import CANDIDATES, LONGEST_ANSWER, LONGEST_QUESTION, OR_NO_ANSWER

# A logit that no answer has, and its candidate's place.
_NONE = -1e30


def endpoints(served: Served) -> dict[str, Endpoint]:
    """``serving_default`` over ``question`` and ``context``, and ``ids``.

    The first gives ``answer``, strings ``[batch]``, its place in the context in characters, ``start`` and ``end``,
    int32 ``[batch]``, and ``score``, float32 ``[batch]``: its probability among the 20 best candidates. Without an
    answer it is empty, and both places are -1. A long context is read in windows that overlap by a third of a row.
    ``ids`` gives the model's ``start_logits`` and ``end_logits``.
    """
    may_have_none = list(served.config.id2label.values()) == OR_NO_ANSWER

    def of_text(question: Any, context: Any) -> Tensors:
        batch = tf.size(question)
        tokens = served.in_graph.tokens(
            tf.concat([question, context], axis=0), max_words=all_words(served.max_length), with_offsets=True
        )
        starts, lengths = (tf.split(part, 2) for part in (tokens.splits[:-1], lengths_of(tokens)))
        asked = tf.minimum(lengths[0], min(LONGEST_QUESTION, served.max_length // 4))
        rows = windows(lengths[1], served.max_length - 3 - asked, served.max_length // 3)
        asked = tf.gather(asked, rows.text)
        question_part = (tf.gather(starts[0], rows.text), asked)
        context_part = (tf.gather(starts[1], rows.text) + rows.start, rows.length)
        inputs, place = served.in_graph.rows(tokens.ids, question_part, context_part)
        outputs = served.run(inputs)
        start, end = outputs["start_logits"], outputs["end_logits"]

        logit, first, last = _candidates(start, end, asked + 2, rows.length)
        first, last = (tf.gather(place, column, batch_dims=1) for column in (first, last))
        # Candidates that do not exist have the logit of none; any place will do for them.
        size = tf.size(tokens.ids)
        begin, stop = (
            tf.gather(tf.concat([values, [0, 0, 0]], 0), tf.minimum(at, size))
            for values, at in (
                (tokens.begin, first),
                (tokens.end, last),
            )
        )
        no_answer = tf.math.unsorted_segment_min(start[:, 0] + end[:, 0], rows.text, batch)
        logit, begin, stop = _best_of_text(rows.count, logit, begin, stop)
        logits = tf.concat([logit, no_answer[:, None]], axis=1) if may_have_none else logit
        is_there = tf.cast(logits > _NONE, tf.float32)
        weights = tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True)) * is_there
        score = tf.math.divide_no_nan(tf.reduce_max(weights, axis=1), tf.reduce_sum(weights, axis=1))

        has_answer = logit[:, 0] > _NONE
        if may_have_none:
            has_answer &= logit[:, 0] >= no_answer
        begin, stop = begin[:, 0], stop[:, 0]
        points, splits = decode(context)
        answer = substrings(
            points, splits[:-1] + tf.where(has_answer, begin, 0), splits[:-1] + tf.where(has_answer, stop, 0)
        )
        return {
            "answer": answer,
            "start": tf.where(has_answer, begin, -1),
            "end": tf.where(has_answer, stop, -1),
            "score": score,
        }

    return {
        "serving_default": Endpoint(of_text, {"question": TEXT, "context": TEXT}),
        "ids": ids_endpoint(served.run),
    }


def _candidates(start: Any, end: Any, first: Any, length: Any) -> tuple[Any, Any, Any]:
    """The best spans of each row: the sums of their logits, their first and last columns, each ``[rows, 20]``.

    Args:
        start: float32 ``[rows, columns]``.
        end: the same.
        first: int32 ``[rows]``, the column at which a row's context begins.
        length: int32 ``[rows]``, its tokens.
    """
    columns = tf.shape(start)[1]
    column = tf.range(columns)[None]
    in_context = (column >= first[:, None]) & (column < (first + length)[:, None])
    start = tf.where(in_context, start, _NONE)
    end = tf.pad(tf.where(in_context, end, _NONE), [[0, 0], [0, LONGEST_ANSWER - 1]], constant_values=_NONE)
    reach = tf.range(columns)[:, None] + tf.range(LONGEST_ANSWER)[None]
    sums = tf.reshape(start[:, :, None] + tf.gather(end, reach, axis=1), [tf.shape(start)[0], columns * LONGEST_ANSWER])
    logit, place = tf.math.top_k(sums, k=CANDIDATES)
    first, extra = place // LONGEST_ANSWER, place % LONGEST_ANSWER
    return tf.maximum(logit, _NONE), first, tf.minimum(first + extra, columns - 1)


def _best_of_text(count: Any, logit: Any, begin: Any, stop: Any) -> tuple[Any, Any, Any]:
    """The best different spans of each text from those of its rows: logits and places, each ``[texts, 20]``."""

    def gathered(values: Any, fill: Any) -> Any:
        rows = tf.RaggedTensor.from_row_lengths(values, count, validate=False).to_tensor(default_value=fill)
        flat = tf.reshape(rows, [tf.size(count), tf.shape(rows)[1] * CANDIDATES])
        # Without any text there are no rows, but the best ones are looked for all the same.
        return tf.pad(flat, [[0, 0], [0, CANDIDATES]], constant_values=fill)

    logit, begin, stop = gathered(logit, _NONE), gathered(begin, 0), gathered(stop, 0)
    order = tf.argsort(logit, axis=1, direction="DESCENDING", stable=True)
    logit, begin, stop = (tf.gather(values, order, batch_dims=1) for values in (logit, begin, stop))
    # Windows overlap, so that a span can be there twice: the better one counts.
    same = (begin[:, :, None] == begin[:, None, :]) & (stop[:, :, None] == stop[:, None, :])
    earlier = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0) - tf.linalg.band_part(tf.cast(same, tf.int32), 0, 0)
    logit = tf.where(tf.reduce_max(earlier, axis=2) > 0, _NONE, logit)
    logit, order = tf.math.top_k(logit, k=CANDIDATES)
    return logit, tf.gather(begin, order, batch_dims=1), tf.gather(stop, order, batch_dims=1)
