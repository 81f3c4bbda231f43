"""Speed of the tokenizer in the graph, and the time it adds to a request.

    python benchmarks/in_graph_speed.py CHECKPOINT    # six minutes on two cores

Rates on film snippets at batches of 32 and 256, compared with the Rust library (which this package uses) and
KerasHub's BertTokenizer (TF Text, a C++ kernel, whose ids differ from the reference). Then what it adds to a pass of
MiniLM: one sentence, and 32 snippets. Last, strings of one megabyte and of four, of text and of what nobody means well
with.
"""

import argparse
import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, Ratio, Series, run
from report import quiet, table, write

import keras_bert_impl

_SNIPPETS = Path(keras_bert_impl.__file__).parent / "assets" / "movie_snippets" / "train.tsv"
_MAX_LENGTH = 128
# A string of this many bytes, and its content.
_MEGABYTE = 1 << 20
_LONG = {
    "text": "the unaffable film ",
    "one word": "a",
    "spaces": " ",
    "unknown words": "zzqx" * 20 + " ",
    "special tokens": "[MASK][SEP]",
    "half of a special token": "[MAS",
    "Chinese": "日本語",
    "combining marks": "e\u0301\u0323",
    "Hangul": "한국어",
    "zeros": "\0",
    "bytes that are not UTF-8": b"\xff\xc3",
}
SENTENCE = "It was a great movie with a clever plot and good actors."


def snippets(count: int) -> list[str]:
    """The first film snippets."""
    with open(_SNIPPETS, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["text"] for row in itertools.islice(rows, count)]


