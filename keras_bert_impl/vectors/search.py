"""Exact search: the documents whose vectors are most similar to those of queries."""

from collections.abc import Callable

import numpy as np

# Similarities of at most this many pairs are in memory at once.
_MAX_SCORES = 1 << 24
_MAX_QUERIES = 1024
# Few queries search a file of vectors block by block, too, because functions such as `cos_sim` copy their vectors.
_MAX_DOCUMENTS = 1 << 16


def search(
    queries: np.ndarray, documents: np.ndarray, similarity: Callable[[np.ndarray, np.ndarray], np.ndarray], *, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the ``k`` most similar documents for each query.

    Args:
        queries: vectors ``[queries, size]``.
        documents: vectors ``[documents, size]``; they may be memory-mapped.
        similarity: takes blocks of both and returns their similarities ``[queries, documents]``, such as `cos_sim`.
        k: the number of documents per query; all documents if there are fewer.

    Returns:
        the indices of the documents, int64 ``[queries, min(k, documents)]``, most similar first, and of equally similar
        documents the first; and their similarities, float32.

    >>> search(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [3.0, 4.0]]), lambda a, b: a @ b.T, k=1)
    (array([[1]]), array([[3.]], dtype=float32))
    """
    k = min(k, len(documents))
    indices, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    size = max(1, min(_MAX_DOCUMENTS, _MAX_SCORES // max(1, min(len(queries), _MAX_QUERIES))))
    for start in range(0, len(queries), _MAX_QUERIES):
        rows = slice(start, start + _MAX_QUERIES)
        indices[rows], scores[rows] = _search_block(queries[rows], documents, similarity, k=k, size=size)
    return indices, scores


def _search_block(
    queries: np.ndarray,
    documents: np.ndarray,
    similarity: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    k: int,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Searches blocks of ``size`` documents one after the other."""
    indices: np.ndarray = np.empty((len(queries), 0), np.int64)
    scores: np.ndarray = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(documents), size):
        block = similarity(queries, documents[start : start + size])
        top = find_top_k(block, k)
        # The documents of earlier blocks come first, so that they precede equally similar ones of this block.
        indices = np.concatenate([indices, start + top], axis=1)
        scores = np.concatenate([scores, np.take_along_axis(block, top, axis=1)], axis=1)
        best = find_top_k(scores, k)
        indices, scores = (np.take_along_axis(array, best, axis=1) for array in (indices, scores))
    return indices, scores


def find_top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Finds the columns with the highest scores in each row, highest first; of equal scores the first columns.

    Args:
        scores: ``[rows, columns]``, finite.
        k: the number of columns to find; all columns if there are fewer.

    Returns:
        int64 ``[rows, min(k, columns)]``.

    >>> find_top_k(np.array([[0.1, 0.5, 0.5, 0.9]]), 2)
    array([[3, 1]])
    """
    k = min(k, scores.shape[1])
    columns = np.empty((len(scores), k), np.int64)
    for i, row in enumerate(scores):
        lowest = np.partition(row, -k)[-k]
        above = np.flatnonzero(row > lowest)
        candidates = np.concatenate([above, np.flatnonzero(row == lowest)[: k - len(above)]])
        columns[i] = candidates[np.lexsort((candidates, -row[candidates]))]
    return columns
