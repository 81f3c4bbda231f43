"""Memory of contrastive training with large batches in parts (GradCache), and its gradient.

    python benchmarks/embedding_memory.py CHECKPOINT        # all-MiniLM-L6-v2

Steps of multiple negatives ranking in float32 on pairs of 8 to 20 and 60 to 120 random tokens: 32 pairs at once, and
512 pairs in 16 parts. Memory is the peak of two steps above that of the imports, the median of three processes. The
gradient of 96 pairs in 3 parts is compared with that of 96 pairs at once, without dropout. Targets: at most 1.3 times
the memory; no number of the gradient differs by more than 1e-5.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedding_data import format_verdict, make_pairs, run_in_process
from peak_memory import measure_in_processes, measure_peak
from report import make_table, write

MAX_MEMORY, MAX_DIFFERENCE = 1.3, 1e-5
LENGTHS = ((8, 20), (60, 120))
# Pairs in a batch, parts of the batch.
CASES = {"32 pairs": (32, 1), "512 pairs in 16 parts": (512, 16)}
COMPARED = (96, 3)


def make_model(checkpoint: Path, parts: int, optimizer: Any, **settings: float) -> Any:
    """The model of pairs, compiled."""
    from keras_bert_impl import BertForSentenceEmbedding
    from keras_bert_impl.models.sentence_columns import SentenceColumns
    from keras_bert_impl.tasks.contrastive import MultipleNegativesRankingLoss
    from keras_bert_impl.training import accumulate

    model = SentenceColumns(BertForSentenceEmbedding.from_pretrained(checkpoint, **settings), 2)
    model.compile(optimizer, {"sentence_embedding": MultipleNegativesRankingLoss()}, jit_compile=False)
    accumulate(model, parts)
    return model


def make_batch(rows: int, parts: int) -> Any:
    """A batch of pairs, as ``accumulate`` needs it."""
    from keras_bert_impl.data import BatchSplitter, ColumnBatches

    batches = ColumnBatches(make_pairs(rows, LENGTHS), rows, seed=1)
    return BatchSplitter(batches, 1, accumulate=parts)[0] if parts > 1 else batches[0]


def make_training(checkpoint: Path, rows: int, parts: int) -> Callable[[], Any]:
    """A training step."""
    from keras_bert_impl.training import adamw

    model, batch = make_model(checkpoint, parts, adamw(learning_rate=2e-5, steps=1000)), make_batch(rows, parts)
    return lambda: model.train_on_batch(*batch)


def compute_difference(checkpoint: Path) -> tuple[float, float, float, float]:
    """The largest difference of the gradients in parts and at once, their largest number, and both losses."""
    import keras
    import numpy as np

    rows, parts = COMPARED
    gradients, losses = [], []
    for count in (1, parts):
        none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        # A step with the learning rate 1 subtracts the gradient from the weights.
        model = make_model(checkpoint, count, keras.optimizers.SGD(1.0), **none)
        before = model.state_dict()
        losses.append(float(model.train_on_batch(*make_batch(rows, count))))
        after = model.state_dict()
        gradients.append({name: before[name] - values for name, values in after.items()})
    plain, cached = gradients
    difference = max(float(np.abs(cached[name] - values).max()) for name, values in plain.items())
    largest = max(float(np.abs(values).max()) for values in plain.values())
    return difference, largest, losses[0], losses[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        rows, parts = CASES[arguments.measure]
        imports = ("tensorflow", "keras_bert_impl.training")
        print(json.dumps(measure_peak(imports, lambda: make_training(arguments.checkpoint, rows, parts))))
        return
    megabytes = {}
    for case in CASES:
        megabytes[case] = measure_in_processes(str(arguments.checkpoint), "--measure", case)
        print(f"  {case}: {megabytes[case]:,.0f} MB", flush=True)
    small, large = megabytes.values()
    difference, largest, *losses = run_in_process(compute_difference, arguments.checkpoint)
    rows, parts = COMPARED
    verdicts = [
        format_verdict(
            f"memory of 512 pairs in 16 parts, divided by that of 32 pairs: {large / small:.3f}, at most {MAX_MEMORY}",
            large <= MAX_MEMORY * small,
        ),
        format_verdict(
            f"gradient of {rows} pairs in {parts} parts: largest difference {difference:.1e} to that of the batch, at "
            f"most {MAX_DIFFERENCE}",
            difference <= MAX_DIFFERENCE,
        ),
    ]
    write(
        "Memory of contrastive training",
        "\n".join(verdicts),
        f"The largest number of the gradient is {largest:.3g}. The losses are {losses[0]:.6f} at once and "
        f"{losses[1]:.6f} in parts.",
        make_table(("batch", "MB"), [(case, f"{value:,.0f}") for case, value in megabytes.items()]),
    )


if __name__ == "__main__":
    main()
