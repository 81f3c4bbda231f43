"""Similarity functions, compared with sentence-transformers and with float64."""

import numpy as np
import pytest
from torch_process import run_in_torch_process

from keras_bert_impl.errors import InputError
from keras_bert_impl.vectors.similarity import SIMILARITIES, cos_sim, normalize, pairwise_cos_sim

rng = np.random.default_rng(1)
A = rng.normal(size=(37, 29)).astype(np.float32)
B = rng.normal(size=(41, 29)).astype(np.float32)


@run_in_torch_process
def compare_with_sentence_transformers(name: str, a: np.ndarray, b: np.ndarray, *, pairwise: bool) -> np.ndarray:
    from sentence_transformers.util.similarity import SimilarityFunction

    make = SimilarityFunction.to_similarity_pairwise_fn if pairwise else SimilarityFunction.to_similarity_fn
    return make(name)(a, b).numpy()


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_results_are_those_of_sentence_transformers(name: str) -> None:
    similarity = SIMILARITIES[name]
    found = similarity.of_all(A, B)
    assert (found.shape, found.dtype) == ((37, 41), np.float32)
    np.testing.assert_allclose(found, compare_with_sentence_transformers(name, A, B, pairwise=False), atol=1e-5)
    one = similarity.of_all(A[3], B[5])
    assert one.shape == (1, 1)
    np.testing.assert_allclose(one[0, 0], found[3, 5], atol=1e-6)
    found = similarity.of_pairs(A, B[:37])
    assert (found.shape, found.dtype) == ((37,), np.float32)
    np.testing.assert_allclose(found, compare_with_sentence_transformers(name, A, B[:37], pairwise=True), atol=1e-5)
    np.testing.assert_allclose(similarity.of_pairs(A[3], B[3]), found[3], atol=1e-6)
    np.testing.assert_allclose(similarity.of_all(A, B).diagonal(), found, atol=1e-5)


def test_vectors_of_zeros_are_not_similar_to_any() -> None:
    zeros = np.zeros((2, 3))
    assert normalize(zeros).tolist() == zeros.tolist()
    assert cos_sim(zeros, [1, 2, 3]).tolist() == [[0], [0]]
    assert pairwise_cos_sim(zeros[0], [1, 2, 3]) == 0


def test_near_vectors_have_an_exact_distance() -> None:
    """The squares of the norms are 1e4 times the square of the distance."""
    near = A + np.float32(1e-2) * rng.normal(size=A.shape).astype(np.float32)
    expected = -np.sqrt(((A[:, None].astype(np.float64) - near[None]) ** 2).sum(axis=-1))
    np.testing.assert_allclose(SIMILARITIES["euclidean"].of_all(A, near), expected, rtol=1e-6)


def test_quantized_vectors_are_numbers() -> None:
    quantized = np.round(A * 30).astype(np.int8)
    np.testing.assert_allclose(
        SIMILARITIES["dot"].of_all(quantized, quantized), quantized.astype(int) @ quantized.T.astype(int)
    )


def test_vectors_of_different_sizes_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"the shapes \(37, 29\) and \(41, 28\); two matrices with vectors of the same size were"
    ):
        cos_sim(A, B[:, :28])
    with pytest.raises(InputError, match=r"the shapes \(37, 29\) and \(41, 29\); the same shape was expected"):
        pairwise_cos_sim(A, B)
