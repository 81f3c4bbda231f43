"""Prepares a corpus with an Apache Beam pipeline: makes the same shards as `prepare`, on many machines."""

import json
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_bert_impl.data.corpus import (
    UNIT,
    Part,
    Unit,
    group_files,
    is_text_file,
    list_sources,
    read_units,
    sort_paths,
)
from keras_bert_impl.data.preparation import ShardMaker, warn_of_broken_lines
from keras_bert_impl.data.shards import MANIFEST, ShardInfo, make_manifest
from keras_bert_impl.data.tables import is_tfds
from keras_bert_impl.errors import InputError, make_missing_error
from keras_bert_impl.files import make_not_empty_error, to_json
from keras_bert_impl.tokenization import BertTokenizer

# The key of a manifest that contains an error message, for the process that started the pipeline.
_ERROR = "error"


def prepare_with_beam(
    corpus: str | Sequence[str],
    tokenizer: str | Path | BertTokenizer,
    output: str,
    *,
    options: Sequence[str] = (),
    language: str = "en",
    text_field: str = "text",
    line_by_line: bool = False,
    strict: bool = False,
    shard_size: int = UNIT,
) -> dict[str, Any]:
    """Prepares a corpus like `prepare`, on any Beam runner: this machine, Dataflow, Flink or Spark.

    The paths may be on any file system that Beam supports (``gs://``, ``s3://``, ``hdfs://``). This package must be
    installed on the workers. Each shard is written under a temporary name and renamed; the manifest is written last.

    Args:
        corpus: files, directories, and ``tfds:NAME:SPLIT``.
        tokenizer: a tokenizer, or the source of one.
        output: the directory to write; must be new or empty.
        options: options of the pipeline, for example ``["--runner=FlinkRunner", "--flink_master=host:8081"]``; without
            options the pipeline runs on this machine.
        language: the language whose rules split sentences.
        text_field: the field of JSONL objects and data sets that contains the text.
        line_by_line: whether each line of a text file is a document.
        strict: whether a line that is not UTF-8 is an error; otherwise such lines are left out, with a warning that
            counts them.
        shard_size: the number of characters of a shard; a long last document can exceed it.

    Returns:
        The content of ``manifest.json``.

    Raises:
        InputError: an argument cannot be used, or Beam is not installed.

    >>> prepare_with_beam(["gs://corpus/"], "vocabulary", "gs://shards/1", options=["--runner=DataflowRunner"])
    ... # doctest: +SKIP
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise make_missing_error(error, "beam", user="the pipeline") from error
    if not isinstance(tokenizer, BertTokenizer):
        tokenizer = BertTokenizer.from_pretrained(tokenizer)
    files = _import_file_systems()
    if files.exists(output) and any(match.metadata_list for match in files.match([files.join(output, "*")])):
        raise make_not_empty_error(output)
    sources = list_sources(corpus)
    parts = group_files([file for source in sources for file in _find_files(source)], size=shard_size)

    reading: dict[str, Any] = {"strict": strict, "text_field": text_field, "line_by_line": line_by_line}

    def read(part: Part) -> Iterator[Unit | str]:
        # Runners report errors in different ways, so the message is passed on as data.
        try:
            yield from read_units(part, **reading, size=shard_size, open_file=_open)
        except InputError as error:
            yield str(error)

    maker = ShardMaker(tokenizer, language)
    facts = {"corpus": sources, "language": language, **({"line_by_line": True} if line_by_line else {})}
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        _ = (
            pipeline
            | "parts" >> beam.Create(parts)
            | "units" >> beam.FlatMap(read)
            | "spread" >> beam.Reshuffle()
            | "shards" >> beam.Map(_write_shard, maker, output)
            | "together" >> beam.combiners.ToList()
            | "manifest" >> beam.Map(_write_manifest, tokenizer, output, facts)
        )
    with files.open(files.join(output, MANIFEST)) as file:
        manifest = json.loads(file.read())
    if _ERROR in manifest:
        files.delete([output])
        raise InputError(manifest[_ERROR])
    if manifest["broken_lines"]:
        warn_of_broken_lines(manifest["broken_lines"])
    return manifest


def _import_file_systems() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def _find_files(source: str) -> list[tuple[str, int]]:
    """Returns the files of one source and their sizes, in the order of `find_parts`."""
    if is_tfds(source):
        return [(source, 0)]
    files = _import_file_systems()
    (match,) = files.match([source])
    # File systems without directories match nothing by a directory's name; others match it without a size.
    if match.metadata_list and not Path(source).is_dir():
        return [(source, match.metadata_list[0].size_in_bytes)]
    (match,) = files.match([files.join(source, "**")])
    sizes = {entry.path: entry.size_in_bytes for entry in match.metadata_list if is_text_file(entry.path)}
    if not sizes:
        raise InputError(f"{source} is neither a file nor a directory with text.")
    return [(path, sizes[path]) for path in sort_paths(sizes)]


def _open(path: str) -> Any:
    from apache_beam.io.filesystem import CompressionTypes

    return _import_file_systems().open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _write(path: str, content: bytes) -> None:
    """Writes a file completely or not at all, even if several machines write the same one."""
    from apache_beam.io.filesystem import CompressionTypes

    files = _import_file_systems()
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    with files.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(content)
    try:
        files.rename([temporary], [path])
    except Exception:
        # Some file systems refuse to rename over an existing file. Another attempt has written the same content.
        if not files.exists(path):
            raise
        files.delete([temporary])


def _write_shard(unit: Unit | str, maker: ShardMaker, output: str) -> tuple[ShardInfo, int] | str:
    if isinstance(unit, str):
        return unit
    info, content = maker(unit)
    if info.tokens:
        _write(_import_file_systems().join(output, info.file), content)
    return info, unit.broken


def _write_manifest(
    results: list[tuple[ShardInfo, int] | str], tokenizer: BertTokenizer, output: str, facts: dict[str, Any]
) -> None:
    files = _import_file_systems()
    shards = [result for result in results if not isinstance(result, str)]
    messages = sorted(result for result in results if isinstance(result, str))
    try:
        if messages:
            raise InputError(messages[0])
        broken = sum(broken for _, broken in shards)
        manifest = make_manifest([info for info, _ in shards], tokenizer, **facts, broken_lines=broken)
    except InputError as error:
        _write(files.join(output, MANIFEST), to_json({_ERROR: str(error)}).encode())
        return
    with tempfile.TemporaryDirectory() as directory:
        tokenizer.save_pretrained(directory)
        for path in Path(directory).iterdir():
            _write(files.join(output, path.name), path.read_bytes())
    _write(files.join(output, MANIFEST), to_json(manifest).encode())
