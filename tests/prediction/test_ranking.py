"""Cross-encoders that sentence-transformers saved in all its ways: the same scores and the same order."""

import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import small
from sentence_models import save_cross_encoder
from torch_process import run_in_torch_process

from keras_bert_impl.cli.main import main
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForSentenceEmbedding, BertForSequenceClassification
from keras_bert_impl.prediction import Predictor, Reranker, dot_score, find_candidates, semantic_search
from keras_bert_impl.prediction import ranking as module
from keras_bert_impl.recipes.convert import convert
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization import BertTokenizer

QUERY = "Is it a good film?"
DOCUMENTS = [
    "A great film.",
    "",
    "Emoji 😀 and a café; dull!",
    "It runs for two hours, and nothing happens. " * 20,
    "A dull film",
    "A great film.",
]
IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"
KINDS = ("identity", "sigmoid", "key", "old key", "no key")


@run_in_torch_process
def rank(directory: Path, query: str, documents: list[str]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The scores and the order of sentence-transformers."""
    import warnings

    from sentence_transformers import CrossEncoder

    warnings.simplefilter("ignore")
    model = CrossEncoder(str(directory), device="cpu")
    scores = model.predict([(query, document) for document in documents])
    return scores, model.rank(query, documents, return_documents=True)


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Path:
    directory = tmp_path_factory.mktemp("cross_encoders") / "sigmoid"
    save_cross_encoder("sigmoid", small_bert, directory)
    return directory


@pytest.fixture(scope="module")
def reranker(cross_encoder: Path) -> Reranker:
    return Reranker(cross_encoder)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow if kind in ("sigmoid", "key", "no key") else ()) for kind in KINDS],
)
@pytest.mark.filterwarnings("ignore:1 of 6 texts are longer than 41 tokens:UserWarning")
def test_scores_and_order(kind: str, small_bert: Path, tmp_path: Path) -> None:
    save_cross_encoder(kind, small_bert, tmp_path / "model")
    scores, order = rank(tmp_path / "model", QUERY, DOCUMENTS)
    assert (scores.min() < 0 or scores.max() > 1) == (kind in ("identity", "key", "old key"))
    if kind != "no key":  # Then transformers takes it for regression.
        assert Predictor(tmp_path / "model").task is TASKS["reranking"]
    reranker = Reranker(tmp_path / "model")
    np.testing.assert_allclose(reranker.predict([(QUERY, text) for text in DOCUMENTS]), scores, atol=1e-5)
    ranked = reranker.rank(QUERY, DOCUMENTS, return_documents=True)
    # Both documents with the same text have the same score, and keep their order.
    assert [entry["corpus_id"] for entry in ranked] == [entry["corpus_id"] for entry in order]
    assert [entry["text"] for entry in ranked] == [entry["text"] for entry in order]
    np.testing.assert_allclose([entry["score"] for entry in ranked], [entry["score"] for entry in order], atol=1e-5)


@pytest.mark.filterwarnings("ignore:1 of 6 texts are longer than 41 tokens:UserWarning")
def test_what_this_package_saves_is_a_cross_encoder(small_bert: Path, tmp_path: Path) -> None:
    task = TASKS["reranking"]
    keras.utils.set_random_seed(2)
    changes = task.make_config_changes(["LABEL_0"])
    config = BertConfig.from_pretrained(small_bert)
    extra = {**config.extra, **task.make_config_extra({}, max_length=41)}
    model = BertForSequenceClassification.from_pretrained(small_bert, new_heads=True, extra=extra, **changes)
    model.save_pretrained(tmp_path)
    BertTokenizer.from_pretrained(small_bert, do_lower_case=True, model_max_length=41).save_pretrained(tmp_path)
    scores, _ = rank(tmp_path, QUERY, DOCUMENTS)
    pairs = [(QUERY, document) for document in DOCUMENTS]
    np.testing.assert_allclose(Reranker(tmp_path).predict(pairs), scores, atol=1e-5)


def test_a_converted_cross_encoder_has_the_same_scores(small_bert: Path, tmp_path: Path) -> None:
    """Its activation is in a file that only sentence-transformers writes."""
    save_cross_encoder("identity", small_bert, tmp_path / "model")
    convert(tmp_path / "model", tmp_path / "converted")
    expected, _ = rank(tmp_path / "model", QUERY, DOCUMENTS)
    scores, _ = rank(tmp_path / "converted", QUERY, DOCUMENTS)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_streams_of_documents(reranker: Reranker, film_texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The best documents of a stream, of which one chunk is in memory."""
    monkeypatch.setattr(module, "CHUNK_SIZE", 7)
    monkeypatch.setattr(module, "_MANY", 50)
    texts = [text[:20] for text in film_texts[:51]]
    everything = reranker.rank(QUERY, iter(texts[:50]))
    scores = reranker.predict((QUERY, text) for text in texts[:50])
    np.testing.assert_allclose([scores[entry["corpus_id"]] for entry in everything], np.sort(scores)[::-1])
    assert [set(entry) for entry in everything] == [{"corpus_id", "score"}] * 50
    assert reranker.rank(QUERY, texts[:50], top_k=4) == everything[:4]
    with pytest.warns(UserWarning, match="there are more than 50 documents, and the model reads each of them"):
        assert len(reranker.rank(QUERY, texts)) == 51
    assert reranker.rank(QUERY, []) == []
    assert reranker.predict([]).shape == (0,)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Path:
    directory = tmp_path_factory.mktemp("embedders") / "model"
    prompts = {"query": "find a film: ", "document": "film: "}
    return small.write_embedder(directory, small_bert, prompts=prompts, similarity_fn_name="euclidean")


def test_candidates_of_a_stream(
    embedder: Path, reranker: Reranker, film_texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a search with the vectors of all documents, of which one chunk is in memory."""
    monkeypatch.setattr(module, "CHUNK_SIZE", 7)
    monkeypatch.setattr(module, "_MANY", 10)
    model = BertForSentenceEmbedding.from_pretrained(embedder)
    texts = [text[:20] for text in film_texts[:45]]
    query, documents = model.encode_query(QUERY), model.encode_document(texts)
    for k in (1, 10, 100):
        (found,) = semantic_search(query, documents, top_k=k, score_function=model.similarity)
        expected = sorted(entry["corpus_id"] for entry in found)
        candidates = find_candidates(model, QUERY, iter(texts), k=k)
        assert candidates == [(number, texts[number]) for number in expected]

    # More than 10 candidates of an embedding model are no reason for a warning.
    ranked = reranker.rank(QUERY, iter(texts), embedder=model, top=12, top_k=4, return_documents=True)
    indices = [index for index, _ in find_candidates(model, QUERY, texts, k=12)]
    monkeypatch.setattr(module, "_MANY", 100)
    everything = reranker.rank(QUERY, [texts[index] for index in indices], top_k=4, return_documents=True)
    assert ranked == [{**entry, "corpus_id": indices[entry["corpus_id"]]} for entry in everything]


def test_the_first_of_equally_similar_documents_are_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lengths:
        """Vectors are the lengths of texts, so that they are exact."""

        def encode_query(self, text: str) -> np.ndarray:
            return np.array([len(text)], np.float32)

        def encode_document(self, texts: list[str], **_: Any) -> np.ndarray:
            return np.array([[len(text)] for text in texts], np.float32)

        similarity = staticmethod(dot_score)

    monkeypatch.setattr(module, "CHUNK_SIZE", 3)
    texts = ["b", "cc", "aa", "a", "dd", "e", "bb", ""]
    embedder: Any = Lengths()
    assert find_candidates(embedder, "film", texts, k=3) == [(1, "cc"), (2, "aa"), (4, "dd")]
    assert find_candidates(embedder, "film", texts, k=6) == [*enumerate(texts[:5]), (6, "bb")]
    assert find_candidates(embedder, "film", [], k=3) == []


def test_what_cannot_be_ranked(reranker: Reranker, small_bert: Path, tmp_path: Path) -> None:
    save_cross_encoder("three labels", small_bert, tmp_path / "three")
    with pytest.raises(InputError, match=r"three has 3 labels; reranking needs a cross-encoder"):
        Reranker(tmp_path / "three")
    assert Predictor(tmp_path / "three").task is TASKS["classification"]
    with pytest.raises(InputError, match="'ab' was given; a pair of a query and a document was expected"):
        reranker.predict(["ab"])
    with pytest.raises(InputError, match="a string was expected"):
        reranker.rank(QUERY, [5])
    for rank_letters in (reranker.rank, lambda *texts: find_candidates(None, *texts)):
        with pytest.raises(InputError, match=r"the documents are one string, 'abc'; a list of strings was expected\."):
            rank_letters(QUERY, "abc")


def test_the_command(
    cross_encoder: Path,
    embedder: Path,
    reranker: Reranker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = [*DOCUMENTS[:3], *DOCUMENTS[4:]]
    expected = reranker.rank(QUERY, documents, top_k=3, return_documents=True)
    (tmp_path / "x.txt").write_text("\n".join(documents), encoding="utf-8")
    assert main(["rank", str(cross_encoder), QUERY, "--file", str(tmp_path / "x.txt"), "--top-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{e['score']:9.4f}  {e['corpus_id'] + 1:6}  {e['text']}" for e in expected]
    monkeypatch.setattr(module, "Reranker", lambda *_, **__: reranker)  # It takes seconds to load it again.
    rows = [json.dumps({"passage": text}) for text in documents]
    (tmp_path / "x.jsonl").write_text("\n".join(rows), encoding="utf-8")
    options = ["--file", str(tmp_path / "x.jsonl"), "--column", "passage", "--top-k", "3", "--json"]
    assert main(["rank", str(cross_encoder), QUERY, *options]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == expected
    model = BertForSentenceEmbedding.from_pretrained(embedder)
    expected = reranker.rank(QUERY, documents, embedder=model, top=2, return_documents=True)
    assert main(["rank", str(cross_encoder), QUERY, *options, "--embedder", str(embedder), "--top", "2"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == expected


def test_pairs_that_are_truncated_are_counted_once(reranker: Reranker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_SIZE", 2)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        reranker.rank(QUERY, DOCUMENTS)
    assert [str(warning.message)[:47] for warning in shown] == ["1 of 6 texts are longer than 41 tokens and were"]
