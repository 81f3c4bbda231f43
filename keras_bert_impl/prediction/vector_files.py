"""Vectors of files and streams of texts, written to ``.npy`` files that may be larger than memory."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from keras_bert_impl.data.tables import iterate_texts
from keras_bert_impl.files import open_output
from keras_bert_impl.prediction.encoder import get_vector_size
from keras_bert_impl.prediction.encoding import ENCODE_PRECISIONS, iterate_vectors
from keras_bert_impl.prediction.quantization import (
    check_number_of_vectors,
    check_precision,
    needs_ranges,
    quantize_embeddings,
)

if TYPE_CHECKING:
    from keras_bert_impl.models import BertForSentenceEmbedding


def encode_file(
    model: "BertForSentenceEmbedding", path: str | Path, output: str | Path, *, column: str = "text", **options: Any
) -> tuple[int, int]:
    """Computes the vectors of the texts in a file and writes them to a ``.npy`` file; both may be larger than memory.

    Args:
        model: the model, with its tokenizer.
        path: a ``.txt`` file with a text per line, empty lines included; or a TSV, CSV or JSONL file.
        output: the file to write; see `save_vectors`.
        column: the name of the column with the texts; a number if the file has no header.
        options: the other arguments of `save_vectors`.

    Returns:
        the number of vectors, and the number of entries of each.

    Raises:
        InputError: the file cannot be used, or see `save_vectors`.

    >>> encode_file(model, "sentences.txt", "vectors.npy")  # doctest: +SKIP
    (10000, 384)
    >>> np.load("vectors.npy", mmap_mode="r").shape  # doctest: +SKIP
    (10000, 384)
    """
    return save_vectors(model, iterate_texts(path, column=column), output, **options)


def save_vectors(
    model: "BertForSentenceEmbedding",
    texts: Iterable[str],
    output: str | Path,
    *,
    precision: str = "float32",
    truncate_dim: int | None = None,
    show_progress_bar: bool | None = None,
    **options: Any,
) -> tuple[int, int]:
    """Computes the vectors of texts and writes them to a ``.npy`` file; neither is kept in memory.

    Args:
        model: the model, with its tokenizer.
        texts: any iterable of texts.
        output: the file to write; it is replaced when all vectors are complete. For ``int8`` and ``uint8``, which need
            the ranges of all vectors, the float32 vectors are in a temporary file in its directory before.
        precision: see `encode`.
        truncate_dim: see `encode`.
        show_progress_bar: see `encode`.
        options: the other arguments of `iterate_vectors`.

    Returns:
        the number of vectors, and the number of entries of each.

    Raises:
        InputError: the file cannot be written, or see `encode`.
        OSError: the disk is full.
    """
    check_precision(precision, ENCODE_PRECISIONS)
    computed, stored = ("bfloat16", "float32") if precision == "bfloat16" else ("float32", precision)
    options = {**options, "truncate_dim": truncate_dim, "show_progress_bar": show_progress_bar}
    empty = quantize_embeddings(np.empty((0, get_vector_size(model, truncate_dim)), np.float32), stored)
    chunks = iterate_vectors(model, texts, precision=computed, **options)
    with open_output(output) as temporary, open(temporary, "wb") as file:
        if needs_ranges(stored):
            chunks = _quantize_by_ranges(chunks, stored, directory=temporary.parent)
        else:
            chunks = (quantize_embeddings(chunk, stored) for chunk in chunks)
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
    # NumPy leaves space in the header for more digits of the first dimension.
    assert write_header(rows) == size
    return rows
