"""Artificial corpora of known token ids, and the bytes of directories and batches, to compare two."""

from pathlib import Path

import numpy as np

from keras_bert_impl.data import PretrainingBatches, TokenCorpus
from keras_bert_impl.data.preparation import finish_shards
from keras_bert_impl.data.shards import make_manifest, pack_shard
from keras_bert_impl.tokenization import BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = 499


def read_files(directory: Path) -> dict[str, bytes]:
    """The bytes of each file in a directory, by name."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def serialize_batch(batches: PretrainingBatches, k: int) -> bytes:
    """The bytes of all arrays of a batch. Defined here so that spawned processes can import it by name."""
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
    """Writes a corpus of shards in ``directory`` and returns it. No text is tokenized: the ids are made directly.

    Each id is the one before it plus one, modulo the number of words, so that a token's neighbors are known. Every
    third word of the vocabulary continues a word (``##``).

    Args:
        directory: where the shards are written.
        documents: documents per shard.
        sentences: minimum (inclusive) and maximum (exclusive) of sentences per document.
        tokens: minimum (inclusive) and maximum (exclusive) of tokens per sentence.
        shards: number of shards.
        seed: seed of the random lengths.
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
