"""Graph that makes one prediction for each word of a text."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.base import (
    TEXT,
    Endpoint,
    ServedModel,
    Tensors,
    Windows,
    arrange_text_windows,
    count_covered_tokens,
    count_max_words,
    cut_substrings,
    make_ids_endpoint,
    pad_rows,
)
from keras_bert_impl.export.tokenizer.in_graph import count_tokens
from keras_bert_impl.export.tokenizer.ragged_ops import decode, find_positions, indices_where, lower_bound
from keras_bert_impl.tasks.tagging import get_overlap

# One example for the README, by argument.
EXAMPLE = {"text": "It was a great movie."}


def make_endpoints(served: ServedModel) -> dict[str, Endpoint]:
    """``serving_default`` over ``text``, and ``ids``.

    The first returns for each word, as BERT's tokenizer splits words, ``tokens``, strings ``[batch, words]``, the
    task's predictions, each ``[batch, words]``, and the word's characters in the text: ``start`` and ``end``, int32.
    Texts with fewer words are padded with empty strings, zeros and -1. A long text is split into windows that overlap
    by a quarter; a word is predicted in the window in which it has the most context. ``ids`` returns the ``logits``.
    """

    def serve_text(text: Any) -> Tensors:
        size = served.max_length - 2
        overlap = get_overlap(served.max_length)
        tokens = served.in_graph.tokenize(text, max_words=count_max_words(served.max_length), with_offsets=True)
        rows, inputs = arrange_text_windows(served, tokens, overlap)
        logits = served.run(inputs)["logits"]

        # The first token of each word, as far as the windows reach.
        owner, number = find_positions(count_tokens(tokens))
        in_reach = number < tf.gather(count_covered_tokens(rows), owner)
        token = indices_where(tokens.is_first & in_reach)
        owner, number = tf.gather(owner, token), tf.gather(number, token)
        row = _find_best_row(rows, owner, number, step=size - overlap)
        of_words = tf.gather_nd(logits, tf.stack([row, 1 + number - tf.gather(rows.start, row)], 1))
        predictions = served.task.serve({"logits": of_words}, served)

        # A word ends where its last token does: before the next word's first token, or at the end of its text.
        splits = lower_bound(token, tokens.splits)
        next_first = tf.concat([token[1:], [0]], axis=0)
        is_last = tf.range(tf.size(token)) + 1 == tf.gather(splits, owner + 1)
        last = tf.where(is_last, tf.gather(tokens.splits, owner + 1), next_first) - 1
        begin, end = tf.gather(tokens.begin, token), tf.gather(tokens.end, last)
        points, text_splits = decode(text)
        offset = tf.gather(text_splits, owner)
        return {
            "tokens": pad_rows(cut_substrings(points, offset + begin, offset + end), splits, ""),
            **{
                name: pad_rows(values, splits, "" if values.dtype == tf.string else 0)
                for name, values in predictions.items()
            },
            "start": pad_rows(begin, splits, -1),
            "end": pad_rows(end, splits, -1),
        }

    return {"serving_default": Endpoint(serve_text, {"text": TEXT}), "ids": make_ids_endpoint(served, served.run)}


def _find_best_row(rows: Windows, owner: Any, number: Any, *, step: int) -> Any:
    """Returns the window with the most context for each token ``number`` of text ``owner``."""
    first_row = tf.gather(tf.cumsum(rows.count, exclusive=True), owner)
    later = first_row + tf.minimum(number // step, tf.gather(rows.count, owner) - 1)
    earlier = tf.maximum(later - 1, first_row)

    def compute_context(row: Any) -> Any:
        position = number - tf.gather(rows.start, row)
        return tf.minimum(position, tf.gather(rows.length, row) - position)

    return tf.where(compute_context(earlier) >= compute_context(later), earlier, later)
