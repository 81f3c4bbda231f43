"""Search with vectors, compared with sentence-transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_process import run_in_torch_process

from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction import cos_sim, dot_score, euclidean_sim, semantic_search


@run_in_torch_process
def search_with_sentence_transformers(
    queries: np.ndarray, corpus: np.ndarray, function: str, top_k: int
) -> list[list[dict[str, Any]]]:
    from sentence_transformers import util

    return util.semantic_search(queries, corpus, top_k=top_k, score_function=getattr(util, function))


def make_vectors(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 7)).astype(np.float32)


@pytest.mark.parametrize("function", [cos_sim, dot_score, euclidean_sim])
@pytest.mark.parametrize("top_k", [1, 4, 53])
def test_the_documents_are_those_of_sentence_transformers(function: Callable[..., np.ndarray], top_k: int) -> None:
    queries, corpus = make_vectors(13, 1), make_vectors(41, 2)
    found = semantic_search(queries, corpus, top_k=top_k, score_function=function)
    expected = search_with_sentence_transformers(queries, corpus, function.__name__, top_k)
    assert [[entry["corpus_id"] for entry in row] for row in found] == [
        [entry["corpus_id"] for entry in row] for row in expected
    ]
    scores, expected_scores = ([[entry["score"] for entry in row] for row in rows] for rows in (found, expected))
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_one_query_and_a_file_of_vectors(tmp_path: Path) -> None:
    queries, corpus = make_vectors(3, 1), make_vectors(41, 2)
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    assert semantic_search(queries[1], mapped, top_k=4) == semantic_search(queries[1:2], corpus, top_k=4)
    assert semantic_search(queries[1].tolist(), corpus.tolist(), top_k=4) == semantic_search(
        queries[1], mapped, top_k=4
    )
    # The similarity of bytes is that of their values.
    quantized = np.round(127 * corpus / np.abs(corpus).max()).astype(np.int8)
    floats = semantic_search(queries, quantized.astype(np.float32), top_k=4, score_function=dot_score)
    assert semantic_search(queries, quantized, top_k=4, score_function=dot_score) == floats


def test_nothing_to_search() -> None:
    assert semantic_search(make_vectors(2, 1), make_vectors(0, 2)) == [[], []]
    assert semantic_search(make_vectors(0, 1), make_vectors(3, 2)) == []


def test_what_cannot_be_searched() -> None:
    with pytest.raises(InputError, match=r"top_k is 0; a number above 0 was expected"):
        semantic_search(make_vectors(2, 1), make_vectors(3, 2), top_k=0)
    with pytest.raises(
        InputError, match=r"queries have the shape \(2, 7\), those of the corpus \(3, 6\); two matrices"
    ):
        semantic_search(make_vectors(2, 1), make_vectors(3, 2)[:, 1:])
    with pytest.raises(InputError, match="a similarity is not finite"):
        semantic_search(make_vectors(2, 1), np.full((3, 7), np.nan))
