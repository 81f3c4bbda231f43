"""Prediction for 10,000 sentences of novels, whose lengths differ, compared with transformers on torch.

    python benchmarks/mixed_lengths.py CHECKPOINT FILE...      # a classifier; texts, gzip too; 15 minutes on two cores

This package uses `Predictor.predict_texts`, which sorts by length and fills batches by tokens. torch's batches have 32
rows, each padded to its longest row: once in the order of the input, once sorted by length. All tokenize.
"""

import argparse
import gzip
import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from interleave import Peer, run
from report import Target, quiet, table, write
from serving import rows

_BATCH = 32


def sentences(files: list[Path], count: int) -> list[str]:
    """Sentences in running text, the same number from each file, in an order that says nothing of their length."""
    found = []
    for file in files:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as text:
            whole = " ".join(text.read().split())
        parts = (part for part in re.split(r"(?<=[.!?])\s+(?=[A-Z\"“])", whole) if len(part) > 1)
        found += list(itertools.islice(parts, -(-count // len(files))))
    random.Random(1).shuffle(found)
    return found[:count]


def ours(checkpoint: Path, files: list[Path], count: int) -> Callable[[], Any]:
    """What this package does."""
    from keras_bert_impl.prediction import Predictor

    predictor, given = Predictor(checkpoint, max_length=128), sentences(files, count)
    predictor.predict_texts(given[:64])

    def call() -> Any:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.array([list(prediction["scores"].values()) for prediction in predictor.predict_texts(given)])

    return call


def torch_classifier(checkpoint: Path, files: list[Path], count: int, ordered: bool) -> Callable[[], Any]:
    """transformers, with batches in the order of the input or of the lengths."""
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = BertForSequenceClassification.from_pretrained(checkpoint, attn_implementation="sdpa").eval()
    given = sentences(files, count)

    @torch.inference_mode()
    def call() -> Any:
        encoded = tokenizer(given, truncation=True, max_length=128)["input_ids"]
        order = np.argsort([len(row) for row in encoded], kind="stable") if ordered else np.arange(len(encoded))
        scores = np.empty((len(given), model.config.num_labels), np.float32)
        for begin in range(0, len(order), _BATCH):
            part = order[begin : begin + _BATCH]
            inputs = tokenizer.pad({"input_ids": [encoded[i] for i in part]}, return_tensors="pt")
            scores[part] = model(**inputs).logits.softmax(-1).numpy()
        return scores

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=10_000)
    arguments = parser.parse_args()

    same = {"checkpoint": arguments.checkpoint, "files": arguments.files, "count": arguments.sentences}
    series = run(
        [
            Peer("this package", ours, same),
            Peer("torch, in the input's order", torch_classifier, {**same, "ordered": False}),
            Peer("torch, sorted by length", torch_classifier, {**same, "ordered": True}),
        ],
        rounds=arguments.rounds,
        warm_up=0,
    )
    lines = rows(f"{arguments.sentences:,} sentences", "this package", series)
    verdicts = [
        Target("this package", (name,), least).line(series, f"{arguments.sentences:,} sentences")
        for name, least in (("torch, in the input's order", 3.0), ("torch, sorted by length", 1.2))
    ]
    apart = max(
        np.abs(series["this package"].first - turns.first).max() for name, turns in series.items() if "torch" in name
    )
    lengths = np.array([len(sentence) for sentence in sentences(arguments.files, arguments.sentences)])
    facts = (
        f"Characters of a sentence: median {np.median(lengths):.0f}, mean {lengths.mean():.0f}, longest "
        f"{lengths.max()}; rows of at most 128 tokens. Scores are at most {apart:.1e} apart."
    )
    shown = table(("what and who", "ms, median", "times as fast: this package"), lines)
    write("Mixed lengths", "\n".join(verdicts), facts, quiet(series), shown)


if __name__ == "__main__":
    main()
