"""Runs a model over encoded examples and decodes its outputs."""

from typing import Any

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import LengthBatches, restore_order
from keras_bert_impl.data.columns import Columns
from keras_bert_impl.data.features import Features
from keras_bert_impl.tasks.base import Run, Task


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
    """Predicts examples, in their order. Rows of similar length share batches.

    Args:
        run: the model.
        features: the encoded examples.
        columns: the examples.
        task: the task.
        config: the model's configuration.
        max_tokens: the maximum number of tokens in a batch, padding included.
        lengths: the lengths that batches may be padded to; empty for the longest row of each batch.

    Returns:
        a dictionary per example, ready for JSON.
    """
    batches = LengthBatches(features, 1, lengths=lengths, max_tokens=max_tokens)
    outputs = (task.reduce(run(batch[0]), *batch[:2]) for batch in map(batches.__getitem__, range(len(batches))))
    return task.decode(restore_order(outputs, batches, per_token=task.per_token), features, columns, config)
