"""Peak memory of training with gradient accumulation and with rematerialization, and the time of rematerialization.

    python benchmarks/training_memory.py        # 25 minutes on two cores; needs 14 GB of memory

Pretraining steps of BERT-base on rows of 128 tokens, with dropout, in float32. Memory is the peak of two steps above
that of the imports, the median of three processes. Activations are the memory of 32 rows minus that of one row. In the
report, ``recomputed`` means with rematerialization, and ``kept`` without.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

from interleave import Peer, Ratio, run
from peak_memory import measure_in_processes, measure_peak
from pretrain_step import SIZES, TRAINING, make_batch
from report import describe_load, make_table, write

SMALL, PARTS = 32, 8
MAX_ACCUMULATED, MAX_STORED, MAX_TIME = 1.1, 0.5, 1.35
# Rows, parts of the batch, rematerialization.
CASES = {
    "one row": (1, 1, False),
    "one row, recomputed": (1, 1, True),
    f"{SMALL} rows": (SMALL, 1, False),
    f"{SMALL} rows, recomputed": (SMALL, 1, True),
    f"{SMALL * PARTS} rows in {PARTS} parts": (SMALL * PARTS, PARTS, False),
}


def make_training(size: str, rows: int, parts: int, remat: bool) -> Callable[[], Any]:
    """A training step, as in `pretrain`; it returns the number of weights."""
    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import PretrainingSettings, adamw, start_strategy

    model = BertForPreTraining(BertConfig(**SIZES[size]))
    settings = PretrainingSettings(accumulate=parts, remat=remat)
    with start_strategy() as distribution:
        distribution.compile(
            model, adamw(**TRAINING, steps=10_000), TASKS["pretraining"].make_compile_arguments(), settings=settings
        )
    ids, segments, positions, labels = make_batch(rows)
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
        print(
            json.dumps(
                measure_peak(("tensorflow", "keras_bert_impl.training"), lambda: make_training(size, *CASES[case]))
            )
        )
        return
    size = arguments.size
    megabytes = {}
    for case in CASES:
        megabytes[case] = measure_in_processes("--measure", size, case)
        print(f"  {case}: {megabytes[case]:,.0f} MB", flush=True)
    one, one_remat, small, small_remat, large = megabytes.values()
    peers = [
        Peer(name, make_training, {"size": size, "rows": SMALL, "parts": 1, "remat": name == "recomputed"})
        for name in ("kept", "recomputed")
    ]
    series = run(peers, rounds=arguments.rounds, warm_up=1)
    weights = 4 * series["kept"].first / 2**20
    accumulated = large / (small + weights)
    stored = (small_remat - one_remat) / (small - one)
    time = Ratio.compute(series["kept"], series["recomputed"]).medians
    lines = [
        (
            f"memory of {SMALL * PARTS} rows in {PARTS} parts, divided by that of {SMALL} rows and the weights",
            accumulated,
            MAX_ACCUMULATED,
        ),
        ("activations stored with rematerialization, divided by those without", stored, MAX_STORED),
        ("time of a step with rematerialization, divided by that without", time, MAX_TIME),
    ]
    verdicts = [
        f"- {name}: {ratio:.3f}, at most {limit}: {'reached' if ratio <= limit else '**missed**'}"
        for name, ratio, limit in lines
    ]
    rows = [(case, f"{value:,.0f}") for case, value in megabytes.items()] + [("the weights", f"{weights:,.0f}")]
    times = [(name, f"{turns.median:.2f}") for name, turns in series.items()]
    write(
        f"Memory of training, {size}",
        "\n".join(verdicts),
        describe_load(series),
        make_table(("what", "MB"), rows),
        make_table((f"{SMALL} rows", "s a step, median"), times),
    )


if __name__ == "__main__":
    main()
