"""Shards: files with the token ids of a corpus, and the ends of its sentences and documents."""

import errno
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.data.batches import to_offsets
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import make_read_error, read_json, to_json
from keras_bert_impl.machine import raise_open_file_limit
from keras_bert_impl.tensor_files import TensorFile, read_safetensors, to_safetensors
from keras_bert_impl.tokenization import BertTokenizer

MANIFEST = "manifest.json"
_FORMAT = 1
# The tensors of a shard.
_TENSORS = ("tokens", "sentence_ends", "document_ends")
_ADVICE = "Prepare the corpus again."


@dataclass(frozen=True)
class ShardInfo:
    """The entry of a shard in the manifest: its name, counts, size in bytes and checksum."""

    name: str
    documents: int
    sentences: int
    tokens: int
    bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.name}.safetensors"


def fingerprint(tokenizer: BertTokenizer) -> str:
    """Computes a checksum of everything that determines the ids of a text."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    parts = [tokenizer.vocabulary, tokenizer.rules, [[id, repr(token)] for id, token in sorted(added.items())]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def pack_shard(
    name: str, ids: np.ndarray, sentences: np.ndarray, documents: np.ndarray, *, vocab_size: int, text: str
) -> tuple[ShardInfo, bytes]:
    """Makes a shard: its entry in the manifest, and its bytes, which are a safetensors file.

    Args:
        name: the shard's name.
        ids: ``[tokens]``.
        sentences: ``[sentences]``, the number of tokens of each.
        documents: ``[documents]``, the number of sentences of each.
        vocab_size: the number of tokens in the vocabulary; up to 65,536, an id takes two bytes.
        text: the checksum of the text.
    """
    dtype = np.uint16 if vocab_size <= 1 << 16 else np.uint32
    arrays = {
        "tokens": ids.astype(dtype),
        "sentence_ends": np.cumsum(sentences).astype(np.uint32),
        "document_ends": np.cumsum(documents).astype(np.uint32),
    }
    content = to_safetensors(arrays, metadata={"text": text})
    checksum = hashlib.sha256(content).hexdigest()
    return ShardInfo(name, len(documents), len(sentences), len(ids), len(content), checksum), content


def read_info(path: Path, *, text: str) -> ShardInfo | None:
    """Returns the manifest's entry of a shard from an earlier run; None if it is damaged or was made from another text.

    Args:
        path: the file.
        text: checksum of the expected text.
    """
    try:
        shard = _read(path)
    except InputError:
        return None
    if shard.metadata.get("text") != text:
        return None
    tokens, sentences, documents = (len(shard.tensors[name]) for name in _TENSORS)
    return ShardInfo(path.stem, documents, sentences, tokens, path.stat().st_size, _hash_file(path))


def format_settings(tokenizer: BertTokenizer, **settings: Any) -> str:
    """Formats the settings that shards depend on. A preparation can be continued only with the same settings."""
    library = {"sentencex": version("sentencex"), "tokenizers": version("tokenizers")}
    return to_json({"format": _FORMAT, "tokenizer": fingerprint(tokenizer), **settings, **library})


def make_manifest(
    infos: Iterable[ShardInfo], tokenizer: BertTokenizer, *, corpus: Sequence[str], **facts: Any
) -> dict[str, Any]:
    """Returns the content of ``manifest.json``: totals, how the shards were made, and the shards sorted by name."""
    shards = sorted((info for info in infos if info.tokens), key=lambda info: info.name)
    totals = {name: sum(getattr(info, name) for info in shards) for name in ("documents", "sentences", "tokens")}
    if not totals["documents"]:
        raise InputError(f"{', '.join(corpus)} contains no text; documents separated by empty lines were expected.")
    return {
        "format": _FORMAT,
        **totals,
        **facts,
        "vocab_size": tokenizer.vocab_size,
        "tokenizer": fingerprint(tokenizer),
        "corpus": list(corpus),
        "shards": [asdict(info) for info in shards],
    }


class TokenCorpus:
    """A prepared corpus: its tokens are on the disk, its sentence and document boundaries in memory.

    Args:
        directory: a directory that `prepare` wrote.
        check: whether to compare all checksums, which takes about a second per gigabyte.

    Attributes:
        manifest: the content of ``manifest.json``.
        tokenizer: the tokenizer that made the ids.
        sentence_starts: int64 ``[sentences + 1]``, the first token of each sentence, and the number of tokens.
        document_starts: int64 ``[documents + 1]``, the first sentence of each document, and the number of sentences.

    Raises:
        InputError: the directory contains no shards, a shard is missing, truncated or altered, or the shards were made
            with another tokenizer than the one in the directory.
    """

    def __init__(self, directory: str | Path, *, check: bool = True) -> None:
        self.directory = directory = Path(directory)
        if not (directory / MANIFEST).is_file():
            raise InputError(
                f"{directory} has no {MANIFEST}; a directory that `keras-bert prepare` wrote was expected."
            )
        self.manifest = manifest = read_json(directory / MANIFEST)
        if manifest.get("format") != _FORMAT:
            raise InputError(
                f"{directory / MANIFEST} has the format {manifest.get('format')!r}; {_FORMAT} was expected. Prepare "
                "the corpus again."
            )
        try:
            infos, made_with = [ShardInfo(**shard) for shard in manifest["shards"]], manifest["tokenizer"]
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{directory / MANIFEST} is not what `keras-bert prepare` writes ({error}). Prepare the corpus again."
            ) from error
        self.tokenizer = BertTokenizer.from_pretrained(directory)
        if fingerprint(self.tokenizer) != made_with:
            raise InputError(
                f"The shards in {directory} were made with another tokenizer than the one in this directory. Restore "
                "the original tokenizer, or prepare the corpus again."
            )
        if check:
            with ThreadPoolExecutor() as threads:
                list(threads.map(lambda info: _check(directory / info.file, info), infos))
        raise_open_file_limit(len(infos))  # Each mapped file is kept open.
        shards = [_open(directory / info.file) for info in infos]
        self._tokens = [shard["tokens"] for shard in shards]
        self._shard_starts = to_offsets(len(tokens) for tokens in self._tokens)
        self.sentence_starts = _concatenate_ends([shard["sentence_ends"] for shard in shards])
        self.document_starts = _concatenate_ends([shard["document_ends"] for shard in shards])

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.document_starts) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        # Other processes open the files themselves, without comparing checksums again.
        return functools.partial(TokenCorpus, check=False), (self.directory,)

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.manifest[name]:,} {name}" for name in ("documents", "sentences", "tokens"))
        return f"TokenCorpus({self.directory}: {counts})"

    def gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Concatenates ranges of tokens, each within one document: int32 ``[sum of lengths]``.

        Args:
            starts: int64 ``[ranges]``, positions among all tokens.
            lengths: int64 ``[ranges]``.
        """
        shard = np.searchsorted(self._shard_starts, starts, side="right") - 1
        local = starts - self._shard_starts[shard]
        ends = local + lengths
        ranges = zip(shard.tolist(), local.tolist(), ends.tolist(), strict=True)
        return np.concatenate([self._tokens[s][begin:end] for s, begin, end in ranges]).astype(np.int32)

    def split_documents(self, held_out: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Splits the documents at random into those to train with and those held out for evaluation.

        Args:
            held_out: the fraction of documents that are held out.
            seed: the seed of the choice.

        Returns:
            Two arrays of document numbers, ascending.

        Raises:
            InputError: one of them would have fewer than two documents.
        """
        count = round(self.documents * held_out)
        if held_out and (count < 2 or self.documents - count < 2):
            raise InputError(
                f"{self.directory} has {self.documents} documents, of which {held_out:.1%} are {count}; at least two "
                "are needed to train with and two to evaluate. Choose another fraction, or more text."
            )
        chosen = np.zeros(self.documents, bool)
        chosen[np.random.default_rng(seed).permutation(self.documents)[:count]] = True
        return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _check(path: Path, info: ShardInfo) -> None:
    try:
        size, checksum = path.stat().st_size, _hash_file(path)
    except OSError as error:
        raise make_read_error(path, error, _ADVICE) from error
    if size != info.bytes:
        raise InputError(
            f"{path} has {size:,} bytes; the manifest says {info.bytes:,}. It was truncated or replaced. {_ADVICE}"
        )
    if checksum != info.sha256:
        raise InputError(
            f"{path} was altered: its checksum is {checksum[:12]}…, the manifest says {info.sha256[:12]}…. {_ADVICE}"
        )


def _hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a shard, mapped from the file."""
    try:
        return _read(path).tensors
    except OSError as error:
        advice = " Raise the limit of open files (ulimit -n)." if error.errno == errno.EMFILE else ""
        raise InputError(f"{path} cannot be opened: {error.strerror}.{advice}") from error


def _read(path: Path) -> TensorFile:
    """Reads a shard, and checks that its tensors are vectors of unsigned integers."""
    file = read_safetensors(path, advice=_ADVICE)
    for name in _TENSORS:
        if name not in file.tensors or file.tensors[name].dtype.kind != "u" or file.tensors[name].ndim != 1:
            raise InputError(f"{path} is not a shard: it has no vector of unsigned integers {name!r}. {_ADVICE}")
    return file


def _concatenate_ends(ends: list[np.ndarray]) -> np.ndarray:
    """Converts the ends in each shard to starts over all shards, followed by the last end."""
    before = to_offsets(int(part[-1]) for part in ends)[:-1]
    return np.concatenate([[0], *(part.astype(np.int64) + offset for part, offset in zip(ends, before, strict=True))])
