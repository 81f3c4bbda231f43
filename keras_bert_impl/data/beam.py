"""The preparation of a corpus as an Apache Beam pipeline: the same shards as `prepare`, made by many machines."""

import json
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_bert_impl.data.corpus import UNIT, Part, Unit, group_files, in_order, is_text, read_units, sources_of
from keras_bert_impl.data.prepare import ShardMaker, warn_of_broken_lines
from keras_bert_impl.data.shards import MANIFEST, ShardInfo, make_manifest
from keras_bert_impl.data.tfds import is_tfds
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import to_json
from keras_bert_impl.tokenization import BertTokenizer

# The key of a manifest that tells what went wrong, for the process that started the pipeline.
_ERROR = "error"


def prepare_with_beam(
    corpus: str | Sequence[str],
    tokenizer: str | Path | BertTokenizer,
    output: str,
    *,
    options: Sequence[str] = (),
    language: str = "en",
    text_field: str = "text",
    strict: bool = False,
    shard_size: int = UNIT,
) -> dict[str, Any]:
    """Does what `prepare` does on whatever runs Beam pipelines: this machine, Dataflow, Flink, Spark.

    The paths may be on any file system that Beam knows (``gs://``, ``s3://``, ``hdfs://``), and the machines need this
    package. Each shard is written under a temporary name and renamed; the manifest comes last.

    Args:
        corpus: files, directories, and ``tfds:NAME:SPLIT``.
        tokenizer: a tokenizer, or where one is.
        output: the directory to write; must not exist or be empty.
        options: of the pipeline, as ``["--runner=FlinkRunner", "--flink_master=host:8081"]``; none: this machine.
        language: whose rules find the ends of sentences.
        text_field: the field of JSONL objects and data sets.
        strict: whether lines that are no UTF-8 are an error; else they are left out, with a warning that counts them.
        shard_size: characters of text that become a shard.

    Returns:
        what ``manifest.json`` holds.

    Raises:
        InputError: something in the arguments cannot be used, or Beam is not installed.

    >>> prepare_with_beam(["gs://corpus/"], "vocabulary", "gs://shards/1", options=["--runner=DataflowRunner"])
    ... # doctest: +SKIP
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError("Apache Beam is not installed. Run: pip install 'keras_bert_impl[beam]'") from error
    if not isinstance(tokenizer, BertTokenizer):
        tokenizer = BertTokenizer.from_pretrained(tokenizer)
    files = _files_system()
    if files.exists(output) and any(match.metadata_list for match in files.match([files.join(output, "*")])):
        raise InputError(f"{output} exists and is not empty. Name another directory, or remove this one.")
    sources = sources_of(corpus)
    parts = group_files([found for source in sources for found in _files(source)], size=shard_size)

    def read(part: Part) -> Iterator[Unit | str]:
        # What a runner makes of an error is its own affair: the message goes on as data.
        try:
            yield from read_units(part, strict=strict, text_field=text_field, size=shard_size, open_file=_open)
        except InputError as error:
            yield str(error)

    maker = ShardMaker(tokenizer, language)
    facts = {"corpus": sources, "language": language}
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


def _files_system() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def _files(source: str) -> list[tuple[str, int]]:
    """Files and their sizes, in the order of `find_parts`."""
    if is_tfds(source):
        return [(source, 0)]
    files = _files_system()
    (itself,) = files.match([source])
    # File systems without directories match nothing by a directory's name; others match it without a size.
    if itself.metadata_list and not Path(source).is_dir():
        return [(source, itself.metadata_list[0].size_in_bytes)]
    (below,) = files.match([files.join(source, "**")])
    found = {entry.path: entry.size_in_bytes for entry in below.metadata_list if is_text(entry.path)}
    if not found:
        raise InputError(f"{source} is neither a file nor a directory with text.")
    return [(path, found[path]) for path in in_order(found)]


def _open(path: str) -> Any:
    from apache_beam.io.filesystem import CompressionTypes

    return _files_system().open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _write(path: str, content: bytes) -> None:
    """Writes a file whole or not at all, though several machines may do the same."""
    from apache_beam.io.filesystem import CompressionTypes

    files = _files_system()
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    with files.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(content)
    try:
        files.rename([temporary], [path])
    except Exception:
        # Some file systems do not rename onto a file: the same one, which another attempt wrote.
        if not files.exists(path):
            raise
        files.delete([temporary])


def _write_shard(unit: Unit | str, maker: ShardMaker, output: str) -> tuple[ShardInfo, int] | str:
    if isinstance(unit, str):
        return unit
    info, packed = maker(unit)
    if info.tokens:
        _write(_files_system().join(output, info.file), packed)
    return info, unit.broken


def _write_manifest(
    made: list[tuple[ShardInfo, int] | str], tokenizer: BertTokenizer, output: str, facts: dict[str, Any]
) -> None:
    files = _files_system()
    whole = [one for one in made if not isinstance(one, str)]
    messages = sorted(one for one in made if isinstance(one, str))
    try:
        if messages:
            raise InputError(messages[0])
        broken = sum(broken for _, broken in whole)
        manifest = make_manifest([info for info, _ in whole], tokenizer, **facts, broken_lines=broken)
    except InputError as error:
        _write(files.join(output, MANIFEST), to_json({_ERROR: str(error)}).encode())
        return
    with tempfile.TemporaryDirectory() as directory:
        tokenizer.save_pretrained(directory)
        for path in Path(directory).iterdir():
            _write(files.join(output, path.name), path.read_bytes())
    _write(files.join(output, MANIFEST), to_json(manifest).encode())
