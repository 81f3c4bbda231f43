"""Losses of training with MirroredStrategy on the GPUs of this machine, compared with those on one CPU.

    python benchmarks/gpu_mirrored.py                   # all GPUs; 3 minutes
    python benchmarks/gpu_mirrored.py --devices 2       # without GPUs: two logical devices of the CPU

Fifty pretraining steps of the size tiny on batches of 48 rows of different lengths, without dropout, in float32, on
TensorFlow. It was not run on a GPU yet.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
from gpu_batches import find_gpu
from report import make_table, write

STEPS, ROWS = 50, 48
MAX_DIFFERENCE = 1e-4


def run_job(strategy: str | None, devices: int | None) -> None:
    """Trains in this process; prints losses, replicas and the seconds of a step."""
    import keras
    import tensorflow as tf

    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.data import LengthBatches
    from keras_bert_impl.data.batches import Features, Ragged
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import PretrainingSettings, adamw, start_strategy

    tf.config.experimental.enable_tensor_float_32_execution(False)  # TF32 matrix products have fewer digits.
    draw = np.random.default_rng(1)
    texts = [draw.integers(1000, 30522, length) for length in draw.integers(12, 128, STEPS * ROWS)]
    positions = np.tile(np.arange(1, 11, dtype=np.int32), (len(texts), 1))
    features = Features(
        {"input_ids": Ragged.from_rows(texts, dtype=np.int32), "masked_lm_positions": positions},
        {
            "prediction_logits": np.stack([text[1:11] for text in texts]).astype(np.int32),
            "seq_relationship_logits": np.array([text[0] % 2 for text in texts], np.int32),
        },
        {},
        np.arange(len(texts)),
    )
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with start_strategy(strategy, devices=devices) as distribution:
        keras.utils.set_random_seed(1)
        with distribution.scope():
            model = BertForPreTraining(BertConfig.preset("tiny", **none))
            optimizer = adamw(learning_rate=1e-3, steps=STEPS)
            distribution.compile(
                model, optimizer, TASKS["pretraining"].make_compile_arguments(), settings=PretrainingSettings()
            )
        feed = distribution.feed(distribution.split(LengthBatches(features, ROWS, seed=1)))
        begin = time.perf_counter()
        losses = model.fit(feed, steps_per_epoch=1, epochs=STEPS, verbose=0, shuffle=False).history["loss"]
    print(json.dumps([losses, distribution.replicas, (time.perf_counter() - begin) / STEPS]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int)
    parser.add_argument("--job", choices=["one", "mirrored"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(*(("mirrored", arguments.devices) if arguments.job == "mirrored" else (None, None)))
        return
    results = {}
    for name in ("one", "mirrored"):
        command = [sys.executable, __file__, "--job", name]
        command += ["--devices", str(arguments.devices)] if arguments.devices else []
        hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if name == "one" else {}
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", **hidden}
        output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        results[name] = json.loads(output.splitlines()[-1])
    (one, _, _), (many, replicas, _) = results.values()
    apart = max(abs(a - b) / a for a, b in zip(one, many, strict=True))
    verdict = "reached" if apart <= MAX_DIFFERENCE else "**missed**"
    rows = [
        (name, str(count), f"{losses[0]:.5f}", f"{losses[-1]:.5f}", f"{seconds * 1e3:.0f}")
        for name, (losses, count, seconds) in results.items()
    ]
    write(
        "MirroredStrategy compared with one CPU",
        f"- GPU: {find_gpu()}",
        f"- {replicas} replicas, {STEPS} steps: the largest relative difference of the losses is {apart:.1e}, at most "
        f"{MAX_DIFFERENCE}: {verdict}",
        make_table(("devices", "replicas", "first loss", "last loss", "ms a step, compilation included"), rows),
    )


if __name__ == "__main__":
    main()
