"""The time that saving a state once a minute adds to training.

    python benchmarks/saving.py        # 15 minutes on two cores; needs 10 GB of memory, 5 GB of disk

Fine-tuning of BERT-base and of MiniLM, in parts of ten to twenty seconds. A state is saved in the background during
every second part and none during the others. Saving includes the checksum, the flush to the disk and the renaming.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
from report import make_table, write
from same_batch import SameBatch
from train_step import SIZES, TRAINING, make_batch

MAX_ADDED = 0.02
# Steps in a part.
STEPS = {"BERT-base": 6, "MiniLM": 80}


class Parts(keras.callbacks.Callback):
    """Records the seconds of each part of a training run."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.moments: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (batch + 1) % self.steps == 0:
            self.moments.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """The seconds of each part but the first."""
        return [end - begin for begin, end in pairwise(self.moments)]


def measure(size: str, rounds: int) -> tuple[list[tuple[float, float]], int]:
    """Seconds of a part with a state and without, for the first state and for each round; bytes of a state."""
    from keras_bert_impl import BertConfig, BertForSequenceClassification
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import SaveStates, SavingSettings, adamw, fit_with_resume

    config, shape, _ = SIZES[size]
    model = BertForSequenceClassification(BertConfig(**config))
    model.compile(optimizer=adamw(**TRAINING, steps=10_000), **TASKS["classification"].make_compile_arguments())
    inputs, labels = make_batch(shape)
    same = SameBatch(inputs, {"logits": labels})
    parts = Parts(STEPS[size])
    steps = 2 * STEPS[size]
    with tempfile.TemporaryDirectory(dir=".") as name:  # Because /tmp may be in memory.
        states = SaveStates(name, SavingSettings(minutes=0, steps=steps))
        total = steps * (rounds + 2)
        fit_with_resume(model, same, states=states, steps=total, steps_per_epoch=total, verbose=0, callbacks=[parts])
        size_of_state = max(path.stat().st_size for path in Path(name).iterdir())
    # The first moment is the end of part 1. A state is saved at the start of parts 3, 5, 7, …
    return list(zip(parts.seconds[1::2], parts.seconds[2::2], strict=False)), size_of_state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    verdicts, rows = [], []
    for size in SIZES:
        (first, *pairs), size_of_state = measure(size, arguments.rounds)
        for saving, without in (first, *pairs):
            print(f"  {size}: {saving:.2f} s with a state, {without:.2f} s without", flush=True)
        low, cost, high = statistics.quantiles([saving - without for saving, without in pairs], n=4)
        verdict = "reached" if cost / 60 <= MAX_ADDED else "**missed**"
        verdicts.append(
            f"- {size}, a state once a minute adds {cost / 60:.2%} to the time ({low / 60:.2%} to {high / 60:.2%}), "
            f"at most {MAX_ADDED:.0%}: {verdict}"
        )
        saving, without = (statistics.median(turns) for turns in zip(*pairs, strict=True))
        seconds = (without, saving, cost, first[0] - first[1])
        rows.append((size, *(f"{value:.2f}" for value in seconds), f"{size_of_state / 1e6:.0f}"))
    header = ("size", "s without, median", "s with a state, median", "s a state costs", "s the first costs", "MB")
    write("Saving the state of a training run", "\n".join(verdicts), make_table(header, rows))


if __name__ == "__main__":
    main()
