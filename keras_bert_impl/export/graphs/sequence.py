"""Graph that makes one prediction for a text, or for a pair of texts."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.base import (
    TEXT,
    Endpoint,
    ServedModel,
    Tensors,
    arrange_pair_windows,
    arrange_text_windows,
    count_max_words,
    make_ids_endpoint,
    pool_windows,
)
from keras_bert_impl.tasks.windows import TextWindows, count_first, get_windows

# One example for the README, by argument.
EXAMPLE = {"text": "It was a great movie.", "text_pair": "I liked it a lot."}


def make_endpoints(served: ServedModel) -> dict[str, Endpoint]:
    """``serving_default`` over ``text``, ``pair`` over ``text`` and ``text_pair``, and ``ids``.

    If the task needs pairs, ``serving_default`` takes pairs, and there is no ``pair``. Each signature returns the
    task's prediction; ``ids`` also returns the ``logits``. If the model reads windows, ``ids`` has a row per window,
    and the others pool the logits of the windows of each text.
    """
    windows = get_windows(served.config)

    def predict(*texts: Any) -> Tensors:
        if windows is None:
            outputs = served.run(served.in_graph(*texts, max_length=served.max_length))
        else:
            outputs = {"logits": _compute_pooled_logits(served, windows, *texts)}
        return served.task.serve(outputs, served)

    def serve_ids(inputs: Tensors) -> Tensors:
        outputs = served.run(inputs)
        return {**served.task.serve(outputs, served), "logits": outputs["logits"]}

    def serve_text(text: Any) -> Tensors:
        return predict(text)

    def serve_pair(text: Any, text_pair: Any) -> Tensors:
        return predict(text, text_pair)

    pair = Endpoint(serve_pair, {"text": TEXT, "text_pair": TEXT})
    if served.task.needs_pair:
        return {"serving_default": pair, "ids": make_ids_endpoint(served, serve_ids)}
    signatures = {"serving_default": Endpoint(serve_text, {"text": TEXT}), "ids": make_ids_endpoint(served, serve_ids)}
    # The windows of pairs are shorter, and may be too short for the stride.
    if served.config.type_vocab_size > 1 and (windows is None or windows.fits(served.max_length, pairs=True)):
        signatures["pair"] = pair
    return signatures


def _compute_pooled_logits(served: ServedModel, windows: TextWindows, text: Any, text_pair: Any = None) -> Any:
    """Returns the logits of texts or pairs, pooled over their windows: float32 ``[batch, labels]``."""
    max_words = count_max_words(served.max_length, windows.count)
    if text_pair is None:
        tokens = served.in_graph.tokenize(text, max_words=max_words)
        rows, inputs = arrange_text_windows(served, tokens, windows.stride, max_windows=windows.count)
    else:
        tokens = served.in_graph.tokenize(tf.concat([text, text_pair], axis=0), max_words=max_words)
        rows, inputs, _, _ = arrange_pair_windows(
            served,
            tokens,
            windows.stride,
            max_first=count_first(served.max_length),
            max_windows=windows.count,
        )
    return pool_windows(served.run(inputs)["logits"], rows, windows.pooling)
