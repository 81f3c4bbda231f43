"""Graph that selects the best of several choices for a text."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.base import TEXT, Endpoint, ServedModel, Tensors, make_ids_endpoint

# One example for the README, by argument.
EXAMPLE = {"text": "She opened the umbrella because", "choices": ["it rained.", "it was a film."]}


def make_endpoints(served: ServedModel) -> dict[str, Endpoint]:
    """``serving_default`` over ``text``, strings ``[batch]``, and ``choices``, strings ``[batch, choices]``; ``ids``.

    ``serving_default`` returns the task's prediction and ``choice``, strings ``[batch]``, the text of the best choice.
    ``ids`` returns the model's ``logits``.
    """

    def serve_choices(text: Any, choices: Any) -> Tensors:
        count = tf.shape(choices)[1]
        rows = served.in_graph(tf.repeat(text, count), tf.reshape(choices, [-1]), max_length=served.max_length)
        inputs = {
            name: tf.reshape(values, tf.stack([tf.size(text), count, tf.shape(values)[1]]))
            for name, values in rows.items()
        }
        predictions = served.task.serve(served.run(inputs), served)
        return {**predictions, "choice": tf.gather(choices, predictions["label"], batch_dims=1)}

    specs = {"text": TEXT, "choices": tf.TensorSpec([None, None], tf.string)}
    return {"serving_default": Endpoint(serve_choices, specs), "ids": make_ids_endpoint(served, served.run)}