def texts(batch: str) -> list[str] | list[bytes]:
    """A batch by its name."""
    if batch == "sentence":
        return [SENTENCE]
    kind, _, megabytes = batch.partition(", ")
    if kind not in _LONG:
        return snippets(int(batch))
    unit = _LONG[kind].encode() if isinstance(_LONG[kind], str) else _LONG[kind]
    return [unit * (int(megabytes) * _MEGABYTE // len(unit))]


def in_graph(checkpoint: Path, batch: str) -> Callable[[], Any]:
    """The operations in a ``tf.function``."""
    import tensorflow as tf

    from keras_bert_impl import BertTokenizer
    from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer

    tables = InGraphTokenizer(BertTokenizer.from_pretrained(checkpoint))
    spec = [tf.TensorSpec([None], tf.string)]
    function = tf.function(lambda given: tables(given, max_length=_MAX_LENGTH)["input_ids"], input_signature=spec)
    given = tf.constant(texts(batch))
    return lambda: function(given).numpy()


def nothing(checkpoint: Path, batch: str) -> Callable[[], Any]:
    """A ``tf.function`` that returns the strings: the cost of the call itself."""
    import tensorflow as tf

    function = tf.function(tf.size, input_signature=[tf.TensorSpec([None], tf.string)])
    given = tf.constant(texts(batch))
    return lambda: function(given).numpy()


def rust(checkpoint: Path, batch: str) -> Callable[[], Any]:
    """The Rust library with its own truncation and padding."""
    import numpy as np

    from keras_bert_impl import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(checkpoint).backend_tokenizer
    tokenizer.enable_truncation(_MAX_LENGTH)
    tokenizer.enable_padding()
    given = texts(batch)
    return lambda: np.array([encoding.ids for encoding in tokenizer.encode_batch_fast(given)], np.int32)


def keras_hub(checkpoint: Path, batch: str) -> Callable[[], Any]:
    """KerasHub's tokenizer and packer in a ``tf.function``."""
    import keras_hub as hub
    import tensorflow as tf

    vocabulary = (checkpoint / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = hub.models.BertTokenizer(vocabulary, lowercase=True)
    function = tf.function(
        lambda given: tokenizer(given).to_tensor(shape=[None, None]), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    given = tf.constant(texts(batch))
    return lambda: function(given).numpy()


def model(checkpoint: Path, batch: str, text_in: bool) -> Callable[[], Any]:
    """MiniLM's last hidden states, from texts or from ids."""
    import tensorflow as tf

    from keras_bert_impl import BertModel, BertTokenizer
    from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer

    tokenizer = BertTokenizer.from_pretrained(checkpoint)
    bert = BertModel.from_pretrained(checkpoint)
    tables = InGraphTokenizer(tokenizer)
    given = texts(batch)
    if text_in:
        sent = tf.constant(given)
        of_text = tf.function(
            lambda strings: bert(tables(strings, max_length=_MAX_LENGTH))["last_hidden_state"],
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        return lambda: of_text(sent).numpy()
    ids = {name: tf.constant(value) for name, value in tokenizer(given, max_length=_MAX_LENGTH).items()}
    spec = {name: tf.TensorSpec([None, None], tf.int32) for name in ids}
    of_ids = tf.function(lambda inputs: bert(inputs)["last_hidden_state"], input_signature=[spec])
    return lambda: of_ids(ids).numpy()


def rates(checkpoint: Path, batch: str, rounds: int, calls: int) -> tuple[dict[str, Series], list[tuple[str, ...]]]:
    """One comparison of tokenizers, and its rows."""
    same = {"checkpoint": checkpoint, "batch": batch}
    makers = {"in the graph": in_graph, "an empty graph": nothing, "Rust": rust, "KerasHub": keras_hub}
    series = run([Peer(name, make, same, calls) for name, make in makers.items()], rounds=rounds)
    rows = []
    for name, turns in series.items():
        ratio = "" if name == "in the graph" else str(Ratio.of(series["in the graph"], turns))
        rows.append((f"{batch}: {name}", f"{turns.median * 1e3:.3f}", ratio))
    return series, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()

    runs, rows, verdicts = [], [], []
    for batch, calls in (("sentence", 200), ("32", 100), ("256", 30)):
        series, found = rates(arguments.checkpoint, batch, arguments.rounds, calls)
        runs.append(series)
        rows += found
        if batch != "sentence":
            hub = series["KerasHub"].median / series["in the graph"].median
            verdicts.append(verdict(f"batch {batch}: rate of KerasHub's", hub, at_least=0.45))
        if batch == "256":
            faster = series["Rust"].median / series["in the graph"].median
            verdicts.append(verdict(f"batch {batch}: rate of the Rust library's", faster, at_least=1.0))
    for batch, calls, most in (("sentence", 40, 0.05), ("32", 3, 0.01)):
        same = {"checkpoint": arguments.checkpoint, "batch": batch}
        series = run(
            [
                Peer("from texts", model, {**same, "text_in": True}, calls),
                Peer("from ids", model, {**same, "text_in": False}, calls),
            ],
            rounds=arguments.rounds,
        )
        runs.append(series)
        added = series["from texts"].median / series["from ids"].median - 1
        rows += [(f"{batch}: MiniLM {name}", f"{turns.median * 1e3:.3f}", "") for name, turns in series.items()]
        verdicts.append(verdict(f"{batch}: added to a pass of MiniLM", added, at_most=most))
    slowest, growth = 0.0, 0.0
    for kind in _LONG:
        peers = [
            Peer(f"{size} MB", in_graph, {"checkpoint": arguments.checkpoint, "batch": f"{kind}, {size}"}, 3)
            for size in (1, 4)
        ]
        series = run(peers, rounds=arguments.rounds)
        one, four = (turns.median for turns in series.values())
        rows += [(f"{kind}, {name}", f"{turns.median * 1e3:.1f}", "") for name, turns in series.items()]
        slowest, growth = max(slowest, one), max(growth, four / one)
        if kind == "text":
            verdicts.append(verdict("a megabyte of text, seconds", one, at_most=0.1))
    verdicts.append(verdict("a megabyte of the slowest kind, seconds", slowest, at_most=0.1))
    verdicts.append(verdict("four megabytes take so many times as long as one", growth, at_most=6.0))
    shown = table(("batch and peer", "ms, median", "times as fast: in the graph"), rows)
    write("The tokenizer inside of the graph: speed", "\n".join(verdicts), quiet(*runs), shown)


def verdict(what: str, found: float, *, at_least: float | None = None, at_most: float | None = None) -> str:
    """One line on a target."""
    limit, reached = (at_least, found >= at_least) if at_least is not None else (at_most, found <= at_most)
    word = "at least" if at_least is not None else "at most"
    return f"- {what}: {found:.3f}, {word} {limit}: {'reached' if reached else '**missed**'}"


if __name__ == "__main__":
    main()
