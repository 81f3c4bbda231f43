"""Embeddings: rows, prompts, similarities and rankings, against NumPy and the evaluators of sentence-transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_models
from scipy.stats import pearsonr, spearmanr
from torch_process import run_in_torch_process

from keras_bert_impl import machine
from keras_bert_impl.checkpoints.sentence_settings import SentenceSettings
from keras_bert_impl.cli.main import main
from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.retrieval import Corpus
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForSentenceEmbedding
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.embedding import Embedding, TextRows
from keras_bert_impl.tasks.options import EmbeddingOptions
from keras_bert_impl.tokenization import BertTokenizer

TASK = Embedding()
SCORED = {"text": ["a b", "c d e", "f"], "text_pair": ["a", "c d e", "f"], "label": ["1", "0.5", "3"]}
SEARCHED: Columns = {
    "text": ["a b", "c", "a b"],
    "positive": ["d", "e f", "e f"],
    "negatives": [["g", "d"], ["c", "g"], ["h", "c"]],
}
FOUND: Columns = {
    "text": ["a", "b"],
    "query_id": ["q1", "q2"],
    "corpus": [Corpus(("d2", "d10", "d1"), ("x", "y", "x"))] * 2,
    "relevant": [{"d1": 1}, {"d2": 2, "d10": 0}],
}
PROMPTS = {"query": "q. ", "document": "d? ", "other": "0 "}


def make_config(**settings: Any) -> BertConfig:
    config = BertConfig.preset("tiny", vocab_size=90, max_position_embeddings=64)
    return SentenceSettings(**settings).add_to(config)


def encode(columns: Columns, letters: BertTokenizer, **settings: Any) -> tuple[TextRows, list[str]]:
    """The rows of examples, and the text of each row, without spaces."""
    features = TASK.encode(columns, letters, make_config(**settings), max_length=16)
    ids = features.inputs["input_ids"]
    texts = [letters.convert_ids_to_tokens(ids[row].tolist()) for row in range(len(ids))]
    return features, ["".join(tokens[1:-1]).replace("##", "") for tokens in texts]


def decode(vectors: Any, columns: Columns, letters: BertTokenizer, **settings: Any) -> list[dict[str, Any]]:
    """The predictions for vectors, one for each row."""
    features, _ = encode(columns, letters, **settings)
    outputs = {"sentence_embedding": np.asarray(vectors, np.float32)}
    return TASK.decode(outputs, features, columns, make_config(**settings))


def test_each_distinct_text_is_one_row(letters: BertTokenizer) -> None:
    features, texts = encode(SCORED, letters)
    assert texts == ["ab", "cde", "f", "a"]
    assert features.columns.tolist() == [[0, 3], [1, 1], [2, 2]]
    np.testing.assert_array_equal(features.scores, np.float32([1, 0.5, 3]))
    assert not features.documents.size
    features, texts = encode(SEARCHED, letters)
    assert texts == ["ab", "c", "d", "ef", "g", "h"]
    assert features.columns.tolist() == [[0, 2, 4, 2], [1, 3, 1, 4], [0, 3, 5, 1]]
    assert features.documents.tolist() == [1, 2, 3, 4, 5]
    features, texts = encode(FOUND, letters)
    assert texts == ["a", "b", "x", "y"]
    assert features.columns.tolist() == [[0], [1]]
    assert features.documents.tolist() == [2, 3, 2]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": ["a", "b"]}, ["0a", "0b"]),
        (SCORED, ["0ab", "0cde", "0f", "0a"]),
        (SEARCHED, ["q.ab", "q.c", "d?d", "d?ef", "d?g", "d?c", "d?h"]),
        (FOUND, ["q.a", "q.b", "d?x", "d?y"]),
    ],
)
def test_prompts(columns: Columns, expected: list[str], letters: BertTokenizer) -> None:
    _, texts = encode(columns, letters, prompts=PROMPTS, default_prompt_name="other")
    assert texts == expected


def test_documents_without_a_prompt(letters: BertTokenizer) -> None:
    """As in sentence-transformers, prompts of documents with other names are not used."""
    prompts = {"query": "q. ", "passage": "d? "}
    with pytest.warns(UserWarning, match=r"has the prompt 'passage' but no 'document', .* option --document-prompt"):
        _, texts = encode(SEARCHED, letters, prompts=prompts)
    assert texts == ["q.ab", "q.c", "d", "ef", "g", "c", "h"]
    encode(SCORED, letters, prompts=prompts)
    # The user knows it.
    task = Embedding(EmbeddingOptions(document_prompt=""))
    task.encode(SEARCHED, letters, make_config(prompts=prompts), max_length=16)


def test_matryoshka_without_the_complete_vectors(letters: BertTokenizer) -> None:
    config = make_config()
    features = TASK.encode({"text": ["a", "b"], "positive": ["c", "d"]}, letters, config, max_length=16)
    model = BertForSentenceEmbedding(config)
    with pytest.warns(UserWarning, match="is 64,32: the complete vectors, of 128 dimensions, are not trained"):
        Embedding(EmbeddingOptions(matryoshka="64,32")).make_trainable(model, features)
    Embedding(EmbeddingOptions(matryoshka="128,32")).make_trainable(model, features)


def test_tokens_of_prompts_are_not_pooled(letters: BertTokenizer) -> None:
    columns = {**FOUND, "corpus": [Corpus(("d",), ("abcdefghijklmnop",))] * 2}
    features, _ = encode(columns, letters, prompts={**PROMPTS, "document": ""}, include_prompt=False)
    mask = features.inputs["pooling_mask"]
    assert mask[0].tolist() == [0, 0, 0, 1, 1]  # [CLS] q . a [SEP]
    assert mask[2].tolist() == [1] * 16
    assert "pooling_mask" not in encode(columns, letters, prompts=PROMPTS)[0].inputs
    assert "pooling_mask" not in encode(columns, letters, include_prompt=False)[0].inputs
    # A model with such prompts always gets the mask: all batches have the same inputs.
    features, _ = encode({"text": ["a"]}, letters, prompts=PROMPTS, include_prompt=False)
    assert features.inputs["pooling_mask"][0].tolist() == [1, 1, 1]
    config = make_config(prompts=PROMPTS, include_prompt=False)
    assert TASK.list_export_inputs(config) == (*TASK.list_export_inputs(make_config()), "pooling_mask")


SIMILARITIES = {
    "cosine": lambda a, b: np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b),
    "dot": np.dot,
    "euclidean": lambda a, b: -np.linalg.norm(a - b),
    "manhattan": lambda a, b: -np.abs(a - b).sum(),
}


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("truncate_dim", [None, 3])
def test_pairs_and_their_correlations(name: str, truncate_dim: int | None, letters: BertTokenizer) -> None:
    vectors = np.random.default_rng(3).normal(size=(4, 7))
    columns = {**SCORED, "text_pair": ["c d e", "f", "a"]}
    rows = [(0, 1), (1, 2), (2, 3)]
    predictions = decode(vectors, columns, letters, similarity_fn_name=name, truncate_dim=truncate_dim)
    expected = [SIMILARITIES[name](vectors[i, :truncate_dim], vectors[j, :truncate_dim]) for i, j in rows]
    np.testing.assert_allclose([prediction["similarity"] for prediction in predictions], expected, rtol=1e-5)
    metrics = TASK.score(predictions, columns)
    assert metrics["pearson"] == pytest.approx(pearsonr(expected, [1, 0.5, 3])[0], abs=1e-5)
    assert metrics["spearman"] == pytest.approx(spearmanr(expected, [1, 0.5, 3])[0])
    assert TASK.get_main_metric(metrics) == "spearman"


def test_single_texts_give_vectors(letters: BertTokenizer) -> None:
    columns = TASK.from_texts(["a", "b c", "a"])
    predictions = decode([[1, 2, 3], [4, 5, 6]], columns, letters, truncate_dim=2)
    assert predictions == [{"embedding": [1.0, 2.0]}, {"embedding": [4.0, 5.0]}, {"embedding": [1.0, 2.0]}]


def test_rankings_of_a_corpus(letters: BertTokenizer) -> None:
    vectors = [[1, 0], [0, 1], [3, 1], [2, 2]]  # Of the texts a, b, x, y.
    predictions = decode(vectors, FOUND, letters, similarity_fn_name="dot")
    # "d1" and "d2" have the same text, so the order of their ids decides.
    assert predictions == [
        {"query_id": "q1", "ranking": [{"corpus_id": id, "score": s} for id, s in [("d1", 3), ("d2", 3), ("d10", 2)]]},
        {"query_id": "q2", "ranking": [{"corpus_id": id, "score": s} for id, s in [("d10", 2), ("d1", 1), ("d2", 1)]]},
    ]
    metrics = TASK.score(predictions, FOUND)
    assert metrics["mrr@10"] == pytest.approx((1 + 1 / 3) / 2)
    assert metrics["accuracy@1"] == 0.5
    assert TASK.get_main_metric(metrics) == "ndcg@10"


def test_a_corpus_larger_than_memory(letters: BertTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "count_free_memory", lambda: 5000)
    with pytest.raises(InputError, match=r"the vectors of 5 texts need .* of memory, and .* are free\."):
        encode(FOUND, letters)  # 3 documents and 2 queries, with 128 dimensions.
    monkeypatch.setattr(machine, "count_free_memory", lambda: 5120)
    encode(FOUND, letters)


def test_rankings_of_positive_texts(letters: BertTokenizer) -> None:
    # Of the texts "a b", "c" (also a negative), d, e f, g, h.
    vectors = [[1, 0], [0, 1], [2, 0], [1, 0], [1.5, 0], [-1, 0]]
    predictions = decode(vectors, SEARCHED, letters, similarity_fn_name="dot")
    assert [entry["corpus_id"] for entry in predictions[0]["ranking"]] == ["d", "g", "e f", "c", "h"]
    assert predictions[0] == predictions[2]
    metrics = TASK.score(predictions, SEARCHED)
    # "d" and "e f" are relevant to "a b", in the places 1 and 3; "e f" to "c", in the place 3: after "c" and "d".
    assert [entry["corpus_id"] for entry in predictions[1]["ranking"]] == ["c", "d", "e f", "g", "h"]
    assert metrics["mrr@10"] == pytest.approx((1 + 1 / 3) / 2)
    assert metrics["map@100"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3) / 2)


def test_what_cannot_be_used(letters: BertTokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="example 1: there is a label, but no second text; pairs of texts"):
        encode({"text": ["a"], "label": ["1"]}, letters)
    with pytest.raises(InputError, match="example 1: the label 'x' is not a finite number, which embedding needs"):
        encode({"text": ["a"], "text_pair": ["b"], "label": ["x"]}, letters)
    with pytest.raises(InputError, match="example 2: positive is 5; a string was expected"):
        encode({"text": ["a", "b"], "positive": ["b", 5]}, letters)
    with pytest.raises(InputError, match="the vector of example 3 is not finite: the weights of the model are damaged"):
        decode([[1, 2], [0, np.nan]], {"text": ["a", "a", "b"]}, letters)
    with pytest.raises(InputError, match="the vector of document 2 is not finite"):
        decode([[1, 2], [1, 2], [1, 2], [0, np.inf]], FOUND, letters)
    with pytest.raises(InputError, match=r"evaluated on pairs .* the columns are text, text_pair\."):
        TASK.score([{"similarity": 0.5}], {"text": ["a"], "text_pair": ["b"]})
    with pytest.raises(InputError, match="it was made for another task, or by an older version of keras_bert_impl"):
        TASK.reduce({"last_hidden_state": np.zeros((1, 3, 2))}, {})
    with pytest.raises(InputError, match="files in BEIR's layout have no named columns; omit label, text"):
        TASK.read_file(tmp_path, columns={"text": "0", "label": "2"})


# ---- Compared with the evaluators of sentence-transformers.


def write_beir(directory: Path, texts: list[str]) -> Path:
    """Writes 83 documents and 29 queries; one to three documents are relevant to each."""
    generator = np.random.default_rng(7)
    documents = {f"d{number}": text for number, text in enumerate(dict.fromkeys(texts[:90]))}
    queries = {f"q{number}": text for number, text in enumerate(texts[100:129])}
    (directory / "qrels").mkdir(parents=True)
    for name, values in (("corpus", documents), ("queries", queries)):
        lines = "".join(json.dumps({"_id": id, "text": text}) + "\n" for id, text in values.items())
        (directory / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    lines = [
        f"{query}\t{document}\t1\n"
        for query in queries
        for document in generator.choice(list(documents), generator.integers(1, 4), replace=False)
    ]
    (directory / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")
    return directory


@run_in_torch_process
def evaluate_retrieval(directory: Path, data: Path) -> dict[str, float]:
    """The metrics of sentence-transformers for a data set in BEIR's layout."""
    import json
    import warnings

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    warnings.simplefilter("ignore")
    texts = []
    for name in ("queries", "corpus"):
        rows = map(json.loads, (data / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
        texts.append({row["_id"]: " ".join([*filter(None, [row.get("title")]), row["text"]]) for row in rows})
    relevant: dict[str, set[str]] = {}
    for line in (data / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, _ = line.split("\t")
        relevant.setdefault(query, set()).add(document)
    evaluator = InformationRetrievalEvaluator(*texts, relevant, precision_recall_at_k=[1, 3, 5, 10, 100])
    metrics = evaluator(SentenceTransformer(str(directory), device="cpu"))
    return {name.split("_")[-1]: float(value) for name, value in metrics.items()}


@run_in_torch_process
def evaluate_pairs(directory: Path, texts: list[str], pairs: list[str], scores: list[float]) -> dict[str, float]:
    """The correlations of sentence-transformers for pairs with a score."""
    import warnings

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    warnings.simplefilter("ignore")
    metrics = EmbeddingSimilarityEvaluator(texts, pairs, scores)(SentenceTransformer(str(directory), device="cpu"))
    return {name.split("_")[0]: float(value) for name, value in metrics.items()}


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("prompts", "dense", "folder")]


@pytest.mark.parametrize("kind", ["several without prompt", *SLOW])
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
@pytest.mark.filterwarnings("ignore:the model has the prompt 'passage' but no 'document':UserWarning")
def test_metrics_of_sentence_transformers(
    kind: str, small_bert: Path, film_texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = sentence_models.make_directory(kind, tmp_path / "model", bert=small_bert)
    data = write_beir(tmp_path / "data", film_texts)
    assert main(["evaluate", str(model), "--data", str(data)]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics.pop("examples") == 29
    expected = evaluate_retrieval(model, data)
    assert metrics == pytest.approx({name: expected[name] for name in metrics}, abs=1e-9)
    assert 0 < metrics["mrr@10"] < 1

    columns = {"text": film_texts[:37], "text_pair": film_texts[40:77], "label": [str(i % 11) for i in range(37)]}
    correlations = Predictor(model).score(columns)
    scores = [float(label) for label in columns["label"]]
    expected = evaluate_pairs(model, columns["text"], columns["text_pair"], scores)
    assert correlations == pytest.approx(expected, abs=1e-4)


def test_predictions_for_a_corpus_need_no_judgments(small_bert: Path, film_texts: list[str], tmp_path: Path) -> None:
    model = sentence_models.make_directory("mean", tmp_path / "model", bert=small_bert)
    data = write_beir(tmp_path / "data", film_texts)
    (data / "qrels" / "test.tsv").unlink()
    predictor = Predictor(model)
    assert predictor.max_length == 13  # max_seq_length, and not the 131 positions.
    with pytest.warns(UserWarning, match="texts are longer than 13 tokens"):
        predictions = list(predictor.predict_file(data, size=5))
    assert [prediction["query_id"] for prediction in predictions] == [f"q{number}" for number in range(29)]
    assert all(len(prediction["ranking"]) >= 80 for prediction in predictions)


@pytest.mark.slow
def test_minilm_on_similar_sentences(minilm: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared_data / "stsb_en" / "stsb-en-dev.csv"
    arguments = ["--text-column", "0", "--pair-column", "1", "--label-column", "2"]
    assert main(["evaluate", str(minilm), "--data", str(path), *arguments]) == 0
    metrics = json.loads(capsys.readouterr().out)
    columns = TASKS["embedding"].read_file(path, columns={"text": "0", "text_pair": "1", "label": "2"})
    expected = evaluate_pairs(minilm, columns["text"], columns["text_pair"], list(map(float, columns["label"])))
    for name in ("pearson", "spearman"):
        assert round(metrics[name], 4) == round(expected[name], 4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_minilm_finds_the_paragraphs_of_questions(
    minilm: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In BEIR's layout, and in a table of questions and paragraphs, which is evaluated as a search, too."""
    articles = json.loads((shared_data / "xquad_en" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    documents = [
        {"_id": f"d{i}", "title": "A title", "text": paragraph["context"]} for i, paragraph in enumerate(paragraphs)
    ]
    pairs = [(question, i) for i, paragraph in enumerate(paragraphs) for question in paragraph["qas"]]
    queries = [{"_id": question["id"], "text": question["question"]} for question, _ in pairs]
    (tmp_path / "qrels").mkdir()
    for name, records in (("corpus", documents), ("queries", queries)):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    judgments = "".join(f"{question['id']}\td{i}\t1\n" for question, i in pairs)
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgments, encoding="utf-8")
    assert main(["evaluate", str(minilm), "--data", str(tmp_path)]) == 0
    metrics = json.loads(capsys.readouterr().out)
    expected = evaluate_retrieval(minilm, tmp_path)
    assert metrics.pop("examples") == 1190
    assert metrics == pytest.approx({name: expected[name] for name in metrics}, abs=5e-5)

    rows = [json.dumps({"question": q["question"], "passage": f"A title {paragraphs[i]['context']}"}) for q, i in pairs]
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert main(["evaluate", str(minilm), "--data", str(tmp_path / "pairs.jsonl")]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["mrr@10"] == pytest.approx(metrics["mrr@10"], abs=0.005)  # A few questions occur twice.
