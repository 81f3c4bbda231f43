"""The time of ``fit`` on raw strings, compared with ``fit`` on ids that were prepared before.

    python benchmarks/raw_strings.py CHECKPOINT keras_bert_impl/assets/movie_snippets

One call is an epoch over the training snippets. The time of strings includes the tokenizer. The prepared ids are the
same batches of similar length; and, in another run, all texts padded to the longest, as ``fit`` takes them from the
tokenizer, and a ``tf.data.Dataset`` of strings, whose batches are in the order of the texts.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, run
from report import Target, describe_load, make_table, write

BATCH_SIZE, MAX_LENGTH = 32, 128


def make_fit(checkpoint: Path, data: Path, limit: int, kind: str) -> Callable[[], Any]:
    """Returns a function that trains for one epoch."""
    import keras
    import tensorflow as tf

    from keras_bert_impl import BertForSequenceClassification
    from keras_bert_impl.data import LengthBatches, make_fit_data, read_table
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import adamw

    task = TASKS["classification"]
    keras.utils.set_random_seed(1)
    model = BertForSequenceClassification.from_pretrained(
        checkpoint, **task.make_config_changes(["negative", "positive"])
    )
    model.max_length = MAX_LENGTH
    columns = {name: values[:limit] for name, values in read_table(data / "train.tsv").items()}
    model.compile(adamw(learning_rate=5e-5, steps=10_000), **task.make_compile_arguments())
    texts, names = columns["text"], columns["label"]
    options: dict[str, Any] = {"verbose": 0}
    if kind == "strings":
        return lambda: model.fit(texts, names, batch_size=BATCH_SIZE, **options).history["loss"]
    if kind == "dataset of strings":
        dataset = tf.data.Dataset.from_tensor_slices((texts, names)).batch(BATCH_SIZE)
        return lambda: model.fit(dataset, **options).history["loss"]
    features = task.encode(columns, model.tokenizer, model.config, max_length=MAX_LENGTH)
    if kind == "ids":
        batches = LengthBatches(features, BATCH_SIZE, seed=1)
        return lambda: model.fit(
            make_fit_data(batches), steps_per_epoch=batches.per_epoch, shuffle=False, **options
        ).history["loss"]
    ids = model.tokenizer(texts, max_length=MAX_LENGTH)
    return lambda: model.fit(ids, features.labels, batch_size=BATCH_SIZE, **options).history["loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=2000, help="number of training rows, from the first")
    parser.add_argument("--rounds", type=int, default=11, help="of strings and ids")
    arguments = parser.parse_args()

    same = {"checkpoint": arguments.checkpoint, "data": arguments.data, "limit": arguments.limit}
    compared, others = (
        run([Peer(kind, make_fit, {**same, "kind": kind}) for kind in kinds], rounds=rounds, warm_up=1)
        for kinds, rounds in ((("strings", "ids"), arguments.rounds), (("ids", "padded ids", "dataset of strings"), 3))
    )
    rows = [
        (name, f"{each.median:.2f}", f"{series['ids'].median / each.median:.3f}")
        for series in (compared, others)
        for name, each in series.items()
    ]
    write(
        "fit on raw strings",
        Target("strings", ("ids",), 0.95).format_verdict(compared, f"an epoch over {arguments.limit:,} snippets"),
        describe_load(compared, others),
        make_table(("data", "s per epoch, median", "time of ids divided by it"), rows),
    )


if __name__ == "__main__":
    main()
