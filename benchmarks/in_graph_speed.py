"""Speed of the tokenizer in the graph, and the time it adds to a request.

    python benchmarks/in_graph_speed.py CHECKPOINT    # six minutes on two cores

It measures batches of 32 and 256 film snippets, compared with the Rust library (which this package uses) and KerasHub's
BertTokenizer (a C++ kernel of TF Text, whose ids differ from the reference). Then it measures the time that the
tokenizer adds to MiniLM's forward pass on one sentence and on 32 snippets, and the time of strings of one and four
megabytes: text, and input that an attacker may send to slow down a server.
"""

import argparse
import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import Peer, Ratio, Series, run
from report import describe_load, make_table, write

import keras_bert_impl

_SNIPPETS = Path(keras_bert_impl.__file__).parent / "assets" / "movie_snippets" / "train.tsv"
_MAX_LENGTH = 128
# The content of the long strings, which is repeated.
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


def read_snippets(count: int) -> list[str]:
    """The first film snippets."""
    with open(_SNIPPETS, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["text"] for row in itertools.islice(rows, count)]


def make_texts(batch: str) -> list[str] | list[bytes]:
    """A batch by its name: ``sentence``, a number of snippets, or ``KIND, MEGABYTES``."""
    if batch == "sentence":
        return [SENTENCE]
    kind, _, megabytes = batch.partition(", ")
    if kind not in _LONG:
        return read_snippets(int(batch))
    unit = _LONG[kind].encode() if isinstance(_LONG[kind], str) else _LONG[kind]
    return [unit * (int(megabytes) * _MEGABYTE // len(unit))]


def make_in_graph(checkpoint: Path, batch: str) -> Callable[[], Any]:
    """The tokenizer in the graph, in a ``tf.function``."""
    import tensorflow as tf

    from keras_bert_impl import BertTokenizer
    from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer

    tables = InGraphTokenizer(BertTokenizer.from_pretrained(checkpoint))
    spec = [tf.TensorSpec([None], tf.string)]
    function = tf.function(lambda batch: tables(batch, max_length=_MAX_LENGTH)["input_ids"], input_signature=spec)
    strings = tf.constant(make_texts(batch))
    return lambda: function(strings).numpy()


def make_empty_graph(checkpoint: Path, batch: str) -> Callable[[], Any]:
    """A ``tf.function`` that counts the strings: the time of the call itself."""
    import tensorflow as tf

    function = tf.function(tf.size, input_signature=[tf.TensorSpec([None], tf.string)])
    strings = tf.constant(make_texts(batch))
    return lambda: function(strings).numpy()


def make_rust(checkpoint: Path, batch: str) -> Callable[[], Any]:
    """The Rust library with its own truncation and padding."""
    import numpy as np

    from keras_bert_impl import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(checkpoint).backend_tokenizer
    tokenizer.enable_truncation(_MAX_LENGTH)
    tokenizer.enable_padding()
    strings = make_texts(batch)
    return lambda: np.array([encoding.ids for encoding in tokenizer.encode_batch_fast(strings)], np.int32)


def make_keras_hub(checkpoint: Path, batch: str) -> Callable[[], Any]:
    """KerasHub's tokenizer and packer in a ``tf.function``."""
    import keras_hub as hub
    import tensorflow as tf

    vocabulary = (checkpoint / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = hub.models.BertTokenizer(vocabulary, lowercase=True)
    function = tf.function(
        lambda batch: tokenizer(batch).to_tensor(shape=[None, None]), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    strings = tf.constant(make_texts(batch))
    return lambda: function(strings).numpy()


def make_model(checkpoint: Path, batch: str, text_in: bool) -> Callable[[], Any]:
    """MiniLM's last hidden states, computed from texts or from ids."""
    import tensorflow as tf

    from keras_bert_impl import BertModel, BertTokenizer
    from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer

    tokenizer = BertTokenizer.from_pretrained(checkpoint)
    bert = BertModel.from_pretrained(checkpoint)
    tables = InGraphTokenizer(tokenizer)
    strings = make_texts(batch)
    if text_in:
        tensor = tf.constant(strings)
        encode_texts = tf.function(
            lambda batch: bert(tables(batch, max_length=_MAX_LENGTH))["last_hidden_state"],
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        return lambda: encode_texts(tensor).numpy()
    ids = {name: tf.constant(value) for name, value in tokenizer(strings, max_length=_MAX_LENGTH).items()}
    spec = {name: tf.TensorSpec([None, None], tf.int32) for name in ids}
    encode_ids = tf.function(lambda inputs: bert(inputs)["last_hidden_state"], input_signature=[spec])
    return lambda: encode_ids(ids).numpy()


def measure_rates(
    checkpoint: Path, batch: str, rounds: int, calls: int
) -> tuple[dict[str, Series], list[tuple[str, ...]]]:
    """Measures the tokenizers on one batch; the series, and the rows of the table."""
    same = {"checkpoint": checkpoint, "batch": batch}
    makers = {
        "in the graph": make_in_graph,
        "an empty graph": make_empty_graph,
        "Rust": make_rust,
        "KerasHub": make_keras_hub,
    }
    series = run([Peer(name, make, same, calls) for name, make in makers.items()], rounds=rounds)
    rows = []
    for name, turns in series.items():
        ratio = "" if name == "in the graph" else str(Ratio.compute(series["in the graph"], turns))
        rows.append((f"{batch}: {name}", f"{turns.median * 1e3:.3f}", ratio))
    return series, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()

    runs, rows, verdicts = [], [], []
    for batch, calls in (("sentence", 200), ("32", 100), ("256", 30)):
        series, measured = measure_rates(arguments.checkpoint, batch, arguments.rounds, calls)
        runs.append(series)
        rows += measured
        if batch != "sentence":
            hub = series["KerasHub"].median / series["in the graph"].median
            verdicts.append(format_verdict(f"batch {batch}: times as fast as KerasHub", hub, at_least=0.45))
        if batch == "256":
            faster = series["Rust"].median / series["in the graph"].median
            verdicts.append(format_verdict(f"batch {batch}: times as fast as the Rust library", faster, at_least=1.0))
    for batch, calls, limit in (("sentence", 40, 0.05), ("32", 3, 0.01)):
        same = {"checkpoint": arguments.checkpoint, "batch": batch}
        series = run(
            [
                Peer("from texts", make_model, {**same, "text_in": True}, calls),
                Peer("from ids", make_model, {**same, "text_in": False}, calls),
            ],
            rounds=arguments.rounds,
        )
        runs.append(series)
        added = series["from texts"].median / series["from ids"].median - 1
        rows += [(f"{batch}: MiniLM {name}", f"{turns.median * 1e3:.3f}", "") for name, turns in series.items()]
        verdicts.append(
            format_verdict(f"{batch}: time added to MiniLM, divided by that of MiniLM", added, at_most=limit)
        )
    slowest, growth = 0.0, 0.0
    for kind in _LONG:
        peers = [
            Peer(f"{size} MB", make_in_graph, {"checkpoint": arguments.checkpoint, "batch": f"{kind}, {size}"}, 3)
            for size in (1, 4)
        ]
        series = run(peers, rounds=arguments.rounds)
        one, four = (turns.median for turns in series.values())
        rows += [(f"{kind}, {name}", f"{turns.median * 1e3:.1f}", "") for name, turns in series.items()]
        slowest, growth = max(slowest, one), max(growth, four / one)
        if kind == "text":
            verdicts.append(format_verdict("seconds of a megabyte of text", one, at_most=0.1))
    verdicts.append(format_verdict("seconds of a megabyte of the slowest kind", slowest, at_most=0.1))
    verdicts.append(
        format_verdict("time of four megabytes, divided by that of one, largest of all kinds", growth, at_most=6.0)
    )
    shown = make_table(("batch and peer", "ms, median", "times as fast: in the graph"), rows)
    write("The tokenizer in the graph: speed", "\n".join(verdicts), describe_load(*runs), shown)


def format_verdict(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> str:
    """One line that says whether a target is reached."""
    limit, reached = (at_least, value >= at_least) if at_least is not None else (at_most, value <= at_most)
    word = "at least" if at_least is not None else "at most"
    return f"- {what}: {value:.3f}, {word} {limit}: {'reached' if reached else '**missed**'}"


if __name__ == "__main__":
    main()
