"""Graph that answers questions with a span of a context."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.base import (
    TEXT,
    Endpoint,
    ServedModel,
    Tensors,
    arrange_pair_windows,
    count_max_words,
    cut_substrings,
    make_ids_endpoint,
)
from keras_bert_impl.export.tokenizer.ragged_ops import decode
from keras_bert_impl.tasks.question_answering import CANDIDATES, MAX_ANSWER, get_window_sizes, may_have_no_answer

# The logit of candidates that do not exist.
_NONE = -1e30

# One example for the README, by argument.
EXAMPLE = {"question": "What was great?", "context": "The book was dull. The movie was great."}


def make_endpoints(served: ServedModel) -> dict[str, Endpoint]:
    """``serving_default`` over ``question`` and ``context``, and ``ids``.

    The first returns ``answer``, strings ``[batch]``, its characters in the context, ``start`` and ``end``, int32
    ``[batch]``, and ``score``, float32 ``[batch]``: its probability among the 20 best candidates. Without answer the
    string is empty, and ``start`` and ``end`` are -1. A long context is split into windows that overlap by a third of a
    row. ``ids`` returns the model's ``start_logits`` and ``end_logits``.
    """
    allow_no_answer = may_have_no_answer(served.config)

    def serve_text(question: Any, context: Any) -> Tensors:
        batch = tf.size(question)
        tokens = served.in_graph.tokenize(
            tf.concat([question, context], axis=0), max_words=count_max_words(served.max_length), with_offsets=True
        )
        limit, overlap = get_window_sizes(served.max_length)
        rows, inputs, token_index, question_length = arrange_pair_windows(served, tokens, overlap, max_first=limit)
        outputs = served.run(inputs)
        start, end = outputs["start_logits"], outputs["end_logits"]

        logit, first, last = _find_candidates(start, end, question_length + 2, rows.length)
        first, last = (tf.gather(token_index, column, batch_dims=1) for column in (first, last))
        # Candidates that do not exist have the logit `_NONE`, so that their characters do not matter.
        size = tf.size(tokens.ids)
        begin, stop = (
            tf.gather(tf.concat([values, [0, 0, 0]], 0), tf.minimum(at, size))
            for values, at in (
                (tokens.begin, first),
                (tokens.end, last),
            )
        )
        no_answer = tf.math.unsorted_segment_min(start[:, 0] + end[:, 0], rows.text, batch)
        logit, begin, stop = _select_best(rows.count, logit, begin, stop)
        logits = tf.concat([logit, no_answer[:, None]], axis=1) if allow_no_answer else logit
        is_there = tf.cast(logits > _NONE, tf.float32)
        weights = tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True)) * is_there
        score = tf.math.divide_no_nan(tf.reduce_max(weights, axis=1), tf.reduce_sum(weights, axis=1))

        has_answer = logit[:, 0] > _NONE
        if allow_no_answer:
            has_answer &= logit[:, 0] >= no_answer
        begin, stop = begin[:, 0], stop[:, 0]
        points, splits = decode(context)
        answer = cut_substrings(
            points, splits[:-1] + tf.where(has_answer, begin, 0), splits[:-1] + tf.where(has_answer, stop, 0)
        )
        predictions = {
            "answer": answer,
            "start": tf.where(has_answer, begin, -1),
            "end": tf.where(has_answer, stop, -1),
            "score": score,
        }
        return served.task.serve(predictions, served)

    return {
        "serving_default": Endpoint(serve_text, {"question": TEXT, "context": TEXT}),
        "ids": make_ids_endpoint(served, served.run),
    }


def _find_candidates(start: Any, end: Any, first: Any, length: Any) -> tuple[Any, Any, Any]:
    """Finds the best spans of each row: sums of their logits, first columns and last columns, each ``[rows, 20]``.

    Args:
        start: float32 ``[rows, columns]``.
        end: the same.
        first: int32 ``[rows]``, the column of the context's first token.
        length: int32 ``[rows]``, the number of the context's tokens.
    """
    columns = tf.shape(start)[1]
    column = tf.range(columns)[None]
    in_context = (column >= first[:, None]) & (column < (first + length)[:, None])
    start = tf.where(in_context, start, _NONE)
    end = tf.pad(tf.where(in_context, end, _NONE), [[0, 0], [0, MAX_ANSWER - 1]], constant_values=_NONE)
    reach = tf.range(columns)[:, None] + tf.range(MAX_ANSWER)[None]
    sums = tf.reshape(start[:, :, None] + tf.gather(end, reach, axis=1), [tf.shape(start)[0], columns * MAX_ANSWER])
    logit, index = tf.math.top_k(sums, k=CANDIDATES)
    first, extra = index // MAX_ANSWER, index % MAX_ANSWER
    return tf.maximum(logit, _NONE), first, tf.minimum(first + extra, columns - 1)


def _select_best(count: Any, logit: Any, begin: Any, stop: Any) -> tuple[Any, Any, Any]:
    """Selects the best distinct spans of each text from its rows: logits and characters, each ``[texts, 20]``."""

    def group_by_text(values: Any, fill: Any) -> Any:
        rows = tf.RaggedTensor.from_row_lengths(values, count, validate=False).to_tensor(default_value=fill)
        flat = tf.reshape(rows, [tf.size(count), tf.shape(rows)[1] * CANDIDATES])
        # Without texts there are no rows, but top_k below needs columns.
        return tf.pad(flat, [[0, 0], [0, CANDIDATES]], constant_values=fill)

    logit, begin, stop = group_by_text(logit, _NONE), group_by_text(begin, 0), group_by_text(stop, 0)
    order = tf.argsort(logit, axis=1, direction="DESCENDING", stable=True)
    logit, begin, stop = (tf.gather(values, order, batch_dims=1) for values in (logit, begin, stop))
    # Windows overlap, so that a span can occur twice: keep the better one.
    same = (begin[:, :, None] == begin[:, None, :]) & (stop[:, :, None] == stop[:, None, :])
    earlier = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0) - tf.linalg.band_part(tf.cast(same, tf.int32), 0, 0)
    logit = tf.where(tf.reduce_max(earlier, axis=2) > 0, _NONE, logit)
    logit, order = tf.math.top_k(logit, k=CANDIDATES)
    return logit, tf.gather(begin, order, batch_dims=1), tf.gather(stop, order, batch_dims=1)
