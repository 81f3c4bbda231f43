"""Vectors of texts."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.served import TEXT, Endpoint, Served, Tensors, ids_endpoint


def endpoints(served: Served) -> dict[str, Endpoint]:
    """``serving_default``, which is also ``embed``, over ``text``; and ``ids``.

    The first gives ``mean``, the mean of the last hidden states over a text's tokens, special ones included, as
    sentence-transformers pools them, and ``cls``, the state of ``[CLS]``: float32 ``[batch, hidden]``. ``ids`` gives
    the model's outputs.
    """

    def of_text(text: Any) -> Tensors:
        inputs = served.in_graph(text, max_length=served.max_length)
        states = served.run(inputs)["last_hidden_state"]
        weights = tf.cast(inputs["attention_mask"], tf.float32)[:, :, None]
        return {
            "mean": tf.reduce_sum(states * weights, axis=1) / tf.reduce_sum(weights, axis=1),
            "cls": states[:, 0],
        }

    embed = Endpoint(of_text, {"text": TEXT})
    return {"serving_default": embed, "embed": embed, "ids": ids_endpoint(served.run)}
