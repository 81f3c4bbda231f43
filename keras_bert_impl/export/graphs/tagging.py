"""A label for each word of a text."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.served import (
    TEXT,
    Endpoint,
    Served,
    Tensors,
    Windows,
    all_words,
    dense,
    ids_endpoint,
    reach,
    substrings,
    windows,
)
from keras_bert_impl.export.tokenizer.in_graph import lengths_of
from keras_bert_impl.export.tokenizer.ragged_ops import decode, indices_where, lower_bound, ragged_positions


def endpoints(served: Served) -> dict[str, Endpoint]:
    """``serving_default`` over ``text``, and ``ids``.

    The first gives, for each word as BERT's tokenizer parts words, ``tokens`` and ``labels``, strings
    ``[batch, words]``, ``scores``, float32, and its place in the text in characters: ``start`` and ``end``, int32.
    Behind the last word of a text stand empty strings, zeros and -1. A long text is read in windows that overlap by a
    quarter; a word's label comes from the one in which it has the most text around it. ``ids`` gives the model's
    ``logits``.
    """

    def of_text(text: Any) -> Tensors:
        size = served.max_length - 2
        overlap = served.max_length // 4
        tokens = served.in_graph.tokens(text, max_words=all_words(served.max_length), with_offsets=True)
        lengths = lengths_of(tokens)
        rows = windows(lengths, tf.fill([tf.size(lengths)], size), overlap)
        first_token = tf.gather(tokens.splits, rows.text) + rows.start
        inputs, _ = served.in_graph.rows(tokens.ids, (first_token, rows.length))
        logits = served.run(inputs)["logits"]

        # The first token of each word, in the windows' reach.
        owner, number = ragged_positions(lengths)
        in_reach = number < tf.gather(reach(rows), owner)
        token = indices_where(tokens.is_first & in_reach)
        owner, number = tf.gather(owner, token), tf.gather(number, token)
        row = _best_row(rows, owner, number, step=size - overlap)
        probabilities = tf.nn.softmax(tf.gather_nd(logits, tf.stack([row, 1 + number - tf.gather(rows.start, row)], 1)))
        best = tf.argmax(probabilities, axis=-1)

        # A word ends where its last token does: before the next word's first token, or at the end of its text.
        splits = lower_bound(token, tokens.splits)
        next_first = tf.concat([token[1:], [0]], axis=0)
        is_last = tf.range(tf.size(token)) + 1 == tf.gather(splits, owner + 1)
        last = tf.where(is_last, tf.gather(tokens.splits, owner + 1), next_first) - 1
        begin, end = tf.gather(tokens.begin, token), tf.gather(tokens.end, last)
        points, text_splits = decode(text)
        offset = tf.gather(text_splits, owner)
        names = tf.constant(list(served.config.id2label.values()))
        return {
            "tokens": dense(substrings(points, offset + begin, offset + end), splits, ""),
            "labels": dense(tf.gather(names, best), splits, ""),
            "scores": dense(tf.reduce_max(probabilities, axis=-1), splits, 0.0),
            "start": dense(begin, splits, -1),
            "end": dense(end, splits, -1),
        }

    return {"serving_default": Endpoint(of_text, {"text": TEXT}), "ids": ids_endpoint(served.run)}


def _best_row(rows: Windows, owner: Any, number: Any, *, step: int) -> Any:
    """For tokens, by their texts and numbers there, the window in which each has the most text around it."""
    first_row = tf.gather(tf.cumsum(rows.count, exclusive=True), owner)
    later = first_row + tf.minimum(number // step, tf.gather(rows.count, owner) - 1)
    earlier = tf.maximum(later - 1, first_row)

    def around(row: Any) -> Any:
        place = number - tf.gather(rows.start, row)
        return tf.minimum(place, tf.gather(rows.length, row) - place)

    return tf.where(around(earlier) >= around(later), earlier, later)
