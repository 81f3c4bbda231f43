"""What it costs a training to save its state every minute.

    python benchmarks/saving.py        # 15 minutes on two cores; needs 10 GB of memory, 5 GB of disk

Fine-tuning of BERT-base and of MiniLM. Its steps are counted by tens of seconds: in each second part a state is saved,
in the background, in the others none. A state is whole: checksum, flush to the disk, renaming.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
from report import table, write
from same_batch import SameBatch
from train_step import SIZES, TRAINING, batch

MAX_ADDED = 0.02
# Steps of some twenty seconds.
STEPS = {"BERT-base": 6, "MiniLM": 80}


class Parts(keras.callbacks.Callback):
    """How many seconds each part of a training takes, with the state that may be saved when it begins."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.moments: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (batch + 1) % self.steps == 0:
            self.moments.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        return [end - begin for begin, end in pairwise(self.moments)]


def measured(size: str, rounds: int) -> tuple[list[tuple[float, float]], int]:
    """Seconds with a state and without, for the first state and for those of the rounds; how many bytes a state has."""
    from keras_bert_impl import BertConfig, BertForSequenceClassification
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import SaveStates, Saving, adamw, fit_with_resume

    config, shape, _ = SIZES[size]
    model = BertForSequenceClassification(BertConfig(**config))
    model.compile(optimizer=adamw(**TRAINING, steps=10_000), **TASKS["classification"].make_compile_arguments())
    inputs, labels = batch(shape)
    same = SameBatch(inputs, {"logits": labels})
    parts = Parts(STEPS[size])
    steps = 2 * STEPS[size]
    with tempfile.TemporaryDirectory(dir=".") as name:  # Not in memory, as /tmp may be.
        states = SaveStates(name, Saving(minutes=0, steps=steps))
        total = steps * (rounds + 2)
        fit_with_resume(model, same, states=states, steps=total, steps_per_epoch=total, verbose=0, callbacks=[parts])
        size_of_state = max(path.stat().st_size for path in Path(name).iterdir())
    # The first moment is that after the first part; the second one a state follows, and so on in turns.
    return list(zip(parts.seconds[1::2], parts.seconds[2::2], strict=False)), size_of_state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    verdicts, rows = [], []
    for size in SIZES:
        (first, *found), size_of_state = measured(size, arguments.rounds)
        for saving, without in (first, *found):
            print(f"  {size}: {saving:.2f} s with a state, {without:.2f} s without", flush=True)
        low, cost, high = statistics.quantiles([saving - without for saving, without in found], n=4)
        verdict = "reached" if cost / 60 <= MAX_ADDED else "**missed**"
        verdicts.append(
            f"- {size}, a state once a minute adds {cost / 60:.2%} to the time ({low / 60:.2%} to {high / 60:.2%}), "
            f"at most {MAX_ADDED:.0%}: {verdict}"
        )
        saving, without = (statistics.median(turns) for turns in zip(*found, strict=True))
        seconds = (without, saving, cost, first[0] - first[1])
        rows.append((size, *(f"{value:.2f}" for value in seconds), f"{size_of_state / 1e6:.0f}"))
    header = ("size", "s without, median", "s with a state, median", "s a state costs", "s the first costs", "MB")
    write("Saving the state of a training run", "\n".join(verdicts), table(header, rows))


if __name__ == "__main__":
    main()
