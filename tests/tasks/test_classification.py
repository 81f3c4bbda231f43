"""Classification and regression, against tokenizers, NumPy, and values worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import read_table
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tokenization import BertTokenizer

CLASSES, VALUES = TASKS["classification"], TASKS["regression"]


def set_labels(config: BertConfig, task_name: str, labels: list[str]) -> BertConfig:
    return BertConfig.preset("tiny", vocab_size=config.vocab_size, **TASKS[task_name].make_config_changes(labels))


@pytest.mark.parametrize("max_length", [9, 31, 128])
def test_rows_are_those_of_the_tokenizers_library(
    minilm: Path, minilm_tokenizer: BertTokenizer, shared_data: Path, config: BertConfig, max_length: int
) -> None:
    columns = read_table(shared_data / "stsb_en" / "stsb-en-dev.csv", text="0", text_pair="1", label="2")
    reference = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    reference.no_padding()
    reference.no_truncation()
    pairs = list(zip(columns["text"], columns["text_pair"], strict=True))
    too_long = sum(len(encoding.ids) > max_length for encoding in reference.encode_batch(pairs))
    reference.enable_truncation(max_length)
    expected = reference.encode_batch(pairs)

    features = VALUES.encode(
        columns, minilm_tokenizer, set_labels(config, "regression", ["value"]), max_length=max_length
    )
    assert len(features) == len(expected) == 1500
    for row, encoding in enumerate(expected):
        assert features.inputs["input_ids"][row].tolist() == encoding.ids
        assert features.inputs["token_type_ids"][row].tolist() == encoding.type_ids
        assert features.inputs["attention_mask"][row].tolist() == encoding.attention_mask
    assert features.truncated == too_long
    assert features.labels["logits"].shape == (1500, 1)
    np.testing.assert_array_equal(features.labels["logits"][:, 0], np.array(columns["label"], np.float32))


def test_empty_texts_and_emoji_are_not_errors(letters: BertTokenizer, config: BertConfig) -> None:
    features = CLASSES.encode({"text": ["", "\U0001f3ac", "a"]}, letters, config, max_length=16)
    assert features.lengths.tolist() == [2, 3, 3]


def test_padding_is_the_tokenizers_own(config: BertConfig) -> None:
    tokenizer = BertTokenizer(["[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "[PAD]"])
    features = CLASSES.encode({"text": ["a a", ""]}, tokenizer, config, max_length=16)
    (inputs,) = features.batch(np.array([0, 1]), length=4)
    assert inputs["input_ids"].tolist() == [[1, 4, 4, 2], [1, 2, 5, 5]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", "b", "C"], ["C", "a", "b"]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["1", "01", "2"], ["01", "1", "2"]),
    ],
)
def test_label_names_are_sorted(labels: list[str], names: list[str]) -> None:
    assert CLASSES.find_labels({"text": labels, "label": labels}) == names


def test_labels_of_all_types_are_one_class(letters: BertTokenizer, config: BertConfig) -> None:
    """Also if the types differ between the training data and other data."""
    names = CLASSES.find_labels({"text": ["a", "b", "c"], "label": np.array([1, 0, 1])})
    assert names == ["0", "1"]
    labels = [1, "0", 1.0, "1.0", True, "False", np.int64(0), np.float32(1)]
    columns = {"text": ["a"] * 8, "label": labels}
    config = set_labels(config, "classification", names)
    found = CLASSES.encode(columns, letters, config, max_length=8).labels["logits"]
    assert found.tolist() == [1, 0, 1, 1, 1, 0, 0, 1]
    predictions = [{"label": names[number], "scores": {"0": 0.0, "1": 0.0}} for number in found]
    assert CLASSES.score(predictions, columns) == {"accuracy": 1.0, "macro_f1": 1.0, "f1": 1.0}
    # Models whose names are truth values, or that older versions of this package made.
    for names in (["false", "true"], ["False", "True"], ["0.0", "1.0"]):
        config = set_labels(config, "classification", names)
        assert CLASSES.encode(columns, letters, config, max_length=8).labels["logits"].tolist() == found.tolist()
    tags = {"words": [["a", "b"]] * 2, "label": [[1, 0.0], ["0", "1.0"]]}
    assert TASKS["tagging"].find_labels(tags) == ["0", "1"]


@pytest.mark.parametrize("label", [None, float("nan"), ""])
@pytest.mark.parametrize("task", ["classification", "regression", "multi-label-classification"])
def test_missing_labels_are_named_by_row(task: str, label: object, letters: BertTokenizer, config: BertConfig) -> None:
    labels = [["1"], [label]] if task.startswith("multi") else ["1", label]
    config = BertConfig.preset("tiny", vocab_size=config.vocab_size, **TASKS[task].make_config_changes(["0", "1"]))
    with pytest.raises(
        InputError, match=r"example 2: the label (in column 'label' is empty|.* is not a finite number)"
    ):
        TASKS[task].encode({"text": ["a", "b"], "label": labels}, letters, config, max_length=8)


def test_one_label_cannot_be_learned() -> None:
    columns = {"text": ["a", "b"], "label": ["1", "1"], "location": ["x.tsv, line 2", "x.tsv, line 3"]}
    with pytest.raises(InputError, match=r"x\.tsv, line 2: this example and all after it have the label '1'"):
        CLASSES.find_labels(columns)


def test_labels_are_numbered_as_in_the_config(letters: BertTokenizer, config: BertConfig) -> None:
    config = set_labels(config, "classification", ["no", "perhaps", "yes"])
    columns = {"text": ["a", "b", "c", "d"], "label": ["yes", "no", "yes", "perhaps"]}
    labels = CLASSES.encode(columns, letters, config, max_length=8).labels["logits"]
    assert labels.dtype == np.int32
    assert labels.tolist() == [2, 0, 2, 1]


def test_unknown_labels_are_refused_with_their_line(tmp_path: Path, letters: BertTokenizer, config: BertConfig) -> None:
    (tmp_path / "valid.tsv").write_text("text\tlabel\na\tyes\nb\tmaybe\n")
    columns = read_table(tmp_path / "valid.tsv")
    with pytest.raises(InputError, match=r"valid\.tsv, line 3: the label 'maybe' was not in .* knows 'no', 'yes'\."):
        CLASSES.encode(columns, letters, set_labels(config, "classification", ["no", "yes"]), max_length=8)
    many = [str(number) for number in range(30)]
    with pytest.raises(InputError, match=r"knows '0', .*'19', …\."):
        CLASSES.encode(columns, letters, set_labels(config, "classification", many), max_length=8)


@pytest.mark.parametrize("label", ["good", "nan", "inf", "1,5"])
def test_labels_that_are_not_numbers_are_refused(letters: BertTokenizer, config: BertConfig, label: str) -> None:
    with pytest.raises(InputError, match=f"example 2: the label '{label}' is not a finite number"):
        VALUES.encode({"text": ["a", "b"], "label": ["0.5", label]}, letters, config, max_length=8)


def test_pairs_need_a_second_segment(letters: BertTokenizer) -> None:
    config = BertConfig.preset("tiny", vocab_size=99, type_vocab_size=1)
    with pytest.raises(InputError, match="need two segments, but the model has one"):
        CLASSES.encode(CLASSES.from_texts(["a"], ["b"]), letters, config, max_length=8)
    assert len(CLASSES.encode(CLASSES.from_texts(["a"]), letters, config, max_length=8)) == 1


@run_in_torch_process
def compute_torch_losses(
    logits: np.ndarray, classes: np.ndarray, predictions: np.ndarray, values: np.ndarray
) -> tuple[float, float]:
    """Cross-entropy of classes, and squared error of values."""
    import torch

    functions = torch.nn.functional
    entropy = functions.cross_entropy(torch.tensor(logits), torch.tensor(classes, dtype=torch.long))
    return entropy.item(), functions.mse_loss(torch.tensor(predictions), torch.tensor(values)).item()


def test_losses_are_those_of_torch() -> None:
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(13, 5)).astype(np.float32) * 4
    classes = generator.integers(0, 5, 13).astype(np.int32)
    values = generator.normal(size=(13, 1)).astype(np.float32)
    entropy, squared = compute_torch_losses(logits, classes, logits[:, :1], values)
    np.testing.assert_allclose(float(CLASSES.make_loss()["logits"](classes, logits)), entropy, rtol=1e-6)
    np.testing.assert_allclose(float(VALUES.make_loss()["logits"](values, logits[:, :1])), squared, rtol=1e-6)


def test_predictions_have_names_and_probabilities(letters: BertTokenizer, config: BertConfig) -> None:
    config = set_labels(config, "classification", ["no", "perhaps", "yes"])
    columns = CLASSES.from_texts(["a", "b"])
    features = CLASSES.encode(columns, letters, config, max_length=8)
    logits = np.log(np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])).astype(np.float32) + 100
    predictions = CLASSES.decode({"logits": logits}, features, columns, config)
    assert [prediction["label"] for prediction in predictions] == ["perhaps", "yes"]
    assert predictions[0]["scores"] == pytest.approx({"no": 0.2, "perhaps": 0.5, "yes": 0.3}, rel=1e-4)
    assert predictions[1]["score"] == pytest.approx(0.7, rel=1e-4)
    values = VALUES.decode({"logits": np.array([[1.5], [-2.0]], np.float32)}, features, columns, config)
    assert json.dumps([*predictions, *values]).endswith('{"value": 1.5}, {"value": -2.0}]')


def test_scores_of_two_classes_by_hand() -> None:
    # Of "yes": 3 right, 1 too many, 2 missed; of "no": 1 right, 2 too many, 1 missed.
    pairs = [("yes", "yes")] * 3 + [("no", "yes")] + [("yes", "no")] * 2 + [("no", "no")]
    predictions = [{"label": found, "scores": {"no": 0.0, "yes": 0.0}} for _, found in pairs]
    metrics = CLASSES.score(predictions, {"label": [true for true, _ in pairs]})
    yes, no = 2 * 3 / (2 * 3 + 1 + 2), 2 * 1 / (2 * 1 + 2 + 1)
    assert metrics == pytest.approx({"accuracy": 4 / 7, "macro_f1": (yes + no) / 2, "f1": yes})


def test_scores_of_three_classes_have_no_f1_of_one() -> None:
    scores = {"a": 0.0, "b": 0.0, "c": 0.0}
    predictions = [{"label": found, "scores": scores} for found in "aabb"]
    metrics = CLASSES.score(predictions, {"label": list("aabc")})
    assert metrics == pytest.approx({"accuracy": 0.75, "macro_f1": (1 + 2 / 3 + 0) / 3})


def test_correlations_by_numpy() -> None:
    generator = np.random.default_rng(9)
    true, found = generator.normal(size=17), generator.normal(size=17)
    predictions = [{"value": value} for value in found.tolist()]
    metrics = VALUES.score(predictions, {"label": [str(value) for value in true]})
    ranks = [np.argsort(np.argsort(values)) for values in (true, found)]
    assert metrics["pearson"] == pytest.approx(np.corrcoef(true, found)[0, 1])
    assert metrics["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize(("labels", "values"), [(["1", "1.0"], [0.5, 0.7]), (["1", "2"], [0.5, 0.5]), (["1"], [1.0])])
def test_correlations_with_a_constant_are_zero(labels: list[str], values: list[float]) -> None:
    metrics = VALUES.score([{"value": value} for value in values], {"label": labels})
    assert metrics == {"pearson": 0.0, "spearman": 0.0}


def test_regression_has_one_output() -> None:
    assert VALUES.make_config_changes(VALUES.find_labels({})) == {
        "id2label": {0: "value"},
        "problem_type": "regression",
    }
    assert VALUES.find_labels({}) == ["value"]
