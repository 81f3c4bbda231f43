"""Quantized vectors, bit-equal to those of sentence-transformers."""

from typing import Any

import numpy as np
import pytest
from torch_process import run_in_torch_process

from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction.quantization import PRECISIONS, compute_ranges, quantize_embeddings

# 29 dimensions: not a multiple of 8. One dimension is constant.
VECTORS = np.random.default_rng(1).normal(size=(131, 29)).astype(np.float32)
VECTORS[:, 3] = 0.5
OTHERS = np.random.default_rng(2).normal(size=(107, 29)).astype(np.float32)


@run_in_torch_process
def quantize_with_sentence_transformers(vectors: np.ndarray, precision: str, **options: Any) -> np.ndarray:
    from sentence_transformers.util.quantization import quantize_embeddings

    return quantize_embeddings(vectors, precision, **options)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("options", [{}, {"calibration_embeddings": OTHERS}, {"ranges": compute_ranges(OTHERS)}])
@pytest.mark.parametrize("vectors", [VECTORS, VECTORS.astype(np.float64), VECTORS[:0]], ids=["float32", "64", "none"])
def test_equal_bits(precision: str, options: dict[str, Any], vectors: np.ndarray) -> None:
    expected = quantize_with_sentence_transformers(vectors, precision, **options)
    found = quantize_embeddings(vectors, precision, **options)
    assert found.dtype == expected.dtype == PRECISIONS[precision]
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_vector(precision: str) -> None:
    options = {"ranges": compute_ranges(OTHERS)} if "int8" in precision else {}
    found = quantize_embeddings(VECTORS[0], precision, **options)
    assert np.array_equal(found, quantize_with_sentence_transformers(VECTORS[:1], precision, **options)[0])


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"precision is 'int4'; float32, int8, uint8, binary or ubinary was expected"):
        quantize_embeddings(VECTORS, "int4")
    with pytest.raises(InputError, match="the vectors are int8; float vectors were expected"):
        quantize_embeddings(quantize_embeddings(VECTORS, "int8"), "binary")
    for vectors in (VECTORS[0], VECTORS[:1]):
        with pytest.raises(InputError, match=r"^int8 needs the ranges of many vectors, and there is one\. Use"):
            quantize_embeddings(vectors, "int8")
    with pytest.warns(UserWarning, match="the ranges for uint8 come from 13 vectors only; at least 100 were"):
        quantize_embeddings(VECTORS[:13], "uint8")
