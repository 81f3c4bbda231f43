"""Losses of contrastive training on two mirrored devices, compared with those on one device.

    python benchmarks/embedding_mirrored.py CHECKPOINT       # all-MiniLM-L6-v2

20 steps of multiple negatives ranking on batches of 32 pairs of random tokens, without dropout, in float32, on two
logical devices of the CPU. Each replica embeds half of the pairs; the negatives are those of both. Target: the
relative difference of the losses is at most 1e-5.
"""

import argparse
from pathlib import Path

from embedding_data import format_verdict, make_pairs, run_in_process
from report import make_table, write

STEPS, ROWS = 20, 32
LENGTHS = ((8, 20), (20, 60))
MAX_DIFFERENCE = 1e-5


def train(checkpoint: Path, devices: int) -> tuple[list[float], int]:
    """Trains in this process; returns the loss of each step, and the number of replicas."""
    import keras

    from keras_bert_impl import BertForSentenceEmbedding
    from keras_bert_impl.data import ColumnBatches
    from keras_bert_impl.models.sentence_columns import SentenceColumns
    from keras_bert_impl.tasks.contrastive import MultipleNegativesRankingLoss
    from keras_bert_impl.training import FineTuningSettings, adamw, start_strategy

    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    batches = ColumnBatches(make_pairs(STEPS * ROWS, LENGTHS), ROWS, seed=1, unique=True)
    strategy = {"strategy": "mirrored", "devices": devices} if devices > 1 else {}
    with start_strategy(**strategy) as distribution:
        keras.utils.set_random_seed(1)
        with distribution.scope():
            model = SentenceColumns(BertForSentenceEmbedding.from_pretrained(checkpoint, **none), 2)
            optimizer = adamw(learning_rate=2e-5, steps=STEPS)
            losses = {"loss": {"sentence_embedding": MultipleNegativesRankingLoss()}}
            distribution.compile(model, optimizer, losses, settings=FineTuningSettings())
        feed = distribution.feed(distribution.split(batches))
        history = model.fit(feed, steps_per_epoch=1, epochs=STEPS, verbose=0, shuffle=False).history
    return [float(loss) for loss in history["loss"]], distribution.replicas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    arguments = parser.parse_args()
    results = {devices: run_in_process(train, arguments.checkpoint, devices) for devices in (1, 2)}
    (one, _), (two, replicas) = results.values()
    apart = max(abs(a - b) / abs(a) for a, b in zip(one, two, strict=True))
    rows = [
        (str(devices), str(count), f"{losses[0]:.6f}", f"{losses[-1]:.6f}")
        for devices, (losses, count) in results.items()
    ]
    write(
        "Contrastive training on mirrored devices",
        format_verdict(
            f"{replicas} replicas, {STEPS} steps: the largest relative difference of the losses is {apart:.1e}, at "
            f"most {MAX_DIFFERENCE}",
            apart <= MAX_DIFFERENCE and replicas == 2,
        ),
        make_table(("devices", "replicas", "first loss", "last loss"), rows),
    )


if __name__ == "__main__":
    main()
