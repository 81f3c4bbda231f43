"""Compares the time and the peak memory of two checkouts of this package: inference, training step, pretraining step.

    python benchmarks/two_commits.py OLD_CHECKOUT      # 25 minutes on two cores

BERT-base with 8 rows of 128 tokens and BERT-tiny with 64, in float32; training uses dropout and AdamW. The checkouts
take turns. Memory is the peak of two calls above that of the imports, the median of three processes. Time and memory of
this checkout may be at most 2 % above those of the old one.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from interleave import Peer, Ratio, run
from peak_memory import measure_in_processes, measure_peak
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a checkout to compare this one with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory", nargs=3, metavar=("CHECKOUT", "JOB", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        checkout, job, size = options.memory
        sys.path.insert(0, checkout)
        imports = ("tensorflow", "keras_bert_impl.models")
        print(json.dumps(measure_peak(imports, lambda: JOBS[job](checkout, size))))
        return
    checkouts = {"before": str(options.old.resolve()), "after": str(ROOT)}
    verdicts, runs, rows = [], [], []
    for size in SIZES:
        for job, make in JOBS.items():
            peers = [Peer(name, make, {"checkout": path, "size": size}) for name, path in checkouts.items()]
            series = run(peers, rounds=options.rounds)
            runs.append(series)
            speed = Ratio.compute(series["after"], series["before"])
            memory = {name: measure_in_processes(".", "--memory", path, job, size) for name, path in checkouts.items()}
            memory_ratio = memory["before"] / memory["after"]
            name = f"{job}, {size}, {ROWS[size]} × 128 tokens"
            for what, ratio in (("time", speed.medians), ("memory", memory_ratio)):
                verdict = "reached" if ratio >= 1 / (1 + MAX_DIFFERENCE) else "**missed**"
                verdicts.append(
                    f"- {name}: {what} before, divided by that after: {ratio:.3f}, at least 0.98: {verdict}"
                )
            times = [f"{series[each].median * 1e3:.1f}" for each in checkouts]
            rows.append(
                (name, *times, str(speed), *(f"{memory[each]:,.0f}" for each in checkouts), f"{memory_ratio:.3f}")
            )
    header = (
        "job",
        "ms before",
        "ms after",
        "times as fast after",
        "MB before",
        "MB after",
        "MB before divided by after",
    )
    write(
        "Two commits: time and memory",
        f"- Commits: {get_commit(options.old)} before, {get_commit(ROOT)} after\n"
        f"- {PREDICTIONS} predictions a row, {WORDS:,} words; {options.rounds} rounds",
        "\n".join(verdicts),
        describe_load(*runs),
        make_table(header, rows),
    )


if __name__ == "__main__":
    main()
