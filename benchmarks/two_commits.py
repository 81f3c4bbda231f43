"""Compares the time and the peak memory of two checkouts of this package: inference, training step, pretraining step.

    python benchmarks/two_commits.py OLD_CHECKOUT      # 80 minutes on two cores

BERT-base with 8 rows of 128 tokens and BERT-tiny with 64, in float32; training uses dropout and AdamW. The checkouts
take turns. The same code is up to 20 % faster in one process than in another, so each comparison is repeated in new
processes; the ratio is the median. Memory is the peak of two calls above that of the imports, the median of three
processes. Time and memory of this checkout may be at most 2 % above those of the old one. The operations of all graphs
that TensorFlow traced are counted too: where they are the same, the same kernels run.
"""

import argparse
import collections
import gc
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from interleave import Peer, run
from peak_memory import measure_in_processes, measure_peak, run_script
from pretrain_step import PREDICTIONS, SIZES, TRAINING, WORDS, make_batch, make_training_batch
from report import describe_load, get_commit, make_table, write

ROOT = Path(__file__).resolve().parent.parent
ROWS = {"tiny": 64, "base": 8}
MAX_DIFFERENCE = 0.02


def use(checkout: str) -> None:
    """Makes this process import the package from a checkout."""
    sys.path.insert(0, checkout)
    import keras_bert_impl

    assert Path(keras_bert_impl.__file__).is_relative_to(checkout), keras_bert_impl.__file__


def make_inference(checkout: str, size: str) -> Callable[[], Any]:
    """Inference with ``BertModel``."""
    use(checkout)
    from keras_bert_impl import BertConfig, BertModel

    model = BertModel(BertConfig(**SIZES[size]))
    ids, segments, _, _ = make_batch(ROWS[size])
    inputs = {"input_ids": ids, "token_type_ids": segments, "attention_mask": np.ones_like(ids)}
    return lambda: float(model.predict_on_batch(inputs)["pooler_output"].ravel()[0])


def make_training_step(checkout: str, size: str) -> Callable[[], Any]:
    """A training step of a classifier."""
    use(checkout)
    import keras

    from keras_bert_impl import BertConfig, BertForSequenceClassification
    from keras_bert_impl.training import adamw

    model = BertForSequenceClassification(BertConfig(**SIZES[size]))
    loss = {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    model.compile(adamw(**TRAINING, steps=10_000), loss=loss)
    ids, segments, _, labels = make_batch(ROWS[size])
    inputs = {"input_ids": ids, "token_type_ids": segments, "attention_mask": np.ones_like(ids)}
    return lambda: float(model.train_on_batch(inputs, {"logits": labels}))


def make_pretraining_step(checkout: str, size: str) -> Callable[[], Any]:
    """A pretraining step."""
    use(checkout)
    from keras_bert_impl import BertConfig, BertForPreTraining, tasks
    from keras_bert_impl.training import adamw

    if "pretraining" in tasks.TASKS:
        arguments = tasks.TASKS["pretraining"].make_compile_arguments()
    else:  # A commit in which pretraining is not a task yet.
        from keras_bert_impl.tasks.pretraining import pretraining_compile

        arguments = pretraining_compile()
    model = BertForPreTraining(BertConfig(**SIZES[size]))
    model.compile(adamw(**TRAINING, steps=10_000), **arguments)
    arrays = make_training_batch(ROWS[size])
    return lambda: float(model.train_on_batch(*arrays, return_dict=True)["loss"])


JOBS = {"inference": make_inference, "training step": make_training_step, "pretraining step": make_pretraining_step}


def count_operations(checkout: str, job: str, size: str) -> dict[str, int]:
    """Counts the operations of each type in all graphs that two calls trace in this process."""
    call = JOBS[job](checkout, size)
    call()
    call()
    from tensorflow.python.framework.func_graph import FuncGraph

    gc.collect()  # Graphs that were traced for their shapes only are garbage.
    graphs = [each for each in gc.get_objects() if isinstance(each, FuncGraph)]
    return dict(collections.Counter(operation.type for graph in graphs for operation in graph.get_operations()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a checkout to compare this one with")
    parser.add_argument("--starts", type=int, default=5, help="new processes for each comparison")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each process")
    parser.add_argument("--memory", nargs=3, metavar=("CHECKOUT", "JOB", "SIZE"), help=argparse.SUPPRESS)
    parser.add_argument("--operations", nargs=3, metavar=("CHECKOUT", "JOB", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        checkout, job, size = options.memory
        sys.path.insert(0, checkout)
        imports = ("tensorflow", "keras_bert_impl.models")
        print(json.dumps(measure_peak(imports, lambda: JOBS[job](checkout, size))))
        return
    if options.operations:
        print(json.dumps(count_operations(*options.operations)))
        return
    checkouts = {"before": str(options.old.resolve()), "after": str(ROOT)}
    verdicts, runs, rows = [], [], []
    for size in SIZES:
        for job, make in JOBS.items():
            name = f"{job}, {size}, {ROWS[size]} × 128 tokens"
            print(name, flush=True)
            peers = [Peer(each, make, {"checkout": path, "size": size}) for each, path in checkouts.items()]
            started = [run(peers[:: (-1) ** number], rounds=options.rounds) for number in range(options.starts)]
            runs += started
            ratios = [series["before"].median / series["after"].median for series in started]
            times = [f"{statistics.median(series[each].median for series in started) * 1e3:.1f}" for each in checkouts]
            memory = {each: measure_in_processes(".", "--memory", path, job, size) for each, path in checkouts.items()}
            speed, memory_ratio = statistics.median(ratios), memory["before"] / memory["after"]
            for what, ratio in (("time", speed), ("memory", memory_ratio)):
                verdict = "reached" if ratio >= 1 / (1 + MAX_DIFFERENCE) else "**missed**"
                verdicts.append(
                    f"- {name}: {what} before, divided by that after: {ratio:.3f}, at least 0.98: {verdict}"
                )
            before, after = (run_script(".", "--operations", path, job, size) for path in checkouts.values())
            different = {each for each in {*before, *after} if before.get(each) != after.get(each)}
            operations = f"all {sum(after.values()):,} the same" if not different else ", ".join(sorted(different))
            rows.append(
                (
                    name,
                    *times,
                    f"{speed:.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
                    *(f"{memory[each]:,.0f}" for each in checkouts),
                    f"{memory_ratio:.3f}",
                    operations,
                )
            )
    header = (
        "job",
        "ms before",
        "ms after",
        "times as fast after",
        "MB before",
        "MB after",
        "MB before divided by after",
        "operations",
    )
    write(
        "Two commits: time and memory",
        f"- Commits: {get_commit(options.old)} before, {get_commit(ROOT)} after\n"
        f"- {PREDICTIONS} predictions a row, {WORDS:,} words; {options.starts} starts of {options.rounds} rounds",
        "\n".join(verdicts),
        describe_load(*runs),
        make_table(header, rows),
    )


if __name__ == "__main__":
    main()
