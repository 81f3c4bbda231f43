"""Prepared corpora for tests: one of made tokens, written without a tokenizer's work, and what is in directories."""

from pathlib import Path

import numpy as np

from keras_bert_impl.data import PretrainingBatches, TokenCorpus
from keras_bert_impl.data.preparation import finish_shards
from keras_bert_impl.data.shards import make_manifest, pack_shard
from keras_bert_impl.tokenization import BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = 499


def read_files(directory: Path) -> dict[str, bytes]:
    """The files of a directory, to compare two."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def serialize_batch(batches: PretrainingBatches, k: int) -> bytes:
    """Every array of one batch. In this module as other processes find it by its name, whatever they import."""
    return b"".join(value.tobytes() for part in batches[k] for _, value in sorted(part.items()))


def make_corpus(
    directory: Path,
    *,
    documents: int,
    sentences: tuple[int, int],
    tokens: tuple[int, int],
    shards: int = 3,
    seed: int = 1,
) -> TokenCorpus:
    """Documents of so many sentences of so many tokens, each from the first number to below the second.

    Token ids rise by one from each token to the next, modulo the number of words, so that their neighbours are known;
    every third word of the vocabulary goes on a word.
    """
    vocabulary = [*SPECIAL, *(f"{'##' if number % 3 == 2 else ''}w{number}" for number in range(WORDS))]
    tokenizer = BertTokenizer(vocabulary)
    draw = np.random.default_rng(seed)
    infos, next_token = [], 0
    for number in range(shards):
        per_document = draw.integers(*sentences, documents)
        per_sentence = draw.integers(*tokens, per_document.sum())
        ids = len(SPECIAL) + (next_token + np.arange(per_sentence.sum())) % WORDS
        next_token += len(ids)
        info, packed = pack_shard(
            f"{number:05}-00000", ids, per_sentence, per_document, vocab_size=len(vocabulary), text=""
        )
        (directory / info.file).write_bytes(packed)
        infos.append(info)
    finish_shards(directory, make_manifest(infos, tokenizer, corpus=["made"]), tokenizer)
    return TokenCorpus(directory)
