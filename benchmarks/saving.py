"""What it costs a training to save its state every minute.

    python benchmarks/saving.py        # 25 minutes on two cores; needs 12 GB of memory, 3 GB of disk

Fine-tuning steps of about a minute in all, on BERT-base and on MiniLM, with one state saved on the way, in the
background, and without. Both are whole: checksum, flush to the disk, renaming.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, Ratio, run
from report import quiet, table, write
from same_batch import SameBatch
from train_step import SIZES, TRAINING, batch

MOST = 1.02
# Steps of about a minute.
STEPS = {"BERT-base": 18, "MiniLM": 150}


def training(size: str, *, saves: bool) -> Callable[[], Any]:
    """A minute of a classifier's training; returns how many bytes a state has."""
    from keras_bert_impl import BertConfig, BertForSequenceClassification
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import SaveStates, Saving, adamw, resumable_fit

    config, shape, _ = SIZES[size]
    model = BertForSequenceClassification(BertConfig(**config))
    model.compile(optimizer=adamw(**TRAINING, steps=10_000), **TASKS["classification"].compile_arguments())
    inputs, labels = batch(shape)
    same = SameBatch(inputs, {"logits": labels})
    steps = STEPS[size]
    saving = Saving(minutes=0, steps=steps * 2 // 3 if saves else 0)

    def call() -> int:
        directory = Path(tempfile.mkdtemp(dir="."))  # Not in memory, as /tmp may be.
        try:
            states = SaveStates(directory, saving)
            resumable_fit(model, same, states=states, steps=steps, steps_per_epoch=steps, verbose=0)
            return sum(path.stat().st_size for path in directory.iterdir())
        finally:
            shutil.rmtree(directory)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    verdicts, rows, runs = [], [], []
    for size in SIZES:
        peers = [
            Peer("saving", training, {"size": size, "saves": True}),
            Peer("without", training, {"size": size, "saves": False}),
        ]
        series = run(peers, rounds=arguments.rounds, warm_up=0)
        runs.append(series)
        ratio = Ratio.of(series["without"], series["saving"]).medians
        per_minute = 1 + (ratio - 1) * series["without"].median / 60
        verdict = "reached" if per_minute <= MOST else "**missed**"
        verdicts.append(f"- {size}, a state a minute: {per_minute:.4f} × the time, at most {MOST}: {verdict}")
        rows += [(f"{size}, {name}", f"{turns.median:.2f}") for name, turns in series.items()]
        rows.append((f"{size}, a state, MB", f"{series['saving'].first / 1e6:.0f}"))
    write("Saving the state of a training", "\n".join(verdicts), quiet(*runs), table(("what", "s, median"), rows))


if __name__ == "__main__":
    main()
