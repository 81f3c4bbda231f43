"""The certificate of models of sentence-transformers: their vectors and scores too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import sentence_models

from keras_bert_impl.errors import InputError
from keras_bert_impl.interop import inputs
from keras_bert_impl.interop.certificate import MAX_RESULT_DIFFERENCE
from keras_bert_impl.interop.verify import verify
from keras_bert_impl.models import BertForSentenceEmbedding

TEXTS = ["A good film, Café!", "", "x", "Who? I.", "🎬 日本"]


@pytest.fixture
def directory(small_bert: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: sentence_models.make_directory(kind, tmp_path / kind, bert=small_bert)


@pytest.mark.parametrize(
    ("kind", "prompts"),
    [
        ("several without prompt", ["query", "passage"]),
        pytest.param("dense of several", [], marks=pytest.mark.slow),
        pytest.param("dense", [], marks=pytest.mark.slow),
        pytest.param("prompts", ["query", "passage"], marks=pytest.mark.slow),
        pytest.param("folder", [], marks=pytest.mark.slow),
        pytest.param("lower case", [], marks=pytest.mark.slow),
    ],
)
def test_sentence_embeddings(directory: Callable[[str], Path], kind: str, prompts: list[str]) -> None:
    certificate = verify(directory(kind), TEXTS)
    assert certificate.passed, str(certificate)
    rows = certificate.rows[-1 - len(prompts) :]
    assert [row.name for row in rows] == ["sentence embedding", *(f"embedding ({name})" for name in prompts)]
    for row in rows:
        assert row.vectors == len(TEXTS) + 5
        assert 0 < row.largest < MAX_RESULT_DIFFERENCE * max(1, row.size)
        assert 0 < row.ours < 1e-5
        assert 0 < row.torch < 1e-5
    assert ": BertModel, BertForSentenceEmbedding in keras_bert_impl" in certificate.title
    assert "sentence-transformers 6" in certificate.title
    assert "limits: largest difference 1e-05 or 2e-05" in certificate.verdict


def change_dense(model: BertForSentenceEmbedding) -> BertForSentenceEmbedding:
    kernel = model.get_layer("dense_0").kernel
    values = keras.ops.convert_to_numpy(kernel).copy()
    values[3, 5] += 0.01
    kernel.assign(values)
    return model


# The changes of our model that the certificate must find: options of `from_pretrained`, and a change of the weights.
CHANGES: dict[str, tuple[dict[str, Any], Callable[[BertForSentenceEmbedding], BertForSentenceEmbedding]]] = {
    "a number of a dense module": ({}, change_dense),
    "the pooling": ({"pooling": "cls"}, lambda model: model),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_is_found(directory: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    options, alter = CHANGES[change]
    load = BertForSentenceEmbedding.from_pretrained
    monkeypatch.setattr(
        BertForSentenceEmbedding, "from_pretrained", lambda *args, **kwargs: alter(load(*args, **kwargs, **options))
    )
    certificate = verify(directory("dense"), TEXTS)
    assert [problem.split(":")[0] for problem in certificate.problems] == ["sentence embedding"]


@pytest.mark.slow
def test_cross_encoders(small_bert: Path, tmp_path: Path) -> None:
    sentence_models.save_cross_encoder("identity", small_bert, tmp_path / "model")
    certificate = verify(tmp_path / "model", TEXTS)
    assert certificate.passed, str(certificate)
    assert certificate.rows[-1].name == "score"
    assert certificate.rows[-1].vectors == len(TEXTS) + 5


@pytest.mark.slow
def test_without_sentence_transformers(
    directory: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "sentence_transformers").mkdir(parents=True)
    statement = "raise ModuleNotFoundError(\"No module named 'x'\", name='sentence_transformers')"
    (tmp_path / "site" / "sentence_transformers" / "__init__.py").write_text(statement, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(InputError, match=r"that library, and sentence_transformers is not installed: `pip install \"k"):
        verify(directory("mean"), TEXTS)


def test_long_texts() -> None:
    texts = inputs.make_long_texts(["", "a b", "  "], 7)
    assert len(texts) == 5
    assert all(len(text.split()) > 7 for text in texts)
    assert len(set(texts)) == 5
    assert all(len(text.split()) > 7 for text in inputs.make_long_texts([""], 7))
