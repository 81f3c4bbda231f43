"""Metrics of rankings, compared with sentence-transformers and pytrec_eval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from torch_process import run_in_torch_process

from keras_bert_impl.tasks.retrieval_metrics import CUTOFFS, compute_reranking_metrics, compute_retrieval_metrics

Rankings = dict[str, list[tuple[str, float]]]
Grades = dict[str, dict[str, int]]


def make_rankings(*, grades: int = 1, ties: bool = False) -> tuple[Rankings, Grades]:
    """Makes rankings of up to 113 of 139 documents for 31 queries, each with 1 to 7 relevant documents."""
    generator = np.random.default_rng(5)
    documents = [f"d{number}" for number in range(139)]  # As texts, "d10" comes before "d2".
    rankings, relevant = {}, {}
    for number in range(31):
        listed = generator.permutation(documents)[: generator.choice([0, 3, 113])]
        scores = generator.normal(size=len(listed)).round(1 if ties else 9)
        rankings[f"q{number}"] = list(zip(listed.tolist(), scores.tolist(), strict=True))
        judged = generator.permutation(documents)[: generator.integers(1, 8)].tolist()
        # Some relevant documents are at the top, and one document is judged and not relevant.
        judged[: len(listed[:2])] = [
            name for name, _ in sorted(rankings[f"q{number}"], key=lambda entry: -entry[1])[:2]
        ]
        values = generator.integers(1, grades + 1, len(judged)).tolist()
        relevant[f"q{number}"] = {**dict(zip(judged, values, strict=True)), "d5": 0}
        if not any(relevant[f"q{number}"].values()):
            relevant[f"q{number}"]["d7"] = 1
    return rankings, relevant


@run_in_torch_process
def compute_with_sentence_transformers(rankings: Any, relevant: Any) -> dict[str, float]:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    documents = {name: {id for id, grade in grades.items() if grade > 0} for name, grades in relevant.items()}
    evaluator = InformationRetrievalEvaluator(
        dict.fromkeys(rankings, ""), {}, documents, precision_recall_at_k=[1, 3, 5, 10, 100]
    )
    results = [[{"corpus_id": id, "score": score} for id, score in rankings[query]] for query in evaluator.queries_ids]
    metrics = evaluator.compute_metrics(results)
    return {
        name.replace("@k", f"@{k}"): float(value) for name, values in metrics.items() for k, value in values.items()
    }


@pytest.mark.parametrize("ties", [False, True])
def test_grades_of_0_and_1_give_the_metrics_of_sentence_transformers(ties: bool) -> None:
    rankings, relevant = make_rankings(ties=ties)
    expected = compute_with_sentence_transformers(rankings, relevant)
    metrics = compute_retrieval_metrics(rankings, relevant)
    assert set(metrics) == {f"{name}@{k}" for name, counts in CUTOFFS.items() for k in counts}
    assert metrics == pytest.approx({name: expected[name] for name in metrics}, abs=1e-12)
    assert 0.1 < metrics["mrr@10"] < 0.9


@pytest.mark.parametrize("grades", [1, 3])
def test_all_grades_give_the_metrics_of_pytrec_eval(grades: int) -> None:
    import pytrec_eval

    rankings, relevant = make_rankings(grades=grades)
    names = {"ndcg": "ndcg_cut", "map": "map_cut", "accuracy": "success", "precision": "P", "recall": "recall"}
    measures = {f"{names[name]}.{','.join(map(str, counts))}" for name, counts in CUTOFFS.items() if name in names}

    def evaluate(depth: int, measures: set[str]) -> Mapping[str, Mapping[str, float]]:
        cut = {query: dict(sorted(ranking, key=lambda entry: -entry[1])[:depth]) for query, ranking in rankings.items()}
        return pytrec_eval.RelevanceEvaluator(relevant, measures).evaluate(cut)

    # It omits queries without a ranking, which count as 0.
    expected = {
        f"{name}@{k}": sum(values[f"{names[name]}_{k}"] for values in evaluate(1000, measures).values()) / len(rankings)
        for name, counts in CUTOFFS.items()
        if name in names
        for k in counts
    }
    ranks = evaluate(10, {"recip_rank"}).values()
    expected["mrr@10"] = sum(values["recip_rank"] for values in ranks) / len(rankings)
    assert compute_retrieval_metrics(rankings, relevant) == pytest.approx(expected, abs=1e-12)


@run_in_torch_process
def rerank_with_sentence_transformers(queries: Any) -> list[tuple[float, ...]]:
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator

    evaluator = CrossEncoderRerankingEvaluator([])
    return [tuple(map(float, evaluator.compute_metrics(labels, scores))) for labels, scores in queries]


def test_reranking_gives_the_metrics_of_sentence_transformers() -> None:
    generator = np.random.default_rng(3)
    queries = []
    for count in range(2, 29):
        labels = generator.integers(0, 2, count)
        labels[generator.integers(count)] = 1
        queries.append((labels.tolist(), generator.normal(size=count).tolist()))
    expected = np.mean(rerank_with_sentence_transformers(queries), axis=0)
    metrics = compute_reranking_metrics(queries)
    assert list(metrics) == ["mrr@10", "ndcg@10", "map"]
    np.testing.assert_allclose(list(metrics.values()), expected, atol=1e-12)
    # Queries without a relevant candidate count as 0; a relevant candidate alone is in the best place.
    more = compute_reranking_metrics([*queries, ([0, 0, 0], [0.1, 0.2, 0.3]), ([1], [0.5]), ([0], [0.5])])
    assert more["map"] == pytest.approx((27 * metrics["map"] + 1) / 30)


def test_reranking_of_grades_and_ties() -> None:
    labels, scores = [0.2, 0.9, 0, 0.5], [0.4, 0.3, 0.2, 0.1]
    discounts = 1 / np.log2([2, 3, 4, 5])
    ideal = np.dot([0.9, 0.5, 0.2, 0], discounts)
    assert compute_reranking_metrics([(labels, scores)])["ndcg@10"] == pytest.approx(np.dot(labels, discounts) / ideal)
    # Candidates with equal scores keep their order.
    assert compute_reranking_metrics([([0, 1, 1], [0.5, 0.5, 0.5])], k=7)["mrr@7"] == 0.5
