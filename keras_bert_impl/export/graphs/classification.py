"""Labels, or a value, for texts and pairs of texts."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.served import TEXT, Endpoint, Served, Tensors, ids_endpoint
from keras_bert_impl.tasks.lookup import task_of


def endpoints(served: Served) -> dict[str, Endpoint]:
    """``serving_default`` over ``text``, ``pair`` over ``text`` and ``text_pair``, and ``ids``.

    Each gives ``label``, strings ``[batch]``, and ``scores``, float32 ``[batch, labels]``: the probabilities of the
    labels, or the value itself from a regression. ``ids`` also gives ``logits``.
    """
    is_regression = task_of(served.config).name == "regression"

    def answer(inputs: Tensors) -> Tensors:
        logits = served.run(inputs)["logits"]
        names = tf.constant(list(served.config.id2label.values()))
        return {
            "label": tf.gather(names, tf.argmax(logits, axis=-1)),
            "scores": logits if is_regression else tf.nn.softmax(logits),
            "logits": logits,
        }

    def without_logits(inputs: Tensors) -> Tensors:
        return {name: value for name, value in answer(inputs).items() if name != "logits"}

    def of_text(text: Any) -> Tensors:
        return without_logits(served.in_graph(text, max_length=served.max_length))

    def of_pair(text: Any, text_pair: Any) -> Tensors:
        return without_logits(served.in_graph(text, text_pair, max_length=served.max_length))

    found = {"serving_default": Endpoint(of_text, {"text": TEXT}), "ids": ids_endpoint(answer)}
    if served.config.type_vocab_size > 1:
        found["pair"] = Endpoint(of_pair, {"text": TEXT, "text_pair": TEXT})
    return found
