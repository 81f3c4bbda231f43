"""Vectors of 10,000 sentences of novels, and of single sentences, compared with sentence-transformers.

    python benchmarks/embedding_encode.py CHECKPOINT FILE...      # all-MiniLM-L6-v2; texts, also gzip; an hour

Both sides take a list of strings and return NumPy arrays. sentence-transformers sorts by characters and pads batches of
32, 64 or 128 rows; it uses torch's fused attention. In bfloat16 it is measured with weights in bfloat16, and with
autocast and 32 rows. Targets compare with the fastest of these. A processor without operations for bfloat16 (AVX-512 or
AMX) computes it very slowly: give fewer sentences for it. Memory is the peak of two calls above that of the imports,
the median of three processes.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from in_graph_speed import SENTENCE
from interleave import Peer, Series, run
from mixed_lengths import read_sentences
from peak_memory import measure_in_processes, measure_peak
from report import Target, describe_load, make_table, write
from serving import make_rows

_OURS, _OURS_BFLOAT16 = "keras_bert_impl", "keras_bert_impl, bfloat16"
_BATCH_SIZES = (32, 64, 128)
_THEIRS = tuple(f"sentence-transformers, {size} rows" for size in _BATCH_SIZES)
_THEIRS_BFLOAT16 = tuple(f"sentence-transformers, bfloat16, {size} rows" for size in _BATCH_SIZES)
_THEIRS_AUTOCAST = "sentence-transformers, autocast, 32 rows"


def make_encode(checkpoint: Path, texts: Any, precision: str = "float32") -> Callable[[], Any]:
    """``encode`` of this package; for bfloat16 the weights are in bfloat16, as those of the peer are."""
    from keras_bert_impl import BertForSentenceEmbedding

    model = BertForSentenceEmbedding.from_pretrained(checkpoint, dtype=precision)
    return lambda: model.encode(texts)


def make_peer_encode(
    checkpoint: Path, texts: Any, batch_size: int = 32, dtype: str = "float32", autocast: bool = False
) -> Callable[[], Any]:
    """``encode`` of sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer

    arguments = {"dtype": getattr(torch, dtype), "attn_implementation": "sdpa"}
    model = SentenceTransformer(str(checkpoint), device="cpu", model_kwargs=arguments)

    def call() -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return np.asarray(model.encode(texts, batch_size=batch_size), np.float32)

    return call


def make_peers(checkpoint: Path, texts: Any, *, bfloat16: bool) -> list[Peer]:
    """The peers for many sentences: this package in one precision, and sentence-transformers."""
    same = {"checkpoint": checkpoint, "texts": texts}
    sizes = [{**same, "batch_size": size} for size in _BATCH_SIZES]
    theirs = [Peer(name, make_peer_encode, arguments) for name, arguments in zip(_THEIRS, sizes, strict=True)]
    if not bfloat16:
        return [Peer(_OURS, make_encode, same), *theirs]
    return [
        Peer(_OURS_BFLOAT16, make_encode, {**same, "precision": "bfloat16"}),
        *theirs,
        *(
            Peer(name, make_peer_encode, {**arguments, "dtype": "bfloat16"})
            for name, arguments in zip(_THEIRS_BFLOAT16, sizes, strict=True)
        ),
        Peer(_THEIRS_AUTOCAST, make_peer_encode, {**same, "autocast": True}),
    ]


def count_tokens(checkpoint: Path, texts: list[str]) -> list[tuple[str, str]]:
    """Rows of a table: the tokens of all batches, padding included, of both sides."""
    from keras_bert_impl import BertTokenizer
    from keras_bert_impl.data.batches import Features, LengthBatches, Ragged
    from keras_bert_impl.prediction.encoder import MAX_TOKENS
    from keras_bert_impl.prediction.predictor import CHUNK_SIZE

    rows = BertTokenizer.from_pretrained(checkpoint).encode_ragged(texts, max_length=256)["input_ids"]
    lengths = np.array([len(row) for row in rows])
    padded = 0
    for start in range(0, len(rows), CHUNK_SIZE):
        ids = Ragged.from_rows(rows[start : start + CHUNK_SIZE], dtype=np.int32)
        batches = LengthBatches(Features({"ids": ids}, {}, {}, np.arange(len(ids))), 1, max_tokens=MAX_TOKENS)
        padded += sum(batches[k][0]["ids"].size for k in range(len(batches)))
    counts = {"without padding": int(lengths.sum()), _OURS: padded}
    order = np.argsort([-len(text) for text in texts], kind="stable")
    for name, size in zip(_THEIRS, _BATCH_SIZES, strict=True):
        parts = [lengths[order[start : start + size]] for start in range(0, len(order), size)]
        counts[name] = sum(int(part.max()) * len(part) for part in parts)
    return [(name, f"{count:,}") for name, count in counts.items()]


