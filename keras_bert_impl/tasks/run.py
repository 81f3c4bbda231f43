"""Runs a model over encoded examples and gives what a task makes of the outputs."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import LengthBatches, restore
from keras_bert_impl.data.columns import Columns
from keras_bert_impl.tasks.task import Task
from keras_bert_impl.tokenization import BertTokenizer

# Takes a batch of named inputs, gives the named outputs: a model's ``predict_on_batch``, or a served signature.
Run = Callable[[dict[str, np.ndarray]], dict[str, Any]]


def predict(
    run: Run,
    columns: Columns,
    *,
    task: Task,
    tokenizer: BertTokenizer,
    config: BertConfig,
    max_length: int,
    batch_size: int = 64,
    lengths: tuple[int, ...] = (),
) -> list[dict[str, Any]]:
    """Predictions for examples, in their order; rows of similar length share batches.

    Args:
        run: the model.
        columns: the examples; labels in them are not looked at.
        task: the task's row.
        tokenizer: the model's tokenizer.
        config: the model's configuration.
        max_length: the longest row in tokens.
        batch_size: rows in a batch.
        lengths: the lengths that batches may be padded to; empty for the longest row of each batch.

    Returns:
        a dictionary for each example, ready for JSON.
    """
    unlabelled = {name: values for name, values in columns.items() if name != "label"}
    features = task.encode(unlabelled, tokenizer, config, max_length=max_length)
    if not len(features):
        return []
    batches = LengthBatches(features, batch_size, lengths=lengths)

    def outputs() -> Iterator[dict[str, Any]]:
        for k in range(len(batches)):
            yield run(batches[k][0])

    return task.decode(restore(outputs(), batches, per_token=task.per_token), features, columns, config)
