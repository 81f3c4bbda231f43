"""Preparation of a corpus compared with the Rust tokenizer alone, and making batches compared with training.

    python benchmarks/pretrain_data.py CORPUS TOKENIZER        # ten minutes on two cores

The bare tokenizer reads nothing and writes nothing: it encodes the corpus' lines, which it has in memory. The
preparation is the whole command: reading, sentences, tokens, checksums, files, processes. Both with one worker and with
two. Batches of 64 rows of 128 tokens are made by one process, and a model of the size tiny trains on such.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, run
from report import Ratio, quiet, table, write

MIN_RATE, MIN_SCALING, MIN_BATCHES = 0.7, 1.7, 10.0
PER_BYTE = 1 / 15 * 18  # Bytes that a fifteenth of ten-fold static masking takes for a byte of text.


def rust(corpus: str, tokenizer: str, workers: int) -> Callable[[], Any]:
    """The Rust library alone."""
    # Before it makes its threads.
    os.environ["RAYON_NUM_THREADS"] = str(workers)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from keras_bert_impl.data import Lines, find_parts
    from keras_bert_impl.tokenization import BertTokenizer

    lines = list(Lines(find_parts([corpus])))
    backend = BertTokenizer.from_pretrained(tokenizer).backend_tokenizer

    def call() -> int:
        return sum(
            len(encoding.ids)
            for begin in range(0, len(lines), 10_000)
            for encoding in backend.encode_batch_fast(lines[begin : begin + 10_000], add_special_tokens=False)
        )

    return call


def preparation(corpus: str, tokenizer: str, workers: int) -> Callable[[], Any]:
    """The complete preparation; returns its tokens and the bytes of its shards."""
    from keras_bert_impl.data import prepare

    def call() -> tuple[int, int]:
        with tempfile.TemporaryDirectory() as directory:
            manifest = prepare([corpus], tokenizer, Path(directory) / "shards", workers=workers)
        return manifest["tokens"], sum(shard["bytes"] for shard in manifest["shards"])

    return call


def batches(shards: str) -> Callable[[], Any]:
    """Batches, one after the other."""
    from keras_bert_impl.data import PretrainingBatches, TokenCorpus

    source = PretrainingBatches(TokenCorpus(shards), batch_size=64, steps=1 << 40)
    counter = iter(range(1 << 40))
    return lambda: len(source[next(counter)])


def training(shards: str, precision: str) -> Callable[[], Any]:
    """Steps of the size tiny on batches that are there."""
    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.data import PretrainingBatches, TokenCorpus
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import PRECISIONS, adamw

    corpus = TokenCorpus(shards)
    batch = PretrainingBatches(corpus, batch_size=64, steps=1)[0]
    config = BertConfig.preset("tiny", vocab_size=corpus.tokenizer.vocab_size)
    model = BertForPreTraining(config, dtype=PRECISIONS[precision])
    model.compile(adamw(learning_rate=1e-3, steps=1000), **TASKS["pretraining"].make_compile_arguments())
    return lambda: model.train_on_batch(*batch, return_dict=True)["loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus")
    parser.add_argument("tokenizer")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    from keras_bert_impl.data import Lines, find_parts, prepare

    text = sum(len(line.encode()) for line in Lines(find_parts([arguments.corpus])))
    same = {"corpus": arguments.corpus, "tokenizer": arguments.tokenizer}
    peers = [
        Peer(f"{name}, {workers}", make, {**same, "workers": workers})
        for workers in (1, 2)
        for name, make in (("prepare", preparation), ("Rust", rust))
    ]
    prepared = run(peers, rounds=arguments.rounds, warm_up=0)
    verdicts = []
    for workers in (1, 2):
        ratio = Ratio.of(prepared[f"prepare, {workers}"], prepared[f"Rust, {workers}"])
        verdict = "reached" if ratio.medians >= MIN_RATE else "**missed**"
        verdicts.append(f"- {workers} workers: {ratio} of the Rust tokenizer's rate, at least {MIN_RATE}: {verdict}")
    scaling = Ratio.of(prepared["prepare, 2"], prepared["prepare, 1"])
    verdict = "reached" if scaling.medians >= MIN_SCALING else "**missed**"
    verdicts.append(f"- from one worker to two: {scaling} times as fast, near 2 ({MIN_SCALING} at least): {verdict}")
    tokens, size = prepared["prepare, 2"].first
    verdict = "reached" if size / text <= PER_BYTE else "**missed**"
    verdicts.append(f"- {size / text:.3f} bytes on the disk for a byte of text, at most {PER_BYTE:.2f}: {verdict}")

    directory = Path(tempfile.mkdtemp())
    try:
        prepare([arguments.corpus], arguments.tokenizer, directory / "shards")
        shards = str(directory / "shards")
        made = run(
            [
                Peer("batches", batches, {"shards": shards}, 100),
                Peer("training, float32", training, {"shards": shards, "precision": "float32"}, 5),
                Peer("training, bfloat16", training, {"shards": shards, "precision": "bfloat16"}, 5),
            ],
            rounds=arguments.rounds,
        )
    finally:
        shutil.rmtree(directory)
    fastest = min(("training, float32", "training, bfloat16"), key=lambda name: made[name].median)
    ratio = Ratio.of(made["batches"], made[fastest])
    verdict = "reached" if ratio.medians >= MIN_BATCHES else "**missed**"
    verdicts.append(f"- batches are made {ratio} times as fast as {fastest} takes them, at least 10: {verdict}")
    rows = [
        (name, f"{turns.median:.2f}", f"{text / turns.median / 1e6:.2f}", f"{tokens / turns.median / 1e3:,.0f}")
        for name, turns in prepared.items()
    ]
    steps = [
        (name, f"{turns.median * 1e3:.2f}", f"{64 * 128 / turns.median / 1e3:,.0f}") for name, turns in made.items()
    ]
    write(
        "Preparation of a corpus, and batches",
        "\n".join(verdicts),
        quiet(prepared, made),
        f"{text:,} bytes of text, {tokens:,} tokens.",
        table(("what, workers", "s, median", "MB/s", "1,000 tokens/s"), rows),
        table(("64 rows of 128 tokens", "ms, median", "1,000 tokens/s"), steps),
    )


if __name__ == "__main__":
    main()
