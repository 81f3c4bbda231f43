"""Peak memory of training with accumulated gradients and with recomputed blocks, and the time that recomputing takes.

    python benchmarks/training_memory.py        # 25 minutes on two cores; needs 14 GB of memory

Pretraining steps of BERT-base on rows of 128 tokens, with dropout, in float32. Each value is the peak of two steps
above what the imports take, in processes of their own; the median of three. What rows take beyond one
row counts as activations.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

from interleave import Peer, Ratio, run
from peak_memory import of_processes, peak
from pretrain_step import SIZES, TRAINING, batch
from report import quiet, table, write

SMALL, PARTS = 32, 8
MAX_ACCUMULATED, MAX_KEPT, MAX_TIME = 1.1, 0.5, 1.35
# What is measured: rows, parts, recomputed.
CASES = {
    "one row": (1, 1, False),
    "one row, recomputed": (1, 1, True),
    f"{SMALL} rows": (SMALL, 1, False),
    f"{SMALL} rows, recomputed": (SMALL, 1, True),
    f"{SMALL * PARTS} rows in {PARTS} parts": (SMALL * PARTS, PARTS, False),
}


def training(size: str, rows: int, parts: int, remat: bool) -> Callable[[], Any]:
    """A step, as `pretrain` makes it; returns the number of weights."""
    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import PreTraining, adamw, start_strategy

    model = BertForPreTraining(BertConfig(**SIZES[size]))
    settings = PreTraining(accumulate=parts, remat=remat)
    with start_strategy() as distribution:
        distribution.compile(
            model, adamw(**TRAINING, steps=10_000), TASKS["pretraining"].make_compile_arguments(), settings=settings
        )
    ids, segments, positions, labels = batch(rows)
    inputs = {
        "input_ids": ids,
        "token_type_ids": segments,
        "attention_mask": (ids > 0).astype("int32"),
        "masked_lm_positions": positions,
    }
    targets = {"prediction_logits": ids[:, : positions.shape[1]], "seq_relationship_logits": labels}
    weights = {name: (target >= 0).astype("float32") / target.size * parts for name, target in targets.items()}

    def call() -> int:
        model.train_on_batch(inputs, targets, weights)
        return model.count_params()

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", nargs=2, metavar=("SIZE", "CASE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        size, case = arguments.measure
        print(json.dumps(peak(("tensorflow", "keras_bert_impl.training"), lambda: training(size, *CASES[case]))))
        return
    size = arguments.size
    found = {}
    for case in CASES:
        found[case] = of_processes("--measure", size, case)
        print(f"  {case}: {found[case]:,.0f} MB", flush=True)
    one, one_again, small, small_again, whole = found.values()
    peers = [
        Peer(name, training, {"size": size, "rows": SMALL, "parts": 1, "remat": name == "recomputed"})
        for name in ("kept", "recomputed")
    ]
    series = run(peers, rounds=arguments.rounds, warm_up=1)
    weights = 4 * series["kept"].first / 2**20
    accumulated = whole / (small + weights)
    kept = (small_again - one_again) / (small - one)
    longer = Ratio.of(series["kept"], series["recomputed"]).medians
    lines = [
        (
            f"{SMALL * PARTS} rows in {PARTS} parts, divided by {SMALL} rows and the weights",
            accumulated,
            MAX_ACCUMULATED,
        ),
        ("activations that are kept with rematerialization, divided by all", kept, MAX_KEPT),
        ("time of a step with rematerialization, divided by that without", longer, MAX_TIME),
    ]
    verdicts = [
        f"- {name}: {ratio:.3f}, at most {most}: {'reached' if ratio <= most else '**missed**'}"
        for name, ratio, most in lines
    ]
    rows = [(case, f"{value:,.0f}") for case, value in found.items()] + [("the weights", f"{weights:,.0f}")]
    times = [(name, f"{turns.median:.2f}") for name, turns in series.items()]
    write(
        f"Memory of training, {size}",
        "\n".join(verdicts),
        quiet(series),
        table(("what", "MB"), rows),
        table((f"{SMALL} rows", "s a step, median"), times),
    )


if __name__ == "__main__":
    main()
