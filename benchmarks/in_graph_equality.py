"""Compares the tokenizer in the graph with the Python tokenizer and the Rust library, on 200,000 strings.

    python benchmarks/in_graph_equality.py CHECKPOINT [--texts FILE ...] [--strings 200000]

Film snippets, lines of text files (novels, for example), and strings from a seeded generator: many scripts, emoji with
joiners, combining marks, control characters, unassigned code points, long words, literal special tokens, invalid UTF-8.
Six minutes on two cores. A difference is printed, and the exit code is 1.
"""

import argparse
import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import strings
import tensorflow as tf
from report import write
from tokenizers import Tokenizer

import keras_bert_impl
from keras_bert_impl import BertTokenizer
from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer

_MAX_LENGTH = 256
_BATCH = 500
_SNIPPETS = Path(keras_bert_impl.__file__).parent / "assets" / "movie_snippets"


def read_snippets() -> Iterator[str]:
    """The film snippets."""
    for part in ("train", "valid", "test"):
        with open(_SNIPPETS / f"{part}.tsv", encoding="utf-8", newline="") as file:
            yield from (row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def make_reference(tokenizer: BertTokenizer) -> Tokenizer:
    """The tokenizer of the Rust library, with its truncation and padding."""
    rust = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    rust.enable_truncation(_MAX_LENGTH)
    rust.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    return rust


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--texts", nargs="*", default=[], help="text files whose lines are compared too")
    parser.add_argument("--strings", type=int, default=200_000)
    arguments = parser.parse_args()

    kinds: dict[str, tuple[dict[str, object], dict[str, Iterable[str | bytes]]]] = {}
    for name, settings in {"uncased": {}, "cased": {"do_lower_case": False}}.items():
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        seed = len(name)
        sources = {
            "film snippets": read_snippets(),
            "lines of text files": itertools.islice(strings.read_lines(arguments.texts), arguments.strings // 10),
            "invalid UTF-8": strings.make_invalid_utf8(arguments.strings // 10, seed=seed),
            "generated": strings.make_strings(arguments.strings * 3 // 10, seed=seed, special=special),
        }
        kinds[name] = (settings, sources)

    lines, all_same, total = [], True, 0
    for name, (settings, sources) in kinds.items():
        tokenizer = BertTokenizer.from_pretrained(arguments.checkpoint, **settings)
        rust = make_reference(tokenizer)
        tables = InGraphTokenizer(tokenizer)
        in_graph = tf.function(
            lambda texts, tables=tables: tables(texts, max_length=_MAX_LENGTH)["input_ids"],
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        for kind, texts in sources.items():
            count, differing = compare(texts, in_graph, tokenizer, rust)
            lines.append(f"| {name} | {kind} | {count:,} | {differing} |")
            all_same &= not differing
            total += count
            print(lines[-1], flush=True)
    verdict = f"- no difference on at least {arguments.strings:,} strings: {'reached' if all_same else '**missed**'}"
    table = "\n".join(["| vocabulary | strings | compared | different |", "| --- | --- | ---: | ---: |", *lines])
    write("The tokenizer in the graph: equality", verdict, f"{total:,} strings in total.", table)
    raise SystemExit(not all_same)


def compare(texts: Iterable[str | bytes], in_graph, tokenizer: BertTokenizer, rust: Tokenizer) -> tuple[int, int]:
    """The number of strings, and how often their ids differ from those of another tokenizer."""
    count = differing = 0
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, _BATCH)):
        decoded = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in batch]
        actual = in_graph(tf.constant(batch)).numpy()
        host = tokenizer(decoded, max_length=_MAX_LENGTH)["input_ids"]
        expected = np.array([encoding.ids for encoding in rust.encode_batch(decoded)], np.int32)
        for other in (host, expected):
            if actual.shape != other.shape:
                raise SystemExit(f"the ids have the shape {actual.shape}, expected {other.shape}")
            for row in np.flatnonzero((actual != other).any(axis=1)):
                print(f"different: {batch[row]!r:.200}")
                differing += 1
        count += len(batch)
    return count, differing


if __name__ == "__main__":
    main()
