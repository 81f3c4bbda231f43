"""Graph that predicts the words at each ``[MASK]``."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.base import TEXT, Endpoint, ServedModel, Tensors, make_ids_endpoint, pad_rows
from keras_bert_impl.export.tokenizer.ragged_ops import lower_bound

# One example for the README, by argument.
EXAMPLE = {"text": "The [MASK] crossed the river."}


def make_endpoints(served: ServedModel) -> dict[str, Endpoint]:
    """``serving_default`` over ``text``, and ``ids``.

    ``serving_default`` returns the predictions for each ``[MASK]``: ``tokens``, strings ``[batch, masks, k]``, and
    ``scores``; texts with fewer masks are padded with empty strings and zeros. ``ids`` returns the model's outputs.
    """

    def serve_text(text: Any) -> Tensors:
        inputs = served.in_graph(text, max_length=served.max_length)
        index = tf.cast(tf.where(inputs["input_ids"] == served.tokenizer.mask_token_id), tf.int32)
        splits = lower_bound(index[:, 0], tf.range(tf.size(text) + 1))
        positions = pad_rows(index[:, 1], splits, 0)
        masks = tf.shape(positions)[1]
        # The model needs at least one position.
        positions = tf.pad(positions, [[0, 0], [0, tf.maximum(1 - masks, 0)]])
        logits = served.run({**inputs, "masked_lm_positions": positions})[served.task.output][:, :masks]
        is_mask = (tf.range(masks)[None] < (splits[1:] - splits[:-1])[:, None])[:, :, None]
        predictions = served.task.serve({served.task.output: logits}, served)
        return {
            name: tf.where(is_mask, values, "" if values.dtype == tf.string else 0.0)
            for name, values in predictions.items()
        }

    return {"serving_default": Endpoint(serve_text, {"text": TEXT}), "ids": make_ids_endpoint(served, served.run)}
