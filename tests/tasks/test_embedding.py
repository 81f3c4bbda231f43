"""Embeddings: pooling and cosines against NumPy; what is refused."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization import BertTokenizer

TASK = TASKS["embedding"]
CONFIG = BertConfig.preset("tiny", vocab_size=90, max_position_embeddings=64)
COLUMNS = {"text": ["a b", "c d e", "f"], "text_pair": ["a", "", "g h i j"], "label": ["1", "0.5", "3"]}


def test_pooling_and_cosines(letters: BertTokenizer) -> None:
    features = TASK.encode(COLUMNS, letters, CONFIG, max_length=16)
    assert features.example.tolist() == [0, 1, 2, 0, 1, 2]
    generator = np.random.default_rng(3)
    length = int(features.lengths.max())
    (inputs,) = features.batch(np.arange(6), length=length)
    states = generator.normal(size=(6, length, 7)).astype(np.float32)
    pooled = TASK.reduce({"last_hidden_state": states}, inputs)
    means = [states[row, :count].mean(axis=0) for row, count in enumerate(features.lengths)]
    np.testing.assert_allclose(pooled["mean"], means, atol=1e-6)
    np.testing.assert_array_equal(pooled["cls"], states[:, 0])
    predictions = TASK.decode(pooled, features, COLUMNS, CONFIG)
    cosines = [
        np.dot(means[i], means[i + 3]) / np.linalg.norm(means[i]) / np.linalg.norm(means[i + 3]) for i in range(3)
    ]
    np.testing.assert_allclose([prediction["cosine"] for prediction in predictions], cosines, atol=1e-6)
    metrics = TASK.score(predictions, COLUMNS)
    assert metrics["pearson"] == pytest.approx(np.corrcoef(cosines, [1, 0.5, 3])[0, 1], abs=1e-5)
    assert metrics["spearman"] == pytest.approx(spearmanr(cosines, [1, 0.5, 3])[0])


def test_single_texts_give_vectors(letters: BertTokenizer) -> None:
    columns = TASK.from_texts(["a", "b c"])
    features = TASK.encode(columns, letters, CONFIG, max_length=16)
    vectors = {"mean": np.eye(2), "cls": -np.eye(2)}
    assert TASK.decode(vectors, features, columns, CONFIG)[1] == {"mean": [0.0, 1.0], "cls": [0.0, -1.0]}


def test_what_cannot_be_evaluated(letters: BertTokenizer) -> None:
    with pytest.raises(InputError, match="embeddings are evaluated on pairs of texts with their similarity"):
        TASK.encode({"text": ["a"], "label": ["1"]}, letters, CONFIG, max_length=16)
    with pytest.raises(InputError, match="example 1: the label 'x' is not a finite number"):
        TASK.encode({"text": ["a"], "text_pair": ["b"], "label": ["x"]}, letters, CONFIG, max_length=16)
