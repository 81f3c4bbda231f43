"""Preparation of a corpus for pretraining: text to shards of token ids, on all cores, to be continued after a break."""

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

from keras_bert_impl.data.corpus import UNIT, Unit, find_parts, read_units, sources_of
from keras_bert_impl.data.sentences import split_sentences
from keras_bert_impl.data.shards import (
    MANIFEST,
    ShardInfo,
    make_manifest,
    pack_shard,
    read_info,
    settings_text,
)
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import atomic_write, new_directory, read_text, to_json, write_text
from keras_bert_impl.machine import count_cores
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.backend import encode_pieces, taking_special_tokens_for_text

# Beside the shards of a preparation that is under way, what it was begun with.
_SETTINGS = "settings.json"


def prepare(
    corpus: str | Path | Sequence[str | Path],
    tokenizer: str | Path | BertTokenizer,
    output: str | Path,
    *,
    language: str = "en",
    text_field: str = "text",
    strict: bool = False,
    shard_size: int = UNIT,
    workers: int | None = None,
    progress: Callable[[int, int, int, int], None] | None = None,
) -> dict[str, Any]:
    """Splits a corpus into sentences, tokenizes them and writes shards; begun again after a break it continues.

    Until it is whole the work stands in a hidden directory beside ``output``. Which shards there are and what is in
    them depends on the corpus, the tokenizer and the language alone. Memory holds two units of 4 million characters a
    worker.

    Args:
        corpus: text files (plain or gzip; an empty line ends a document), directories of them, JSONL files with a field
            of text (an object is a document or several), or ``tfds:NAME:SPLIT``.
        tokenizer: a tokenizer, or where one is.
        output: the directory to write; must not exist or be empty.
        language: whose rules find the ends of sentences.
        text_field: the field of JSONL objects and data sets.
        strict: whether lines that are no UTF-8 are an error; else they are left out, with a warning that counts them.
        shard_size: characters of text that become a shard, or more if the last document is long.
        workers: processes; None: one a core.
        progress: called now and then with the documents, tokens and bytes done, and the bytes in all.

    Returns:
        what ``manifest.json`` holds.

    Raises:
        InputError: something in the arguments or files cannot be used.
        OSError: the disk is full; what is done is kept.

    >>> if __name__ == "__main__":  # doctest: +SKIP
    ...     prepare(["novels/"], "runs/vocabulary", "shards/novels")
    """
    workers = count_cores() if workers is None else workers
    if workers < 1:
        raise InputError(f"workers is {workers}; a whole number above 0 was expected.")
    if getattr(current_process(), "_inheriting", False):
        raise InputError(
            "prepare starts processes, which run the script again up to here. Put the call under "
            "`if __name__ == '__main__':`."
        )
    if not isinstance(tokenizer, BertTokenizer):
        tokenizer = BertTokenizer.from_pretrained(tokenizer)
    parts = find_parts(corpus, size=shard_size)
    settings = settings_text(tokenizer, language=language, text_field=text_field, shard_size=shard_size)
    infos: list[ShardInfo] = []
    broken = read = documents = tokens = 0
    whole = sum(part.size for part in parts)
    units = (unit for part in parts for unit in read_units(part, strict=strict, text_field=text_field, size=shard_size))
    with new_directory(Path(output), keep=_has_shards) as work:
        _note(work, settings)
        for info, unit_broken, unit_read in _on_all_cores(
            units, ShardMaker(tokenizer, language), work, workers=workers
        ):
            infos.append(info)
            broken, read = broken + unit_broken, read + unit_read
            documents, tokens = documents + info.documents, tokens + info.tokens
            if progress:
                progress(documents, tokens, read, whole)
        if broken:
            warn_of_broken_lines(broken)
        manifest = make_manifest(infos, tokenizer, corpus=sources_of(corpus), language=language, broken_lines=broken)
        finish(work, manifest, tokenizer)
    # At last, so that a run which ended just before can be continued.
    (Path(output) / _SETTINGS).unlink(missing_ok=True)
    return manifest


