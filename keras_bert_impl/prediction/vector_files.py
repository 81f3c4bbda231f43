"""Vectors of files and streams of texts, written to ``.npy`` files that may be larger than memory."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Unpack

import numpy as np

from keras_bert_impl.data.tables import iterate_texts
from keras_bert_impl.files import open_output
from keras_bert_impl.prediction.encoder import EncodeOptions, get_dimensions
from keras_bert_impl.prediction.encoding import ENCODE_PRECISIONS, iterate_vectors, split_precision
from keras_bert_impl.prediction.predictor import CHUNK_SIZE
from keras_bert_impl.prediction.quantization import (
    check_number_of_vectors,
    check_precision,
    needs_ranges,
    quantize_embeddings,
)

if TYPE_CHECKING:
    from keras_bert_impl.models import BertForSentenceEmbedding


def encode_file(
    model: "BertForSentenceEmbedding",
    texts: str | Path | Iterable[str],
    output: str | Path,
    *,
    column: str = "text",
    precision: str = "float32",
    size: int = CHUNK_SIZE,
    show_progress_bar: bool | None = None,
    **options: Unpack[EncodeOptions],
) -> tuple[int, int]:
    """Computes the vectors of texts and writes them to a ``.npy`` file; both may be larger than memory.

    Args:
        model: the model, with its tokenizer.
        texts: a ``.txt`` file with a text per line, empty lines included; a TSV, CSV or JSONL file; or any iterable of
            texts.
        output: the file to write; it is replaced when all vectors are complete. For ``int8`` and ``uint8``, which need
            the ranges of all vectors, the float32 vectors are first written to a temporary file in its directory.
        column: the name of the column with the texts; a number if the file has no header.
        precision: see `encode`.
        size: the number of texts in a chunk; see `iterate_vectors`.
        show_progress_bar: see `encode`.
        options: see `iterate_vectors`.

    Returns:
        the shape of the array in the file: the number of vectors, and the number of entries of each.

    Raises:
        InputError: a file cannot be used; see also `encode`.
        OSError: the disk is full.

    >>> encode_file(model, "sentences.txt", "vectors.npy")  # doctest: +SKIP
    (10000, 384)
    >>> np.load("vectors.npy", mmap_mode="r").shape  # doctest: +SKIP
    (10000, 384)
    """
    check_precision(precision, ENCODE_PRECISIONS)
    dimensions = get_dimensions(model, options.get("truncate_dim"))
    if isinstance(texts, str | Path):
        texts = iterate_texts(texts, column=column)
    _, stored = split_precision(precision)
    computed = "float32" if needs_ranges(precision) else precision
    chunks = iterate_vectors(
        model, texts, size=size, show_progress_bar=show_progress_bar, precision=computed, **options
    )
    empty = quantize_embeddings(np.empty((0, dimensions), np.float32), stored)
    with open_output(output) as temporary, open(temporary, "wb") as file:
        if needs_ranges(precision):
            chunks = _quantize_by_ranges(chunks, precision, directory=temporary.parent)
        return _write_rows(file, chunks, empty), empty.shape[1]


def _quantize_by_ranges(chunks: Iterable[np.ndarray], precision: str, *, directory: Path) -> Iterator[np.ndarray]:
    """Quantizes vectors by the ranges of all; until these are known, the vectors are in a temporary file."""
    shapes, lows, highs = [], [], []
    with tempfile.TemporaryFile(dir=directory) as file:
        for chunk in chunks:
            file.write(chunk.tobytes())
            shapes.append(chunk.shape)
            lows.append(chunk.min(axis=0))
            highs.append(chunk.max(axis=0))
        if not shapes:
            return
        check_number_of_vectors(sum(rows for rows, _ in shapes), precision)
        ranges = np.stack([np.min(lows, axis=0), np.max(highs, axis=0)])
        file.seek(0)
        for rows, size in shapes:
            vectors = np.frombuffer(file.read(4 * rows * size), np.float32).reshape(rows, size)
            yield quantize_embeddings(vectors, precision, ranges)


def _write_rows(file: BinaryIO, chunks: Iterable[np.ndarray], empty: np.ndarray) -> int:
    """Writes a ``.npy`` file of rows like those of ``empty``, whose number is known at the end; returns it."""

    def write_header(rows: int) -> int:
        header = {"descr": empty.dtype.str, "fortran_order": False, "shape": (rows, *empty.shape[1:])}
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()

    size, rows = write_header(0), 0
    for chunk in chunks:
        file.write(np.ascontiguousarray(chunk).tobytes())
        rows += len(chunk)
    end = write_header(rows)
    assert end == size  # NumPy leaves space in the header for more digits of the first dimension.
    return rows
