"""Weights of classes, labels and rows, and label smoothing: compared with torch, scikit-learn and Keras."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import get_task
from keras_bert_impl.tasks.class_weights import compute_balanced_weights, compute_pos_weights
from keras_bert_impl.tasks.losses import BinaryCrossEntropy, SmoothedCrossEntropy
from keras_bert_impl.tasks.options import ClassificationOptions, MultiLabelOptions, RerankingOptions, TaggingOptions
from keras_bert_impl.tokenization import BertTokenizer

NAMES = ["no", "perhaps", "yes"]
COLUMNS = {"text": list("abcdefg"), "label": ["no", "yes", "no", "perhaps", "no", "yes", "no"]}
IDS = np.array([0, 2, 0, 1, 0, 2, 0])


def encode(
    letters: BertTokenizer, columns: dict[str, Any], *, task: str = "classification", **options: Any
) -> Features:
    """The training data with all weights."""
    kinds = {"classification": ClassificationOptions, "tagging": TaggingOptions}
    made = get_task(task, kinds[task](**options))
    config = BertConfig.preset(
        "tiny", vocab_size=letters.vocab_size, **made.make_config_changes(made.find_labels(columns))
    )
    return made.add_weights(made.encode(columns, letters, config, max_length=16), config)


@run_in_torch_process
def compute_torch_loss(
    logits: np.ndarray, labels: np.ndarray, weights: list[float] | None, smoothing: float
) -> tuple[float, np.ndarray]:
    """Torch's CrossEntropyLoss and its gradient."""
    import torch

    tensor = torch.tensor(logits, requires_grad=True)
    weight = None if weights is None else torch.tensor(weights)
    loss = torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)(tensor, torch.tensor(labels))
    loss.backward()
    return loss.item(), tensor.grad.numpy()


@run_in_torch_process
def compute_torch_binary_loss(logits: np.ndarray, labels: np.ndarray, pos_weight: list[float]) -> float:
    """Torch's BCEWithLogitsLoss."""
    import torch

    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(pos_weight))
    return loss(torch.tensor(logits), torch.tensor(labels)).item()


def test_balanced_class_weights_are_those_of_scikit_learn(letters: BertTokenizer) -> None:
    weights = encode(letters, COLUMNS, class_weight="balanced").weights["logits"]
    expected = compute_class_weight("balanced", classes=np.array(NAMES), y=COLUMNS["label"])
    np.testing.assert_allclose(weights, expected[IDS], rtol=1e-6)
    np.testing.assert_allclose([weights[number == IDS].sum() for number in range(3)], 7 / 3, rtol=1e-6)


@pytest.mark.parametrize("given", ["yes=10,no=0.5", '{"yes": 10, "no": 0.5}', {"yes": 10, "no": 0.5}], ids=repr)
def test_the_loss_with_class_weights_is_that_of_torch(letters: BertTokenizer, given: Any) -> None:
    task = get_task("classification", ClassificationOptions(class_weight=given))
    features = encode(letters, COLUMNS, class_weight=given)
    logits = np.random.default_rng(3).normal(size=(7, 3)).astype(np.float32) * 4
    expected, _ = compute_torch_loss(logits, IDS, [0.5, 1.0, 10.0], 0.0)
    loss = task.make_loss()["logits"]
    found = loss(features.labels["logits"], logits, sample_weight=features.weights["logits"])
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_row_weights_multiply_class_weights(letters: BertTokenizer) -> None:
    own = ["1", 2, 0.0, "3.5", np.float32(1), 0.5, 1]
    weights = encode(letters, {**COLUMNS, "weight": own}, class_weight={"yes": 10}).weights["logits"]
    np.testing.assert_allclose(weights, [1, 20, 0, 3.5, 1, 5, 1])
    assert weights.dtype == np.float32
    # A row with weight 0 does not count for balanced weights.
    balanced = encode(letters, {**COLUMNS, "weight": own}, class_weight="balanced").weights["logits"]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=np.delete(IDS, 2))
    np.testing.assert_allclose(balanced, expected[IDS] * np.array(own, float), rtol=1e-6)


def test_weights_of_tags(letters: BertTokenizer) -> None:
    columns = {"words": [["ab", "c"], ["d", "e", "f"]], "label": [["O", "B-x"], ["O", "O", "O"]]}
    features = encode(letters, columns, task="tagging", class_weight="balanced")
    word = features.alignment["word"].flat
    tags = np.array([0, 1, 0, 0, 0])  # O is first.
    expected = compute_class_weight("balanced", classes=np.arange(2), y=tags)
    np.testing.assert_allclose(features.weights["logits"].flat[word >= 0], expected[tags], rtol=1e-6)
    assert not features.weights["logits"].flat[word < 0].any()


