"""The job of ``finetune.py`` in this package, with ``compile`` and ``fit``.

The schedule, the optimizer's settings and the rows are those of ``finetune_torch.py``. A batch has rows of similar
length. It runs in its own process, so that time and memory are measured separately.

    python benchmarks/finetune_keras.py CHECKPOINT DATA_DIRECTORY --seed 1 --precision float32

Prints the same JSON object as ``finetune_torch.py``.
"""

import argparse
import json
import os
import time
from pathlib import Path

from finetune_torch import read_peak_megabytes

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

from keras_bert_impl import BertForSequenceClassification, BertTokenizer
from keras_bert_impl.data import LengthBatches, make_fit_data, read_table
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.training import PRECISIONS, adamw


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--limit", type=int, help="number of training rows, from the first")
    arguments = parser.parse_args()

    tf.constant(0.0)
    floor = read_peak_megabytes()
    keras.utils.set_random_seed(arguments.seed)
    task = TASKS["classification"]
    tokenizer = BertTokenizer.from_pretrained(arguments.checkpoint)
    model = BertForSequenceClassification.from_pretrained(
        arguments.checkpoint,
        dtype=PRECISIONS[arguments.precision],
        **task.make_config_changes(["negative", "positive"]),
    )
    columns = read_table(arguments.data / "train.tsv")
    columns = {name: values[: arguments.limit] for name, values in columns.items()}
    encode = {"tokenizer": tokenizer, "config": model.config, "max_length": 128}
    features = task.encode(columns, **encode)
    batches = LengthBatches(features, arguments.batch_size, seed=arguments.seed, epochs=arguments.epochs)
    optimizer = adamw(learning_rate=arguments.learning_rate, steps=len(batches))
    model.compile(optimizer=optimizer, **task.make_compile_arguments())
    start = time.perf_counter()
    model.fit(
        make_fit_data(batches), steps_per_epoch=batches.per_epoch, epochs=arguments.epochs, shuffle=False, verbose=0
    )
    seconds = time.perf_counter() - start
    memory = read_peak_megabytes() - floor

    masks = [batches[k][0]["attention_mask"] for k in range(len(batches))]
    padded = sum(mask.size for mask in masks) / sum(int(mask.sum()) for mask in masks)
    result = {"seconds": seconds, "megabytes": memory, "padded_per_real": padded, "seed": arguments.seed}
    for split in ("valid", "test"):
        held_out = read_table(arguments.data / f"{split}.tsv")
        encoded = task.encode(held_out, **encode)
        predictions = task.predict(model.predict_on_batch, encoded, held_out, config=model.config)
        right = [int(p["label"] == label) for p, label in zip(predictions, held_out["label"], strict=True)]
        result[split] = {"accuracy": float(np.mean(right)), "right": right}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
