"""Runs a model over encoded examples and gives what a task makes of the outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import Features, LengthBatches, restore_order
from keras_bert_impl.data.columns import Columns
from keras_bert_impl.tasks.task import Task

# Takes a batch of named inputs, gives the named outputs: a model's ``predict_on_batch``, or a served signature.
Run = Callable[[dict[str, np.ndarray]], dict[str, Any]]


def predict(
    run: Run,
    features: Features,
    columns: Columns,
    *,
    task: Task,
    config: BertConfig,
    max_tokens: int = 4096,
    lengths: tuple[int, ...] = (),
) -> list[dict[str, Any]]:
    """Predictions for examples, in their order; rows of similar length share batches.

    Args:
        run: the model.
        features: the encoded examples; labels in them are not looked at.
        columns: the examples.
        task: the task's row.
        config: the model's configuration.
        max_tokens: tokens in a batch, padding included.
        lengths: the lengths that batches may be padded to; empty for the longest row of each batch.

    Returns:
        a dictionary for each example, ready for JSON.
    """
    batches = LengthBatches(features, 1, lengths=lengths, max_tokens=max_tokens)
    outputs = (run(batches[k][0]) for k in range(len(batches)))
    return task.decode(restore_order(outputs, batches, per_token=task.per_token), features, columns, config)
