"""Preparing a corpus compared with the Rust tokenizer alone, and making batches compared with training.

    python benchmarks/pretrain_data.py CORPUS TOKENIZER        # ten minutes on two cores

The tokenizer alone encodes the corpus' lines, which are in memory. The preparation is the complete command: reading,
splitting into sentences, tokenization, checksums, writing, starting processes. Both run with one worker and with two.
One process makes batches of 64 rows of 128 tokens, and a model of the size tiny trains on such a batch.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, run
from report import Ratio, describe_load, make_table, write

MIN_RATE, MIN_SCALING, MIN_BATCHES = 0.7, 1.7, 10.0
# A fifteenth of the 18 bytes that static masking, repeated ten times, takes on the disk for a byte of text.
PER_BYTE = 1 / 15 * 18


def make_rust(corpus: str, tokenizer: str, workers: int) -> Callable[[], Any]:
    """The Rust library alone."""
    # The library reads these when it starts its threads.
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


def make_preparation(corpus: str, tokenizer: str, workers: int) -> Callable[[], Any]:
    """The complete preparation; returns its tokens and the bytes of its shards."""
    from keras_bert_impl.data import prepare

    def call() -> tuple[int, int]:
        with tempfile.TemporaryDirectory() as directory:
            manifest = prepare([corpus], tokenizer, Path(directory) / "shards", workers=workers)
        return manifest["tokens"], sum(shard["bytes"] for shard in manifest["shards"])

    return call


def make_batches(shards: str) -> Callable[[], Any]:
    """Makes one batch after the other."""
    from keras_bert_impl.data import PretrainingBatches, TokenCorpus

    source = PretrainingBatches(TokenCorpus(shards), batch_size=64, steps=1 << 40)
    counter = iter(range(1 << 40))
    return lambda: len(source[next(counter)])


def make_training(shards: str, precision: str) -> Callable[[], Any]:
    """Training steps of the size tiny on one batch, made before."""
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
        for name, make in (("prepare", make_preparation), ("Rust", make_rust))
    ]
    prepared = run(peers, rounds=arguments.rounds, warm_up=0)
    verdicts = []
    for workers in (1, 2):
        ratio = Ratio.compute(prepared[f"prepare, {workers}"], prepared[f"Rust, {workers}"])
        verdict = "reached" if ratio.medians >= MIN_RATE else "**missed**"
        verdicts.append(
            f"- workers: {workers}: {ratio} times as fast as the Rust tokenizer, at least {MIN_RATE}: {verdict}"
        )
    scaling = Ratio.compute(prepared["prepare, 2"], prepared["prepare, 1"])
    verdict = "reached" if scaling.medians >= MIN_SCALING else "**missed**"
    verdicts.append(f"- two workers are {scaling} times as fast as one, at least {MIN_SCALING}: {verdict}")
    tokens, size = prepared["prepare, 2"].first
    verdict = "reached" if size / text <= PER_BYTE else "**missed**"
    verdicts.append(f"- {size / text:.3f} bytes on the disk per byte of text, at most {PER_BYTE:.2f}: {verdict}")

    directory = Path(tempfile.mkdtemp())
    try:
        prepare([arguments.corpus], arguments.tokenizer, directory / "shards")
        shards = str(directory / "shards")
        made = run(
            [
                Peer("batches", make_batches, {"shards": shards}, 100),
                Peer("training, float32", make_training, {"shards": shards, "precision": "float32"}, 5),
                Peer("training, bfloat16", make_training, {"shards": shards, "precision": "bfloat16"}, 5),
            ],
            rounds=arguments.rounds,
        )
    finally:
        shutil.rmtree(directory)
    fastest = min(("training, float32", "training, bfloat16"), key=lambda name: made[name].median)
    ratio = Ratio.compute(made["batches"], made[fastest])
    verdict = "reached" if ratio.medians >= MIN_BATCHES else "**missed**"
    verdicts.append(f"- making batches is {ratio} times as fast as {fastest}, at least {MIN_BATCHES:.0f}: {verdict}")
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
        describe_load(prepared, made),
        f"{text:,} bytes of text, {tokens:,} tokens.",
        make_table(("job, workers", "s, median", "MB/s", "1,000 tokens/s"), rows),
        make_table(("64 rows of 128 tokens", "ms, median", "1,000 tokens/s"), steps),
    )


if __name__ == "__main__":
    main()
