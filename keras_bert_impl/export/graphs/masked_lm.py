"""The likeliest words for each masked one."""

from typing import Any

import tensorflow as tf

from keras_bert_impl.export.graphs.served import TEXT, Endpoint, Served, Tensors, dense, ids_endpoint
from keras_bert_impl.export.tokenizer.ragged_ops import lower_bound

# How many words are told for each mask.
MOST_LIKELY = 5


def endpoints(served: Served) -> dict[str, Endpoint]:
    """``serving_default`` over ``text``, and ``ids``.

    The first gives, for each ``[MASK]`` in a text, ``tokens``, strings ``[batch, masks, 5]``, the likeliest first, and
    ``scores``, float32, their probabilities. Behind the last mask of a text stand empty strings and zeros. ``ids``
    gives the model's outputs.
    """

    def of_text(text: Any) -> Tensors:
        inputs = served.in_graph(text, max_length=served.max_length)
        place = tf.cast(tf.where(inputs["input_ids"] == served.tokenizer.mask_token_id), tf.int32)
        splits = lower_bound(place[:, 0], tf.range(tf.size(text) + 1))
        positions = dense(place[:, 1], splits, 0)
        masks = tf.shape(positions)[1]
        # The model wants a position at least.
        positions = tf.pad(positions, [[0, 0], [0, tf.maximum(1 - masks, 0)]])
        outputs = served.run({**inputs, "masked_lm_positions": positions})
        logits = outputs["prediction_logits"] if "prediction_logits" in outputs else outputs["logits"]
        scores, best = tf.math.top_k(tf.nn.softmax(logits[:, :masks]), k=min(MOST_LIKELY, served.config.vocab_size))
        words = tf.constant(
            served.tokenizer.vocabulary + [""] * (served.config.vocab_size - served.tokenizer.vocab_size)
        )
        is_mask = (tf.range(masks)[None] < (splits[1:] - splits[:-1])[:, None])[:, :, None]
        return {"tokens": tf.where(is_mask, tf.gather(words, best), ""), "scores": tf.where(is_mask, scores, 0.0)}

    return {"serving_default": Endpoint(of_text, {"text": TEXT}), "ids": ids_endpoint(served.run)}
