"""Prediction for 10,000 sentences of novels, whose lengths differ, compared with transformers on torch.

    python benchmarks/mixed_lengths.py CHECKPOINT FILE...      # a classifier; texts, also gzip; 15 minutes on two cores

This package uses `Predictor.predict_texts`, which sorts by length and fills batches by tokens. torch's batches have 32
rows, each padded to its longest row: once in the order of the input, once sorted by length. The times include
tokenization.
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
from report import Target, describe_load, make_table, write
from serving import make_rows

_BATCH = 32


def read_sentences(files: list[Path], count: int) -> list[str]:
    """Sentences of the files, the same number from each, shuffled."""
    sentences = []
    for file in files:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as text:
            content = " ".join(text.read().split())
        parts = (part for part in re.split(r"(?<=[.!?])\s+(?=[A-Z\"“])", content) if len(part) > 1)
        sentences += list(itertools.islice(parts, -(-count // len(files))))
    random.Random(1).shuffle(sentences)
    return sentences[:count]


def make_predictor(checkpoint: Path, files: list[Path], count: int) -> Callable[[], Any]:
    """Prediction with this package."""
    from keras_bert_impl.prediction import Predictor

    predictor, texts = Predictor(checkpoint, max_length=128), read_sentences(files, count)
    predictor.predict_texts(texts[:64])

    def call() -> Any:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.array([list(prediction["scores"].values()) for prediction in predictor.predict_texts(texts)])

    return call


def make_torch_classifier(checkpoint: Path, files: list[Path], count: int, ordered: bool) -> Callable[[], Any]:
    """Transformers on torch, with batches in the order of the input or, if ``ordered``, of the lengths."""
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = BertForSequenceClassification.from_pretrained(checkpoint, attn_implementation="sdpa").eval()
    texts = read_sentences(files, count)

    @torch.inference_mode()
    def call() -> Any:
        encoded = tokenizer(texts, truncation=True, max_length=128)["input_ids"]
        order = np.argsort([len(row) for row in encoded], kind="stable") if ordered else np.arange(len(encoded))
        scores = np.empty((len(texts), model.config.num_labels), np.float32)
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
            Peer("this package", make_predictor, same),
            Peer("torch, in the input's order", make_torch_classifier, {**same, "ordered": False}),
            Peer("torch, sorted by length", make_torch_classifier, {**same, "ordered": True}),
        ],
        rounds=arguments.rounds,
        warm_up=0,
    )
    lines = make_rows(f"{arguments.sentences:,} sentences", "this package", series)
    verdicts = [
        Target("this package", (name,), min_ratio).format_verdict(series, f"{arguments.sentences:,} sentences")
        for name, min_ratio in (("torch, in the input's order", 3.0), ("torch, sorted by length", 1.2))
    ]
    apart = max(
        np.abs(series["this package"].first - turns.first).max() for name, turns in series.items() if "torch" in name
    )
    lengths = np.array([len(sentence) for sentence in read_sentences(arguments.files, arguments.sentences)])
    facts = (
        f"Characters of a sentence: median {np.median(lengths):.0f}, mean {lengths.mean():.0f}, longest "
        f"{lengths.max()}; rows of at most 128 tokens. Scores differ by at most {apart:.1e}."
    )
    shown = make_table(("job and peer", "ms, median", "times as fast: this package"), lines)
    write("Mixed lengths", "\n".join(verdicts), facts, describe_load(series), shown)


if __name__ == "__main__":
    main()