def warn_of_broken_lines(count: int) -> None:
    """Warns of lines that were no UTF-8."""
    warnings.warn(
        f"{count:,} lines were no UTF-8 and are left out; with strict (--strict) the first is an error.", stacklevel=3
    )


class ShardMaker:
    """Makes the shard of a unit; can be sent to other processes, where it is made anew.

    Args:
        tokenizer: the tokenizer.
        language: of the sentences.
    """

    def __init__(self, tokenizer: BertTokenizer, language: str) -> None:
        self.tokenizer = tokenizer
        self.language = language
        self._backend = taking_special_tokens_for_text(tokenizer.backend_tokenizer)

    def __reduce__(self) -> tuple[Any, ...]:
        # The Rust tokenizer would lose on the way what it is to do with special tokens.
        return ShardMaker, (self.tokenizer, self.language)

    def __call__(self, unit: Unit) -> tuple[ShardInfo, bytes]:
        """The shard of a unit: its entry in the manifest, and its bytes."""
        sentences: list[str] = []
        per_document: list[int] = []
        for lines in unit.documents:
            found = [sentence for line in lines for sentence in split_sentences(line, language=self.language)]
            sentences += found
            per_document.append(len(found))
        pieces = encode_pieces(self._backend, sentences, are_words=False, with_places=False)
        # Sentences can be empty for the tokenizer: control characters alone.
        document = np.repeat(np.arange(len(per_document)), per_document)[pieces.lengths > 0]
        counts = np.bincount(document, minlength=len(per_document))
        return pack_shard(
            unit.name,
            pieces.ids,
            pieces.lengths[pieces.lengths > 0],
            counts[counts > 0],
            vocab_size=self.tokenizer.vocab_size,
            text=_checksum(unit),
        )


def finish(directory: Path, manifest: dict[str, Any], tokenizer: BertTokenizer) -> None:
    """Puts tokenizer and manifest beside the shards, and removes what only the work needed."""
    tokenizer.save_pretrained(directory)
    named = {ShardInfo(**shard).file for shard in manifest["shards"]}
    # Shards of text that is gone, and files that a process was writing when it was killed.
    for path in directory.iterdir():
        if path.name not in named and path.suffix in (".safetensors", ".partial"):
            path.unlink()
    write_text(directory / MANIFEST, to_json(manifest))


def _checksum(unit: Unit) -> str:
    text = "\n\n".join("\n".join(document) for document in unit.documents)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _has_shards(work: Path) -> bool:
    return any(work.glob("*.safetensors"))


def _note(work: Path, settings: str) -> None:
    """Notes the settings of a preparation; one that is continued must have had the same."""
    if not _has_shards(work):
        write_text(work / _SETTINGS, settings)
    elif not (work / _SETTINGS).exists() or read_text(work / _SETTINGS) != settings:
        raise InputError(
            f"{work} holds shards of a run that stopped and had another tokenizer, language or version. Use the same "
            "again to continue it, or remove that directory to begin anew."
        )


def _on_all_cores(
    units: Iterable[Unit], maker: ShardMaker, work: Path, *, workers: int
) -> Iterator[tuple[ShardInfo, int, int]]:
    """For each unit, as they are done: its shard, lines left out, bytes read. This process reads, others tokenize."""
    under_way: set[Future] = set()
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(maker, work))
    try:
        for unit in units:
            under_way.add(pool.submit(_work, unit))
            if len(under_way) > 2 * workers:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while under_way:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise OSError("A worker process ended; was the memory full? Use fewer workers.") from error
    finally:
        pool.shutdown(cancel_futures=True)


# In each worker process: what makes shards, and where they go.
_state: dict[str, Any] = {}


def _begin(maker: ShardMaker, work: Path) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A worker takes one core; Ctrl-C is for the process that reads.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _state.update(maker=maker, work=work)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # This is a worker.
    parent.join()
    os._exit(1)


def _work(unit: Unit) -> tuple[ShardInfo, int, int]:
    path = _state["work"] / f"{unit.name}.safetensors"
    info = read_info(path, text=_checksum(unit)) if path.exists() else None
    if info is None:
        info, content = _state["maker"](unit)
        if info.tokens:
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
    return info, unit.broken, unit.read
