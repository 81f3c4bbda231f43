"""A job of ``finetune_tasks.py`` in this package, with ``compile`` and ``fit``.

    python benchmarks/finetune_tasks_keras.py CHECKPOINT DATA --job tagging --seed 1

Prints the same JSON object as ``finetune_tasks_torch.py``.
"""

import json
import os
import time

from finetune_tasks import parse_job, prepare
from finetune_torch import read_peak_megabytes

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import tensorflow as tf

from keras_bert_impl.data import LengthBatches, make_fit_data
from keras_bert_impl.training import adamw


def main():
    arguments = parse_job()
    tf.constant(0.0)
    floor = read_peak_megabytes()
    prepared = prepare(arguments)
    job, spec = prepared.job, prepared.spec
    keras.utils.set_random_seed(arguments.seed)
    model = spec.model_class.from_pretrained(arguments.checkpoint, **prepared.changes)
    batches = LengthBatches(prepared.train, job.batch_size, seed=arguments.seed, epochs=job.epochs)
    optimizer = adamw(learning_rate=job.learning_rate, steps=len(batches))
    model.compile(optimizer=optimizer, jit_compile=False, **spec.make_compile_arguments(prepared.train))
    start = time.perf_counter()
    history = model.fit(
        make_fit_data(batches), steps_per_epoch=batches.per_epoch, epochs=job.epochs, shuffle=False, verbose=0
    )
    seconds = time.perf_counter() - start
    result = {
        "seconds": seconds,
        "megabytes": read_peak_megabytes() - floor,
        "steps": len(batches),
        "loss": history.history["loss"][-1],
        "scores": prepared.score(model.predict_on_batch),
    }
    if arguments.models:
        directory = arguments.models / f"{arguments.job}-{arguments.seed}"
        model.save_pretrained(directory)
        model.tokenizer.save_pretrained(directory)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
