"""Packed rows compared with padded rows on short documents: real tokens per second, and the gain that is possible.

    python benchmarks/pretrain_packing.py SNIPPETS.tsv TOKENIZER      # five minutes on two cores

Each film snippet is a document. Training steps of the size mini on 16 rows of 512 tokens.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, Ratio, run
from report import describe_load, make_table, write

ROWS, LENGTH = 16, 512
MIN_FRACTION = 0.95


def make_training(shards: str, packing: bool) -> Callable[[], Any]:
    """Training steps on batches made before; the call returns their fraction of real tokens."""
    import numpy as np

    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import adamw

    corpus = TokenCorpus(shards)
    source = PretrainingBatches(
        corpus, batch_size=ROWS, objective=Objective(max_length=LENGTH, packing=packing), steps=40
    )
    fraction = float(np.mean([source[k][0]["attention_mask"].mean() for k in range(40)]))
    model = BertForPreTraining(BertConfig.preset("mini", vocab_size=corpus.tokenizer.vocab_size))
    model.compile(adamw(learning_rate=1e-3, steps=1000), **TASKS["pretraining"].make_compile_arguments())
    batches = itertools.cycle([source[k] for k in range(20)])

    def call() -> float:
        model.train_on_batch(*next(batches), return_dict=True)
        return fraction

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("snippets", type=Path)
    parser.add_argument("tokenizer")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()

    from keras_bert_impl.data import prepare, read_table

    with tempfile.TemporaryDirectory() as directory:
        texts = read_table(arguments.snippets)["text"]
        corpus = Path(directory) / "snippets.txt"
        corpus.write_text("\n\n".join(texts), encoding="utf-8")
        shards = Path(directory) / "shards"
        prepare([corpus], arguments.tokenizer, shards)
        series = run(
            [
                Peer(name, make_training, {"shards": str(shards), "packing": packing}, 3)
                for name, packing in (("packed", True), ("padded", False))
            ],
            rounds=arguments.rounds,
        )
    packed, padded = series["packed"], series["padded"]
    possible = packed.first / padded.first
    gain = possible * Ratio.compute(packed, padded).medians
    verdict = "reached" if gain >= MIN_FRACTION * possible else "**missed**"
    rows = [
        (name, f"{turns.first:.3f}", f"{turns.median * 1e3:.0f}", f"{turns.first * ROWS * LENGTH / turns.median:,.0f}")
        for name, turns in series.items()
    ]
    write(
        "Packed rows on short documents",
        f"- packed rows are {gain:.2f} times as fast in real tokens per second. That is {gain / possible:.3f} of the "
        f"possible {possible:.2f}, the ratio of the fractions of real tokens; at least {MIN_FRACTION}: {verdict}",
        describe_load(series),
        make_table(("rows", "fraction of real tokens", "ms a step, median", "real tokens/s"), rows),
    )


if __name__ == "__main__":
    main()
