"""Exact search, compared with a full sort."""

import numpy as np
import pytest

from keras_bert_impl.vectors import search as module
from keras_bert_impl.vectors.search import find_top_k, search


@pytest.mark.parametrize("k", [1, 4, 17, 60])
def test_top_k_of_equal_scores_are_the_first(k: int) -> None:
    scores = np.random.default_rng(1).integers(0, 6, (23, 53)).astype(np.float32)
    expected = [sorted(range(53), key=lambda column, row=row: (-row[column], column))[:k] for row in scores.tolist()]
    np.testing.assert_array_equal(find_top_k(scores, k), expected)


@pytest.mark.parametrize(
    ("max_queries", "max_scores", "max_documents"),
    [(1024, 1 << 24, 1 << 16), (5, 35, 1 << 16), (3, 2, 5), (50, 999, 9)],
)
def test_blocks_do_not_change_the_documents(
    max_queries: int, max_scores: int, max_documents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_DOCUMENTS", max_documents)
    monkeypatch.setattr(module, "_MAX_QUERIES", max_queries)
    monkeypatch.setattr(module, "_MAX_SCORES", max_scores)
    generator = np.random.default_rng(2)
    # Integers, so that many documents are equally similar.
    queries, documents = (generator.integers(-2, 3, (count, 3)).astype(np.float32) for count in (17, 41))
    numbers, scores = search(queries, documents, lambda a, b: a @ b.T, k=7)
    for query, found, values in zip(queries, numbers.tolist(), scores, strict=True):
        products = (documents @ query).tolist()
        assert found == sorted(range(41), key=lambda number, products=products: (-products[number], number))[:7]
        np.testing.assert_array_equal(values, np.array(products)[found])


def test_fewer_documents_than_asked_for() -> None:
    numbers, _ = search(np.ones((2, 3)), np.ones((2, 3)), lambda a, b: a @ b.T, k=5)
    assert numbers.tolist() == [[0, 1], [0, 1]]
    empty, _ = search(np.ones((0, 3)), np.ones((2, 3)), lambda a, b: a @ b.T, k=5)
    assert empty.shape == (0, 2)
