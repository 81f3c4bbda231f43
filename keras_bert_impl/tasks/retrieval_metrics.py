"""Metrics of rankings: of a corpus for each query (retrieval), and of a few candidates for each query (reranking)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

# The numbers of top documents that each metric is computed for: those of the evaluators of sentence-transformers, and
# 100 for recall, the number of candidates that a reranker gets by default.
CUTOFFS: Mapping[str, tuple[int, ...]] = {
    "mrr": (10,),
    "ndcg": (10,),
    "map": (100,),
    "accuracy": (1, 3, 5, 10),
    "precision": (1, 3, 5, 10),
    "recall": (1, 3, 5, 10, 100),
}


def compute_retrieval_metrics(
    rankings: Mapping[str, Sequence[tuple[str, float]]],
    relevant: Mapping[str, Mapping[str, int]],
    *,
    cutoffs: Mapping[str, Sequence[int]] = CUTOFFS,
) -> dict[str, float]:
    """Means over queries of MRR, nDCG, average precision, accuracy, precision and recall at ``k`` documents.

    Documents with equal scores are ordered by their ids, ascending (``pytrec_eval`` orders them descending). Without
    equal scores, and with the grades 0 and 1, all metrics are those of ``InformationRetrievalEvaluator`` in
    sentence-transformers and of ``pytrec_eval``. nDCG uses other grades as gains,
    as ``pytrec_eval`` does; sentence-transformers counts all grades above 0 as 1. The average precision at ``k`` is
    divided by ``k`` if there are more relevant documents than that, as in sentence-transformers.

    Args:
        rankings: for each query the ids of the highest-scoring documents, with their scores, in any order.
        relevant: for each query the grades of documents by their ids: above 0 for relevant documents. Each query needs
            a relevant document.
        cutoffs: the numbers of documents, ``k``, by the name of the metric; see `CUTOFFS`.

    Returns:
        Each metric from 0 to 1 by its name, such as ``mrr@10``.

    >>> rankings = {"q1": [("d1", 0.9), ("d2", 0.7), ("d3", 0.4)]}
    >>> compute_retrieval_metrics(rankings, {"q1": {"d2": 1, "d4": 1}}, cutoffs={"mrr": [10], "recall": [1, 3]})
    {'mrr@10': 0.5, 'recall@1': 0.0, 'recall@3': 0.5}
    """
    values: dict[str, list[float]] = {f"{name}@{k}": [] for name, counts in cutoffs.items() for k in counts}
    for query, ranking in rankings.items():
        grades = {document: grade for document, grade in relevant[query].items() if grade > 0}
        ideal = np.array(sorted(grades.values(), reverse=True), np.float64)
        ordered = sorted(ranking, key=lambda entry: (-entry[1], entry[0]))
        gains = np.array([grades.get(document, 0) for document, _ in ordered], np.float64)
        for name, counts in cutoffs.items():
            for k in counts:
                values[f"{name}@{k}"].append(_METRICS[name](gains[:k], ideal, k))
    return {name: float(np.mean(entries)) for name, entries in values.items()}


def _compute_reciprocal_rank(gains: np.ndarray, ideal: np.ndarray, k: int) -> float:
    hits = np.flatnonzero(gains)
    return 1 / (1 + hits[0]) if len(hits) else 0.0


def _compute_ndcg(gains: np.ndarray, ideal: np.ndarray, k: int) -> float:
    return _compute_dcg(gains) / _compute_dcg(ideal[:k])


def _compute_dcg(gains: np.ndarray) -> float:
    return float(np.sum(gains / np.log2(np.arange(2, len(gains) + 2))))


def _compute_average_precision(gains: np.ndarray, ideal: np.ndarray, k: int) -> float:
    ranks = np.flatnonzero(gains) + 1
    return float(np.sum(np.arange(1, len(ranks) + 1) / ranks)) / min(k, len(ideal))


# The gains are those of the top k documents, 0 for documents that are not relevant; the ideal gains are those of all
# relevant documents, highest first.
_METRICS: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "mrr": _compute_reciprocal_rank,
    "ndcg": _compute_ndcg,
    "map": _compute_average_precision,
    "accuracy": lambda gains, ideal, k: float(gains.any()),
    "precision": lambda gains, ideal, k: np.count_nonzero(gains) / k,
    "recall": lambda gains, ideal, k: np.count_nonzero(gains) / len(ideal),
}


def compute_reranking_metrics(
    queries: Sequence[tuple[Sequence[float], Sequence[float]]], *, k: int = 10
) -> dict[str, float]:
    """Means over queries of MRR, nDCG and average precision of a few candidates, which all have a label.

    The metrics are those of ``CrossEncoderRerankingEvaluator`` in sentence-transformers, which are those of
    scikit-learn. For MRR, candidates with equal scores keep their order. nDCG is the mean over all their orders, and
    average precision counts them at the same rank, as scikit-learn does; that evaluator orders them differently for
    MRR, and has the labels 0 and 1 only. A query without a relevant candidate counts as 0.

    Args:
        queries: for each query the labels of its candidates, above 0 for relevant ones, and their scores. nDCG uses the
            labels as gains.
        k: the number of top candidates for MRR and nDCG.

    Returns:
        ``mrr@k``, ``ndcg@k`` and ``map``, from 0 to 1.

    >>> compute_reranking_metrics([([0, 1, 0], [0.3, 0.2, 0.1]), ([1, 0], [0.9, 0.1])])["mrr@10"]
    0.75
    """
    from sklearn.metrics import average_precision_score, ndcg_score

    rows = []
    for labels, scores in queries:
        is_relevant = np.asarray(labels) > 0
        if not is_relevant.any():
            rows.append((0.0, 0.0, 0.0))
        elif len(scores) == 1:  # scikit-learn refuses to compute nDCG of one document.
            rows.append((1.0, 1.0, 1.0))
        else:
            order = np.argsort(-np.asarray(scores), kind="stable")[:k]
            reciprocal_rank = _compute_reciprocal_rank(is_relevant[order], is_relevant, k)
            ndcg = ndcg_score([labels], [scores], k=k)
            rows.append((reciprocal_rank, float(ndcg), float(average_precision_score(is_relevant, scores))))
    means = np.mean(rows, axis=0).tolist()
    return dict(zip((f"mrr@{k}", f"ndcg@{k}", "map"), means, strict=True))
