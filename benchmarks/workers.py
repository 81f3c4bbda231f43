"""Two workers with one core each, compared with one process with both cores, on the same batches.

    python benchmarks/workers.py        # 20 minutes on two cores; needs 12 GB of memory

Training steps of a classifier on 32 rows of 128 tokens, as in `finetune` but without saving states: dropout, AdamW,
clipped gradients. The workers exchange their gradients by gRPC. To measure the exchange, two separate processes with
one core each train on 16 rows each at the same time, without exchanging gradients. The three setups take turns, each
time with new processes.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

from report import make_table, write
from same_batch import SameBatch
from train_step import BASE, MINILM, TRAINING, make_batch

ROWS, LENGTH = 32, 128
MIN_RATIO = 0.8
# The model, and the number of timed steps, which follow the same number of steps without timing.
SIZES = {"MiniLM": (MINILM, 12), "BERT-base": (BASE, 3)}
KINDS = {
    "one process, two cores": [[0, 1]],
    "two workers, a core each": [[0], [1]],
    "two separate processes": [[0], [1]],
}


def run_job(kind: str, size: str, cores: list[int]) -> None:
    """Trains in this process; prints the seconds of a step."""
    os.sched_setaffinity(0, cores)
    import keras

    from keras_bert_impl import BertConfig, BertForSequenceClassification
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import FineTuningSettings, adamw, start_strategy

    class Timer(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begin = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds = time.perf_counter() - self.begin

    config, steps = SIZES[size]
    with start_strategy("multiworker" if "TF_CONFIG" in os.environ else None) as distribution:
        with distribution.scope():
            model = BertForSequenceClassification(BertConfig(**config))
            arguments = TASKS["classification"].make_compile_arguments()
            distribution.compile(model, adamw(**TRAINING, steps=10_000), arguments, settings=FineTuningSettings())
        timer = Timer()
        inputs, labels = make_batch((ROWS // 2 if kind == "two separate processes" else ROWS, LENGTH))
        batches = distribution.split(SameBatch(inputs, {"logits": labels}))
        common = {"steps_per_epoch": steps, "epochs": 2, "verbose": 0, "shuffle": False}
        model.fit(distribution.feed(batches), callbacks=[timer], **common)
    print(json.dumps(timer.seconds / steps))


def measure_seconds(kind: str, size: str) -> float:
    """The seconds of a step in the slower process."""
    ports = []
    with contextlib.ExitStack() as stack:
        for _ in KINDS[kind]:
            reserved = stack.enter_context(socket.socket())
            reserved.bind(("127.0.0.1", 0))
            ports.append(reserved.getsockname()[1])
    processes = []
    for index, cores in enumerate(KINDS[kind]):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if kind.startswith("two workers"):
            cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
            task = {"type": "worker", "index": index}
            environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        command = [sys.executable, __file__, "--job", kind, size, json.dumps(cores)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{kind}, {size}: a process failed")
    return max(json.loads(output.splitlines()[-1]) for output in outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--job", nargs=3, metavar=("KIND", "SIZE", "CORES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        kind, size, cores = arguments.job
        run_job(kind, size, json.loads(cores))
        return
    verdicts, rows = [], []
    for size in arguments.sizes:
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(arguments.rounds):
            for kind, turns in times.items():
                turns.append(measure_seconds(kind, size))
                print(f"  {size}, {kind}: {turns[-1]:.3f} s a step", flush=True)
        one, two, separate = (statistics.median(turns) for turns in times.values())
        verdict = "reached" if one / two >= MIN_RATIO else "**missed**"
        verdicts.append(
            f"- {size}: two workers are {one / two:.3f} times as fast as one process, at least {MIN_RATIO}: {verdict}"
        )
        verdicts.append(
            f"- {size}: {max(0.0, two - separate) / two:.1%} of the workers' step is the exchange of gradients and "
            f"waiting for each other; two separate processes are {one / separate:.3f} times as fast as one process"
        )
        rows += [
            (size, kind, f"{statistics.median(turns):.3f}", f"{min(turns):.3f} to {max(turns):.3f}")
            for kind, turns in times.items()
        ]
    header = ("size", "processes", "s a step, median", "range")
    write(
        "Two workers with one core each, compared with one process with two",
        "\n".join(verdicts),
        make_table(header, rows),
    )


if __name__ == "__main__":
    main()
