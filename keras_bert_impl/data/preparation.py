"""Prepares a corpus for pretraining: converts text to shards of token ids, on all cores and resumable."""

import hashlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process, get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.data.corpus import UNIT, Unit, find_parts, list_sources, read_units
from keras_bert_impl.data.sentences import split_sentences
from keras_bert_impl.data.shards import (
    MANIFEST,
    ShardInfo,
    format_settings,
    make_manifest,
    pack_shard,
    read_info,
)
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import atomic_write, create_directory, read_text, to_json, write_text
from keras_bert_impl.machine import count_cores
from keras_bert_impl.tokenization import BertTokenizer

# The settings of an unfinished preparation, a file next to its shards.
_SETTINGS = "settings.json"


def prepare(
    corpus: str | Path | Sequence[str | Path],
    tokenizer: str | Path | BertTokenizer,
    output: str | Path,
    *,
    language: str = "en",
    text_field: str = "text",
    line_by_line: bool = False,
    strict: bool = False,
    shard_size: int = UNIT,
    workers: int | None = None,
    progress: Callable[[int, int, int, int], None] | None = None,
) -> dict[str, Any]:
    """Splits a corpus into sentences, tokenizes them and writes shards.

    Shards are written to a hidden directory next to ``output``, which is renamed at the end. After an interruption,
    call it again to continue. The names and the content of the shards depend on the corpus, the tokenizer and the
    language alone. Memory contains two units of 4 million characters per worker.

    Args:
        corpus: text files (plain or gzip; an empty line ends a document), directories of them, JSONL files with a text
            field (an object is one document or more), or ``tfds:NAME:SPLIT``.
        tokenizer: a tokenizer, or the source of one.
        output: the directory to write; must be new or empty.
        language: the language whose rules split sentences.
        text_field: the field of JSONL objects and data sets that contains the text.
        line_by_line: whether each line of a text file is a document.
        strict: whether a line that is not UTF-8 is an error; otherwise such lines are left out, with a warning that
            counts them.
        shard_size: the number of characters of a shard; a long last document can exceed it.
        workers: the number of processes; None: one per core.
        progress: called after each shard with the numbers of finished documents, tokens and bytes, and the total
            number of bytes.

    Returns:
        The content of ``manifest.json``.

    Raises:
        InputError: an argument or a file cannot be used.
        OSError: the disk is full; finished shards are kept.

    >>> if __name__ == "__main__":  # doctest: +SKIP
    ...     prepare(["novels/"], "runs/vocabulary", "shards/novels")
    """
    workers = count_cores() if workers is None else workers
    if workers < 1:
        raise InputError(f"workers is {workers}; an integer above 0 was expected.")
    if getattr(current_process(), "_inheriting", False):
        raise InputError(
            "prepare starts processes, which run the script again up to here. Put the call under "
            "`if __name__ == '__main__':`."
        )
    if not isinstance(tokenizer, BertTokenizer):
        tokenizer = BertTokenizer.from_pretrained(tokenizer)
    parts = find_parts(corpus, size=shard_size)
    reading: dict[str, Any] = {"text_field": text_field, **({"line_by_line": True} if line_by_line else {})}
    settings = format_settings(tokenizer, language=language, **reading, shard_size=shard_size)
    infos: list[ShardInfo] = []
    broken = read = documents = tokens = 0
    total = sum(part.size for part in parts)
    units = (unit for part in parts for unit in read_units(part, strict=strict, **reading, size=shard_size))
    with create_directory(Path(output), keep=_has_shards) as work:
        _check_same_settings(work, settings)
        maker = ShardMaker(tokenizer, language)
        for info, unit_broken, unit_read in _map_in_processes(units, maker, work, workers=workers):
            infos.append(info)
            broken, read = broken + unit_broken, read + unit_read
            documents, tokens = documents + info.documents, tokens + info.tokens
            if progress:
                progress(documents, tokens, read, total)
        if broken:
            warn_of_broken_lines(broken)
        facts = {"language": language, **({"line_by_line": True} if line_by_line else {}), "broken_lines": broken}
        manifest = make_manifest(infos, tokenizer, corpus=list_sources(corpus), **facts)
        finish_shards(work, manifest, tokenizer)
    # Removed last, so that a preparation which was interrupted just before can be continued.
    (Path(output) / _SETTINGS).unlink(missing_ok=True)
    return manifest