@pytest.mark.parametrize("smoothing", [0.1, 0.7])
def test_smoothing_is_that_of_torch(smoothing: float) -> None:
    logits = np.random.default_rng(4).normal(size=(7, 3)).astype(np.float32) * 4
    expected, _ = compute_torch_loss(logits, IDS, None, smoothing)
    loss = get_task("classification", ClassificationOptions(label_smoothing=smoothing)).make_loss()["logits"]
    assert float(loss(IDS, logits)) == pytest.approx(expected, rel=1e-6)
    again = SmoothedCrossEntropy.from_config(loss.get_config())
    assert float(again(IDS, logits)) == float(loss(IDS, logits))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_loss_with_rows_and_smoothing(smoothing: float) -> None:
    """Compared with Keras' loss of each row, and torch's weights of labels."""
    generator = np.random.default_rng(5)
    logits = generator.normal(size=(7, 4)).astype(np.float32) * 5
    labels = generator.integers(0, 2, (7, 4)).astype(np.float32)
    pos_weight = [0.5, 1.0, 3.0, 10.0]
    loss = BinaryCrossEntropy(pos_weight)
    assert float(loss(labels, logits)) == pytest.approx(compute_torch_binary_loss(logits, labels, pos_weight), rel=1e-6)
    again = BinaryCrossEntropy.from_config(loss.get_config())
    assert float(again(labels, logits)) == float(loss(labels, logits))
    rows = np.array([0, 1, 2, 0.5, 3, 1, 1], np.float32)
    by_row = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)(
        labels, logits
    )
    expected = float(np.average(keras.ops.convert_to_numpy(by_row), weights=rows))
    found = BinaryCrossEntropy(label_smoothing=smoothing)(labels, logits, sample_weight=rows)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_positive_weights_of_labels() -> None:
    has_label = np.array([[1, 1], [0, 1], [0, 1], [0, 0], [1, 0]])
    assert compute_pos_weights("balanced", has_label, ["a", "b"]) == pytest.approx([3 / 2, 2 / 3])
    assert compute_pos_weights({"b": 7.0}, has_label, ["a", "b"]) == [1, 7]
    assert compute_pos_weights(2.5, has_label, ["a", "b"]) == 2.5


def test_a_class_that_does_not_occur_has_weight_one() -> None:
    np.testing.assert_allclose(compute_balanced_weights(np.array([0, 2, 2, 2]), 4), [2, 1, 2 / 3, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"class_weight": "maybe=2"},
            r"class_weight has a weight for 'maybe', which is not a label .* are 'no', 'perh",
        ),
        ({"class_weight": {"yes": 0, "No": 1}}, r"class_weight has a weight for 'No'"),
    ],
)
def test_weights_of_unknown_classes_are_refused(letters: BertTokenizer, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(letters, COLUMNS, **options)


def test_balanced_needs_two_classes() -> None:
    with pytest.raises(InputError, match=r"class_weight is 'balanced', but all labels .* are of one class"):
        compute_balanced_weights(np.array([1, 1, 1]), 3)
    for column, words in ((0, "no text .* has the label 'a'"), (1, "all texts .* have the label 'a'")):
        with pytest.raises(InputError, match=f"pos_weight is 'balanced', but {words}"):
            compute_pos_weights("balanced", np.array([[column, 1], [column, 0]]), ["a", "b"])


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "", "much", None, -0.5])
def test_bad_row_weights_are_refused(letters: BertTokenizer, weight: Any) -> None:
    with pytest.raises(InputError, match=r"example 3: the weight in column 'weight' is .*; a finite number from 0"):
        encode(letters, {**COLUMNS, "weight": [1, 1, weight, 1, 1, 1, 1]})


def test_all_weights_may_not_be_zero(letters: BertTokenizer) -> None:
    with pytest.raises(InputError, match=r"example 1: the weight of this example and of all after it is 0"):
        encode(letters, {**COLUMNS, "weight": [0] * 7})


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            ClassificationOptions,
            {"class_weight": "much"},
            "class_weight is 'much'; balanced, NAME=WEIGHT,NAME=WEIGHT or",
        ),
        (ClassificationOptions, {"class_weight": "3"}, "class_weight is '3'; balanced"),
        (ClassificationOptions, {"class_weight": "a=2,b"}, "class_weight is 'a=2,b'"),
        (ClassificationOptions, {"class_weight": "a=-2"}, "class_weight is 'a=-2'"),
        (ClassificationOptions, {"class_weight": {"a": float("nan")}}, "class_weight is {'a': nan}"),
        (ClassificationOptions, {"class_weight": "a=0,b=0"}, "finite weights, 0 or more, not all of them 0."),
        (ClassificationOptions, {"class_weight": "{'a': 2}"}, "or a JSON object was expected"),
        (ClassificationOptions, {"label_smoothing": 1.0}, "label_smoothing is 1.0; a number from 0 to below 1"),
        (MultiLabelOptions, {"pos_weight": "0"}, "pos_weight is '0'; a number, balanced"),
        (MultiLabelOptions, {"pos_weight": {}}, "pos_weight is {}"),
        (MultiLabelOptions, {"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        (RerankingOptions, {"pos_weight": "balanced"}, "pos_weight is 'balanced'; a finite number above 0"),
    ],
)
def test_bad_options_are_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        kind(**options)
    assert message in str(error.value)


def test_names_of_weights_are_compared_as_labels_are() -> None:
    assert compute_pos_weights({"1.0": 5.0, "true": 5.0}, np.zeros((1, 2)), ["0", "1"]) == [1, 5]
    assert ClassificationOptions(class_weight={1: 2}).class_weight == {"1": 2.0}
    assert RerankingOptions(pos_weight="3").pos_weight == 3.0


def test_weights_of_a_file_are_read_for_training_only(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("text\tlabel\tw\na\tyes\t0.5\nb\tno\t2\n", encoding="utf-8")
    task = get_task("classification")
    assert task.read_file(tmp_path / "x.tsv", columns={"weight": "w"})["weight"] == [0.5, 2.0]
    assert "weight" not in next(task.read_chunks(tmp_path / "x.tsv", 7, columns={"weight": "w"}))
    with pytest.raises(InputError, match=r"line 2: there is no column 'v'; .* contains the weight"):
        task.read_file(tmp_path / "x.tsv", columns={"weight": "v"})
    with pytest.raises(InputError, match="files for reranking have no columns but text, text_pair, label; omit weight"):
        get_task("reranking").read_file(tmp_path / "x.tsv", columns={"weight": "w"})