def compare_vectors(series: dict[str, Series]) -> list[tuple[str, str, str]]:
    """Rows of a table: the difference of each peer's vectors to those of the peer in float32."""
    reference = series[_THEIRS[0]].first
    rows = []
    for name, turns in series.items():
        products = (turns.first * reference).sum(axis=1)
        cosines = products / np.linalg.norm(turns.first, axis=1) / np.linalg.norm(reference, axis=1)
        rows.append((name, f"{np.abs(turns.first - reference).max():.1e}", f"{cosines.min():.6f}"))
    return rows


def measure_memory(side: str, checkpoint: Path, texts: list[str]) -> float:
    """Megabytes that two calls of one side need in this process."""
    if side == _OURS:
        return measure_peak(("tensorflow", "keras_bert_impl.models"), lambda: make_encode(checkpoint, texts))
    return measure_peak(("torch", "sentence_transformers"), lambda: make_peer_encode(checkpoint, texts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--bfloat16-sentences", type=int, help="sentences for bfloat16 (default: as many)")
    parser.add_argument("--calls", type=int, default=1000, help="calls for one sentence in a turn")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    checkpoint, texts = arguments.checkpoint, read_sentences(arguments.files, arguments.sentences)
    if arguments.measure:
        print(json.dumps(measure_memory(arguments.measure, checkpoint, texts)))
        return

    options = [str(checkpoint), *map(str, arguments.files), "--sentences", str(arguments.sentences)]
    megabytes = {name: measure_in_processes("--measure", name, *options) for name in (_OURS, _THEIRS[0])}
    many = run(make_peers(checkpoint, texts, bfloat16=False), rounds=arguments.rounds, warm_up=0)
    bfloat16_texts = texts[: arguments.bfloat16_sentences]
    in_bfloat16 = run(make_peers(checkpoint, bfloat16_texts, bfloat16=True), rounds=arguments.rounds, warm_up=0)
    one = run(
        [
            Peer(name, make, {"checkpoint": checkpoint, "texts": SENTENCE}, arguments.calls)
            for name, make in ((_OURS, make_encode), (_THEIRS[0], make_peer_encode))
        ],
        rounds=max(5, arguments.rounds),
        warm_up=50,  # XLA compiles after 32 texts.
    )
    heading, bfloat16_heading = f"{len(texts):,} sentences", f"{len(bfloat16_texts):,} sentences in bfloat16"
    ours, theirs = megabytes.values()
    verdicts = [
        Target(_OURS, _THEIRS, 1.25).format_verdict(many, heading),
        Target(_OURS_BFLOAT16, _THEIRS, 1.6).format_verdict(in_bfloat16, bfloat16_heading),
        Target(_OURS_BFLOAT16, (*_THEIRS_BFLOAT16, _THEIRS_AUTOCAST), 1.15).format_verdict(
            in_bfloat16, bfloat16_heading
        ),
        Target(_OURS, _THEIRS[:1], 1.2).format_verdict(one, "one sentence"),
        f"- peak memory: {ours:,.0f} MB, at most that of sentence-transformers, {theirs:,.0f} MB: "
        f"{'reached' if ours <= theirs else '**missed**'}",
    ]
    lengths = np.array([len(text) for text in texts])
    counts = make_table(("batches", "tokens"), count_tokens(checkpoint, texts))
    header = ("job and peer", "ms, median", "times as fast: the first of the job")
    rows = [
        *make_rows(heading, _OURS, many),
        *make_rows(bfloat16_heading, _OURS_BFLOAT16, in_bfloat16),
        *make_rows("one sentence", _OURS, one),
    ]
    write(
        "Vectors of sentences",
        "\n".join(verdicts),
        f"Characters of a sentence: median {np.median(lengths):.0f}, mean {lengths.mean():.0f}, longest "
        f"{lengths.max()}; rows of at most 256 tokens.",
        describe_load(many, in_bfloat16, one),
        make_table(header, rows),
        f"## Tokens of all batches, padding included\n\n{counts}",
        "## Vectors compared with sentence-transformers in float32\n\n"
        + make_table(
            ("peer", "largest difference", "lowest cosine"), [*compare_vectors(many), *compare_vectors(in_bfloat16)]
        ),
    )


if __name__ == "__main__":
    main()
