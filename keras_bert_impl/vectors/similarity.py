"""Similarity of vectors: cosine, dot product, and negative Euclidean and Manhattan distances."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_bert_impl.errors import InputError

# Norms are at least this, as in torch, so that a vector of zeros has the similarity 0 to every other.
_MIN_NORM = np.float32(1e-12)


def normalize(vectors: Any) -> np.ndarray:
    """Divides vectors ``[..., size]`` by their L2 norms, float32; a vector of zeros remains zeros.

    >>> normalize([3.0, 4.0])
    array([0.6, 0.8], dtype=float32)
    """
    vectors = np.asarray(vectors, np.float32)
    norms = np.sqrt(np.sum(vectors * vectors, axis=-1, keepdims=True))
    return vectors / np.maximum(norms, _MIN_NORM)


def cos_sim(a: Any, b: Any) -> np.ndarray:
    """Cosine similarity of every vector of ``a`` to every vector of ``b``.

    Args:
        a: vectors ``[rows, size]``, or one vector ``[size]``; integers are taken as numbers, too.
        b: vectors ``[columns, size]``, or one vector.

    Returns:
        float32 ``[rows, columns]``, in memory at once: pass blocks of rows if there are many.

    Raises:
        InputError: the vectors have different sizes.

    >>> cos_sim([[1, 0], [3, 4]], [0, 2])
    array([[0. ],
           [0.8]], dtype=float32)
    """
    a, b = _to_matrices(a, b)
    return normalize(a) @ normalize(b).T


def dot_score(a: Any, b: Any) -> np.ndarray:
    """Dot product of every vector of ``a`` with every vector of ``b``; see `cos_sim`."""
    a, b = _to_matrices(a, b)
    return a @ b.T


def euclidean_sim(a: Any, b: Any) -> np.ndarray:
    """Negative Euclidean distance of every vector of ``a`` to every vector of ``b``; see `cos_sim`."""
    # In float64, because float32 loses digits in this sum if vectors are near each other.
    a, b = (vectors.astype(np.float64) for vectors in _to_matrices(a, b))
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return -np.sqrt(np.maximum(squares, 0)).astype(np.float32)


def manhattan_sim(a: Any, b: Any) -> np.ndarray:
    """Negative Manhattan distance of every vector of ``a`` to every vector of ``b``; see `cos_sim`."""
    a, b = _to_matrices(a, b)
    scores = np.empty((len(a), len(b)), np.float32)
    for row, vector in zip(scores, a, strict=True):
        row[:] = -np.abs(b - vector).sum(axis=1)
    return scores


def pairwise_cos_sim(a: Any, b: Any) -> np.ndarray:
    """Cosine similarity of each vector of ``a`` to the vector of ``b`` in the same row.

    Args:
        a: vectors ``[rows, size]``, or one vector ``[size]``.
        b: as many vectors of the same size.

    Returns:
        float32 ``[rows]``, or a number for single vectors.

    Raises:
        InputError: the shapes differ.

    >>> pairwise_cos_sim([[1, 0], [3, 4]], [[0, 1], [6, 8]])
    array([0., 1.], dtype=float32)
    """
    a, b = _to_pairs(a, b)
    return (normalize(a) * normalize(b)).sum(axis=-1)


def pairwise_dot_score(a: Any, b: Any) -> np.ndarray:
    """Dot product of each vector of ``a`` with the vector of ``b`` in the same row; see `pairwise_cos_sim`."""
    a, b = _to_pairs(a, b)
    return (a * b).sum(axis=-1)


def pairwise_euclidean_sim(a: Any, b: Any) -> np.ndarray:
    """Negative Euclidean distance of vectors in the same row; see `pairwise_cos_sim`."""
    a, b = _to_pairs(a, b)
    return -np.sqrt(((a - b) ** 2).sum(axis=-1))


def pairwise_manhattan_sim(a: Any, b: Any) -> np.ndarray:
    """Negative Manhattan distance of vectors in the same row; see `pairwise_cos_sim`."""
    a, b = _to_pairs(a, b)
    return -np.abs(a - b).sum(axis=-1)


class Similarity(NamedTuple):
    """A similarity function in its two forms; more similar is higher.

    Attributes:
        of_all: for every vector of one array with every vector of the other, such as `cos_sim`.
        of_pairs: for vectors in the same row, such as `pairwise_cos_sim`.
    """

    of_all: Callable[[Any, Any], np.ndarray]
    of_pairs: Callable[[Any, Any], np.ndarray]


# By the names of sentence-transformers (``similarity_fn_name``).
SIMILARITIES = {
    "cosine": Similarity(cos_sim, pairwise_cos_sim),
    "dot": Similarity(dot_score, pairwise_dot_score),
    "euclidean": Similarity(euclidean_sim, pairwise_euclidean_sim),
    "manhattan": Similarity(manhattan_sim, pairwise_manhattan_sim),
}


def _to_matrices(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.atleast_2d(np.asarray(vectors, np.float32)) for vectors in (a, b))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InputError(
            f"the vectors have the shapes {a.shape} and {b.shape}; two matrices with vectors of the same size were "
            "expected."
        )
    return a, b


def _to_pairs(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(vectors, np.float32) for vectors in (a, b))
    if a.shape != b.shape:
        raise InputError(f"the vectors have the shapes {a.shape} and {b.shape}; the same shape was expected.")
    return a, b
