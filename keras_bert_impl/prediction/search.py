"""``semantic_search``: the documents whose vectors are most similar to those of queries."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.vectors.search import search
from keras_bert_impl.vectors.similarity import cos_sim


def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    *,
    top_k: int = 10,
    score_function: Callable[[np.ndarray, np.ndarray], np.ndarray] = cos_sim,
) -> list[list[dict[str, Any]]]:
    """Finds the most similar documents for each query, by comparing it with all of them.

    The arguments and the result are those of ``semantic_search`` in sentence-transformers, without the chunk sizes. The
    documents are searched in blocks, so that their vectors may be in a memory-mapped file that is larger than memory.

    Args:
        query_embeddings: vectors ``[queries, dimensions]``, or one vector ``[dimensions]``.
        corpus_embeddings: vectors ``[documents, dimensions]``, such as ``numpy.load(path, mmap_mode="r")``. Integers
            are taken as numbers; vectors of the precision ``binary`` or ``ubinary`` need an index that counts bits.
        top_k: the number of documents per query; all documents if there are fewer.
        score_function: takes blocks of both and returns their similarities ``[queries, documents]``: `cos_sim`, or
            ``similarity`` of a model; `dot_score` is faster, and the same for normalized vectors.

    Returns:
        For each query a list of documents with ``corpus_id`` (the row of the document) and ``score``, most similar
        first. Equally similar documents keep their order.

    Raises:
        InputError: ``top_k`` is below 1, the vectors have different numbers of dimensions, or a similarity is not
            finite.

    >>> corpus = np.array([[0.0, 1.0], [3.0, 4.0], [-1.0, 0.0]])
    >>> semantic_search([1.0, 0.0], corpus, top_k=2)
    [[{'corpus_id': 1, 'score': 0.6000000238418579}, {'corpus_id': 0, 'score': 0.0}]]
    """
    if top_k < 1:
        raise InputError(f"top_k is {top_k}; a number above 0 was expected.")
    queries, corpus = np.atleast_2d(np.asarray(query_embeddings)), np.asanyarray(corpus_embeddings)
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1]:
        raise InputError(
            f"the vectors of the queries have the shape {queries.shape}, those of the corpus {corpus.shape}; two "
            "matrices with the same number of columns were expected."
        )

    def compare(queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
        scores = score_function(queries, documents)
        if not np.isfinite(scores).all():
            raise InputError("a similarity is not finite: the vectors contain NaN or infinite numbers. Check them.")
        return scores

    indices, scores = search(queries, corpus, compare, k=top_k)
    return [
        [{"corpus_id": index, "score": score} for index, score in zip(*row, strict=True)]
        for row in zip(indices.tolist(), scores.tolist(), strict=True)
    ]