def warn_of_broken_lines(count: int) -> None:
    """Warns that lines are not UTF-8."""
    lines = "1 line is not UTF-8 and was" if count == 1 else f"{count:,} lines are not UTF-8 and were"
    warnings.warn(f"{lines} skipped. Use strict (--strict) to make the first one an error.", stacklevel=3)


class ShardMaker:
    """Makes the shard of a unit; can be pickled and sent to other processes.

    Args:
        tokenizer: the tokenizer.
        language: the language whose rules split sentences.
    """

    def __init__(self, tokenizer: BertTokenizer, language: str) -> None:
        self.tokenizer = tokenizer
        self.language = language
        self._tokenizer = tokenizer.ignore_special_tokens()

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled Rust tokenizer loses its setting for special tokens, so it is made again.
        return ShardMaker, (self.tokenizer, self.language)

    def __call__(self, unit: Unit) -> tuple[ShardInfo, bytes]:
        """The shard of a unit: its entry in the manifest, and its bytes."""
        sentences: list[str] = []
        per_document: list[int] = []
        for lines in unit.documents:
            of_document = [each for line in lines for each in split_sentences(line, language=self.language)]
            sentences += of_document
            per_document.append(len(of_document))
        tokens = self._tokenizer.tokenize_batch(sentences)
        # Some sentences have no tokens: those of control characters only.
        document = np.repeat(np.arange(len(per_document)), per_document)[tokens.lengths > 0]
        counts = np.bincount(document, minlength=len(per_document))
        return pack_shard(
            unit.name,
            tokens.ids,
            tokens.lengths[tokens.lengths > 0],
            counts[counts > 0],
            vocab_size=self.tokenizer.vocab_size,
            text=_compute_checksum(unit),
        )


def finish_shards(directory: Path, manifest: dict[str, Any], tokenizer: BertTokenizer) -> None:
    """Writes tokenizer and manifest next to the shards, and removes all other shards and temporary files."""
    tokenizer.save_pretrained(directory)
    named = {ShardInfo(**shard).file for shard in manifest["shards"]}
    # Others are shards of text that was removed, and files that a process was writing when it was killed.
    for path in directory.iterdir():
        if path.name not in named and path.suffix in (".safetensors", ".partial"):
            path.unlink()
    write_text(directory / MANIFEST, to_json(manifest))


def _compute_checksum(unit: Unit) -> str:
    text = "\n\n".join("\n".join(document) for document in unit.documents)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _has_shards(work: Path) -> bool:
    return any(work.glob("*.safetensors"))


def _check_same_settings(work: Path, settings: str) -> None:
    """Writes the settings of a new preparation; raises ``InputError`` if an interrupted one has other settings."""
    if not _has_shards(work):
        write_text(work / _SETTINGS, settings)
    elif not (work / _SETTINGS).exists() or read_text(work / _SETTINGS) != settings:
        raise InputError(
            f"{work} contains shards of an interrupted preparation with another tokenizer, language or version. Use "
            "the same again to continue it, or remove that directory to start again."
        )


def _map_in_processes(
    units: Iterable[Unit], maker: ShardMaker, work: Path, *, workers: int
) -> Iterator[tuple[ShardInfo, int, int]]:
    """Makes the shards of units in worker processes, while this process reads.

    Yields for each finished unit its shard, the number of its skipped lines, and the number of bytes read for it.
    """
    pending: set[Future] = set()
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_init_worker, initargs=(maker, work))
    try:
        for unit in units:
            pending.add(pool.submit(_make_shard, unit))
            if len(pending) > 2 * workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise OSError("A worker process died, perhaps because the memory was full. Use fewer workers.") from error
    finally:
        pool.shutdown(cancel_futures=True)


# In each worker process: the maker of shards, and the directory that they are written to.
_worker: dict[str, Any] = {}


def _init_worker(maker: ShardMaker, work: Path) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # A worker uses one core; the reading process handles Ctrl-C.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(maker=maker, work=work)


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # A worker has a parent.
    parent.join()
    os._exit(1)


def _make_shard(unit: Unit) -> tuple[ShardInfo, int, int]:
    path = _worker["work"] / f"{unit.name}.safetensors"
    info = read_info(path, text=_compute_checksum(unit)) if path.exists() else None
    if info is None:
        info, content = _worker["maker"](unit)
        if info.tokens:
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
    return info, unit.broken, unit.read
