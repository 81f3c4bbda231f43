"""The speed of Japanese tokenizers, compared with those of transformers, and whether both give the same ids.

    taskset -c 0 python benchmarks/japanese_tokenizer.py jnli/part.jsonl      # two minutes on one core

Both tokenize all sentences of a JSONL file (``sentence1`` and ``sentence2``) in one call, in turns, with a vocabulary
of the sentences' characters and frequent parts. Target: for each kind at least 0.9 times as fast as transformers, also
in the first call, when no word has been seen before.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from report import make_table, write

MIN_RATIO = 0.9
IPADIC = {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "ipadic"}}
KINDS: dict[str, dict[str, Any]] = {
    "MeCab, WordPiece": IPADIC,
    "MeCab, WordPiece, lower case": {**IPADIC, "do_lower_case": True},
    "MeCab, characters": {**IPADIC, "subword_tokenizer_type": "character"},
    "basic, WordPiece": {"word_tokenizer_type": "basic"},
    "basic, WordPiece, lower case": {"word_tokenizer_type": "basic", "do_lower_case": True},
}
PEERS = ("first call", "next calls", "with offsets", "transformers")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_vocabulary(texts: list[str], *, size: int) -> list[str]:
    """Special tokens, the normalized characters of texts, alone and inside words, and their most frequent parts."""
    normalized = [unicodedata.normalize("NFKC", text) for text in texts]
    letters = sorted({letter for text in normalized for letter in text if not letter.isspace()})
    parts = Counter(text[i : i + n] for text in normalized for n in (2, 3, 4) for i in range(len(text) - n))
    frequent = [part for part, _ in parts.most_common() if part.isalnum()]
    inner = [f"##{part}" for part in letters + frequent[: size // 4]]
    return list(dict.fromkeys([*SPECIAL, *letters, *inner, *frequent]))[:size]


def measure(texts: list[str], vocabulary: list[str], path: Path, kind: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Seconds of each round by peer, and how many sentences have other ids. Each round has a new tokenizer of ours."""
    from transformers import BertJapaneseTokenizer as Reference

    from keras_bert_impl.tokenization import BertJapaneseTokenizer

    reference = Reference(str(path), **kind)
    reference(texts)
    seconds: dict[str, list[float]] = {name: [] for name in PEERS}
    ids: dict[str, list[list[int]]] = {}
    for _ in range(rounds):
        encode = functools.partial(BertJapaneseTokenizer(vocabulary, **kind), texts, padding=False, truncation=False)
        calls = (encode, encode, functools.partial(encode, return_offsets=True), functools.partial(reference, texts))
        for name, call in zip(PEERS, calls, strict=True):
            start = time.process_time()
            rows = call()["input_ids"]
            seconds[name].append(time.process_time() - start)
            ids[name] = [list(row) for row in rows]
    different = sum(len({*map(tuple, rows)}) > 1 for rows in zip(*ids.values(), strict=True))
    return {"seconds": seconds, "different": different}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="JSONL with the fields sentence1 and sentence2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--vocab-size", type=int, default=8000)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # The report shows it.

    rows = map(json.loads, arguments.file.read_text(encoding="utf-8").splitlines())
    texts = [row[name] for row in rows for name in ("sentence1", "sentence2")]
    vocabulary = make_vocabulary(texts, size=arguments.vocab_size)
    table, verdicts = [], []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "vocab.txt"
        path.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        for name, kind in KINDS.items():
            measured = measure(texts, vocabulary, path, kind, arguments.rounds)
            medians = {peer: statistics.median(values) for peer, values in measured["seconds"].items()}
            ratios = [medians["transformers"] / medians[peer] for peer in PEERS[:-1]]
            verdict = "reached" if min(ratios) >= MIN_RATIO and not measured["different"] else "**missed**"
            verdicts.append(
                f"- {name}: at least {min(ratios):.2f} times as fast as transformers, {measured['different']} of "
                f"{len(texts):,} sentences with other ids; targets: {MIN_RATIO} and 0 – {verdict}"
            )
            milliseconds = [f"{medians[peer] * 1e3:.0f}" for peer in PEERS]
            table.append((name, *milliseconds, *(f"{ratio:.2f}" for ratio in ratios)))
    header = ("kind", *(f"ms, {peer}" for peer in PEERS), *(f"times as fast, {peer}" for peer in PEERS[:-1]))
    write(
        "Japanese tokenizers",
        f"Milliseconds of processor time for {len(texts):,} sentences of {sum(map(len, texts)):,} characters, the "
        f"median of {arguments.rounds} rounds, with a vocabulary of {len(vocabulary):,} tokens. transformers has "
        "no offsets.",
        "\n".join(verdicts),
        make_table(header, table),
    )


if __name__ == "__main__":
    main()
