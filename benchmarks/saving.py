"""What it costs a training to save its state every minute.

    python benchmarks/saving.py        # 15 minutes on two cores; needs 10 GB of memory, 3 GB of disk

Fine-tuning steps of BERT-base and of MiniLM, some twenty seconds in all, with one state saved on the way, in the
background, and without, in turns in one process. A state is whole: checksum, flush to the disk, renaming.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from report import table, write
from same_batch import SameBatch
from train_step import SIZES, TRAINING, batch

MOST = 1.02
# Steps of some twenty seconds.
STEPS = {"BERT-base": 6, "MiniLM": 50}


def training(size: str) -> Callable[[bool], tuple[float, int]]:
    """A classifier's training: the seconds of its steps with or without a state, and how many bytes that has."""
    from keras_bert_impl import BertConfig, BertForSequenceClassification
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import SaveStates, Saving, adamw, resumable_fit

    config, shape, _ = SIZES[size]
    model = BertForSequenceClassification(BertConfig(**config))
    model.compile(optimizer=adamw(**TRAINING, steps=10_000), **TASKS["classification"].compile_arguments())
    inputs, labels = batch(shape)
    same = SameBatch(inputs, {"logits": labels})
    steps = STEPS[size]

    def turn(saves: bool) -> tuple[float, int]:
        directory = Path(tempfile.mkdtemp(dir="."))  # Not in memory, as /tmp may be.
        try:
            states = SaveStates(directory, Saving(minutes=0, steps=steps // 2 + 1 if saves else 0))
            begin = time.perf_counter()
            resumable_fit(model, same, states=states, steps=steps, steps_per_epoch=steps, verbose=0)
            return time.perf_counter() - begin, sum(path.stat().st_size for path in directory.iterdir())
        finally:
            shutil.rmtree(directory)

    return turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    verdicts, rows = [], []
    for size in SIZES:
        turn = training(size)
        turn(True)
        found = []
        for number in range(arguments.rounds):
            without, (saving, size_of_state) = turn(False)[0], turn(True)
            found.append((without, saving))
            print(f"  {size}, round {number + 1}: {without:.2f} s without, {saving:.2f} s with a state", flush=True)
        low, cost, high = statistics.quantiles([saving - without for without, saving in found], n=4)
        verdict = "reached" if 1 + cost / 60 <= MOST else "**missed**"
        verdicts.append(
            f"- {size}, a state a minute: {1 + cost / 60:.4f} × the time ({1 + low / 60:.4f} to {1 + high / 60:.4f}), "
            f"at most {MOST}: {verdict}"
        )
        without, saving = (statistics.median(turns) for turns in zip(*found, strict=True))
        rows.append((size, f"{without:.2f}", f"{saving:.2f}", f"{cost:.2f}", f"{size_of_state / 1e6:.0f}"))
    header = ("size", "s without, median", "s with a state, median", "s a state costs, median", "MB of a state")
    write("Saving the state of a training", "\n".join(verdicts), table(header, rows))


if __name__ == "__main__":
    main()
