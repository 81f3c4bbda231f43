"""Rerankers: which models are found as rerankers, labels, loss and metrics, against torch and sentence-transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import find_task, get_task
from keras_bert_impl.tasks.losses import BinaryCrossEntropy
from keras_bert_impl.tasks.options import RerankingOptions
from keras_bert_impl.tasks.reranking import Reranking
from keras_bert_impl.tasks.reranking_keys import SIGMOID
from keras_bert_impl.tokenization import BertTokenizer

TASK = Reranking()
IDENTITY = "torch.nn.modules.linear.Identity"
CLASSIFIER = {"architectures": ["BertForSequenceClassification"]}


@pytest.mark.parametrize(
    ("extra", "labels", "name"),
    [
        ({"sentence_transformers": {"activation_fn": SIGMOID, "version": "4.1.0"}}, 1, "reranking"),
        ({"sbert_ce_default_activation_function": IDENTITY}, 1, "reranking"),
        ({"sentence_transformers": {"activation_fn": IDENTITY}}, 3, "classification"),  # A model of entailment.
        ({"sentence_transformers": {"version": "4.1.0"}}, 1, "regression"),
        ({}, 1, "regression"),
    ],
)
def test_cross_encoders_are_found_by_their_activation(extra: dict[str, Any], labels: int, name: str) -> None:
    config = BertConfig(id2label={number: f"LABEL_{number}" for number in range(labels)}, extra={**CLASSIFIER, **extra})
    assert find_task(config).name == name


def decode(logits: list[float], **extra: Any) -> list[float]:
    config = BertConfig(extra=extra)
    outputs = {"logits": np.array(logits, np.float32)[:, None]}
    predictions = TASK.decode(outputs, None, {}, config)
    return [prediction["score"] for prediction in predictions]


def test_scores() -> None:
    logits = [-90.0, -1.5, 0.0, 4.25, 90.0]
    sigmoids = [1 / (1 + np.exp(-np.float64(logit))) for logit in logits]
    np.testing.assert_allclose(decode(logits), sigmoids, rtol=1e-12)
    both = {"sentence_transformers": {"activation_fn": IDENTITY}, "sbert_ce_default_activation_function": SIGMOID}
    assert decode(logits, **both) == logits
    np.testing.assert_allclose(decode(logits, sbert_ce_default_activation_function=SIGMOID), sigmoids, rtol=1e-12)
    with pytest.raises(InputError, match=r"the activation of the cross-encoder is 'a\.Swoosh', which is not supported"):
        decode(logits, sbert_ce_default_activation_function="a.Swoosh")


def make_columns(labels: list[str], **columns: list[str]) -> Columns:
    return {"text": ["a"] * len(labels), "text_pair": ["b"] * len(labels), "label": labels, **columns}


def test_labels(letters: BertTokenizer) -> None:
    config = BertConfig.preset("tiny", vocab_size=90, **TASK.make_config_changes(["LABEL_0"]))
    columns = make_columns(["0", "2.5", "5"], location=["x, line 2", "x, line 3", "x, line 4"])
    with pytest.raises(InputError, match=r"x, line 3: the label '2\.5' is not from 0 to 1\. .* with --label-scale\."):
        TASK.find_labels(columns)
    task = get_task("reranking", RerankingOptions(label_scale=5.0))
    assert task.find_labels(columns) == ["LABEL_0"]
    features = task.encode(columns, letters, config, max_length=9)
    np.testing.assert_array_equal(features.labels["logits"], np.float32([[0], [0.5], [1]]))
    with pytest.raises(InputError, match="line 2: the label 'x' is not a finite number, which reranking needs"):
        TASK.find_labels(make_columns(["x"], location=["x, line 2"]))
    with pytest.raises(InputError, match="example 1: there is one text; a query and a document were expected"):
        TASK.encode({"text": ["a"]}, letters, config, max_length=9)
    with pytest.raises(InputError, match="pos_weight is 0; a finite number above 0 was expected"):
        RerankingOptions(pos_weight=0)


def test_labels_of_data_for_evaluation(letters: BertTokenizer) -> None:
    config = BertConfig.preset("tiny", vocab_size=90, **TASK.make_config_changes(["LABEL_0"]))
    # Graded labels are gains of nDCG.
    assert TASK.encode(make_columns(["0", "3"]), letters, config, max_length=9).labels["logits"].tolist() == [[0], [3]]
    columns = make_columns(["1", "-1"], location=["x, line 2", "x, line 3"])
    with pytest.raises(InputError, match=r"x, line 3: the label '-1' is negative; a number from 0 \(not"):
        TASK.encode(columns, letters, config, max_length=9)


def test_models_with_several_labels_are_refused() -> None:
    config = BertConfig(id2label={0: "no", 1: "yes", 2: "perhaps"})
    with pytest.raises(InputError, match=r"x/1 has 3 labels; reranking needs a cross-encoder.* --task reranking\."):
        TASK.check_config(config, "x/1")
    TASK.check_config(BertConfig(id2label={0: "LABEL_0"}), "x/1")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("query\tpassage\tscore\na\tb\t0.5\n", encoding="utf-8")
    columns = TASK.read_file(path, columns={})
    assert columns == {"text": ["a"], "text_pair": ["b"], "label": ["0.5"], "location": [f"{path}, line 2"]}
    assert "label" not in next(TASK.read_chunks(path, 7, columns={}))
    path.write_text("query\tpassage\na\tb\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.tsv, line 2: there is no label; a column 'label' or 'score'"):
        TASK.read_file(path, columns={})


@run_in_torch_process
def compute_loss(labels: np.ndarray, logits: np.ndarray, pos_weight: float) -> tuple[float, np.ndarray]:
    """The loss of ``BinaryCrossEntropyLoss`` in sentence-transformers, and its gradient."""
    import torch

    tensor = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(pos_weight))(tensor.view(-1), torch.tensor(labels[:, 0]))
    loss.backward()
    return loss.item(), tensor.grad.numpy()


@pytest.mark.parametrize("pos_weight", [1.0, 3.5])
def test_loss_and_gradient(pos_weight: float) -> None:
    generator = np.random.default_rng(2)
    labels = generator.choice([0, 0.25, 1], (13, 1)).astype(np.float32)
    logits = generator.normal(size=(13, 1), scale=9).astype(np.float32)
    expected, gradient = compute_loss(labels, logits, pos_weight)
    loss = get_task("reranking", RerankingOptions(pos_weight=pos_weight)).make_loss()["logits"]
    assert float(loss(labels, logits)) == pytest.approx(expected, rel=1e-6)
    tensor = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = loss(labels, tensor)
    np.testing.assert_allclose(tape.gradient(value, tensor), gradient, rtol=1e-5, atol=1e-8)
    again = BinaryCrossEntropy.from_config(loss.get_config())
    assert float(again(labels, logits)) == float(value)


def test_ranking_metrics_need_several_documents_per_query() -> None:
    columns = {"text": ["a", "b", "a", "b"], "label": ["0", "0.5", "1", "0"]}
    predictions = [{"score": score} for score in (0.7, 0.3, 0.6, 0.2)]
    metrics = TASK.score(predictions, columns)
    assert metrics["mrr@10"] == pytest.approx((1 / 2 + 1) / 2)
    assert TASK.get_main_metric(metrics) == "ndcg@10"
    # Pairs in which some texts occur twice.
    correlations = TASK.score(predictions, {"text": ["a", "b", "c", "b"], "label": columns["label"]})
    assert correlations["pearson"] == pytest.approx(np.corrcoef([0.7, 0.3, 0.6, 0.2], [0, 0.5, 1, 0])[0, 1])
    assert TASK.get_main_metric(correlations) == "spearman"
