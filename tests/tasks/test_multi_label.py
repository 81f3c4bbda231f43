"""Multi-label classification: scores of transformers, metrics of scikit-learn, thresholds, and a run."""

import dataclasses
import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score
from sklearn.preprocessing import MultiLabelBinarizer
from torch_process import run_in_torch_process

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import BatchSplitter, LengthBatches, use_sum_reduction
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertModel
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks import TASKS, get_task
from keras_bert_impl.tasks.multi_label import THRESHOLDS, find_threshold, read_thresholds
from keras_bert_impl.tasks.options import MultiLabelOptions
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training import FineTuningSettings, finetune

TASK = TASKS["multi-label-classification"]
NAMES = ["funny", "long", "short"]
COLUMNS: dict[str, Any] = {
    "text": ["a film", "the story is long", "it was short", "short and funny", "a dull book"],
    "label": [[], ["long"], ["short"], ["short", "funny"], ("long",)],
}
EXPECTED = [[0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0]]


def make_config(names: list[str] = NAMES, **extra: Any) -> BertConfig:
    return BertConfig.preset("tiny", vocab_size=99, **TASK.make_config_changes(names), extra=extra)


def make_predictions(logits: np.ndarray, config: BertConfig) -> list[dict[str, Any]]:
    features: Any = None
    return TASK.decode({"logits": logits.astype(np.float32)}, features, {}, config)


def test_labels_are_multi_hot(letters: BertTokenizer) -> None:
    assert TASK.find_labels(COLUMNS) == NAMES
    labels = TASK.encode(COLUMNS, letters, make_config(), max_length=16).labels["logits"]
    assert labels.dtype == np.float32
    assert labels.tolist() == EXPECTED


def test_labels_of_all_types(letters: BertTokenizer) -> None:
    columns = {"text": ["a", "b"], "label": [[1, 20.0], np.array(["3", "1.0"])]}
    assert TASK.find_labels(columns) == ["1", "3", "20"]
    other = {"text": ["a", "b", "c"], "label": [[True, "20.0"], {3}, np.array([])]}
    labels = TASK.encode(other, letters, make_config(["1", "3", "20"]), max_length=16).labels["logits"]
    assert labels.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_predictions_by_threshold() -> None:
    logits = np.log([[0.3, 0.6, 0.4999], [0.5, 0.1, 0.9]]) - np.log(1 - np.array([[0.3, 0.6, 0.4999], [0.5, 0.1, 0.9]]))
    first, second = make_predictions(logits, make_config())
    assert first["labels"] == ["long"]
    assert first["scores"] == pytest.approx({"funny": 0.3, "long": 0.6, "short": 0.4999}, abs=1e-6)
    assert second["labels"] == ["funny", "short"]
    tuned = make_config(**{THRESHOLDS: {"funny": 0.25, "long": 0.7}})
    assert [row["labels"] for row in make_predictions(logits, tuned)] == [["funny"], ["funny", "short"]]
    assert json.loads(json.dumps(first)) == first


@pytest.mark.parametrize("count", [1, 2, 5])
def test_metrics_are_those_of_scikit_learn(count: int) -> None:
    generator = np.random.default_rng(count)
    names = [f"label {number}" for number in range(count)]
    true = generator.integers(0, 2, (31, count))
    predictions = make_predictions(generator.normal(size=(31, count)), make_config(names))
    columns = {"label": [[name for name, has in zip(names, row, strict=True) if has] for row in true]}
    metrics = TASK.score(predictions, columns)
    binarizer = MultiLabelBinarizer(classes=names)
    found = binarizer.fit_transform([prediction["labels"] for prediction in predictions])
    scores = np.array([list(prediction["scores"].values()) for prediction in predictions])
    # A column that is always 0: scikit-learn sees several labels, also if there is one.
    padded = [np.pad(array, ((0, 0), (0, 1))) for array in (true, found)]
    by_label = f1_score(*padded, average=None, zero_division=0)[:count]
    assert metrics == pytest.approx(
        {
            "micro_f1": f1_score(*padded, average="micro"),
            "macro_f1": by_label.mean(),
            "subset_accuracy": (true == found).all(axis=1).mean(),
            "average_precision": average_precision_score(true.squeeze(), scores.squeeze(), average="macro"),
        }
    )


def test_labels_that_never_occur_have_no_average_precision() -> None:
    predictions = make_predictions(np.array([[1.0, -1.0, -2.0], [-1.0, -1.0, -3.0]]), make_config())
    assert TASK.score(predictions, {"label": [["funny"], []]}) == {
        "micro_f1": 1.0,
        "macro_f1": pytest.approx(1 / 3),
        "subset_accuracy": 1.0,
        "average_precision": 1.0,
    }
    assert TASK.score(predictions, {"label": [[], []]})["average_precision"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_have_the_highest_f1(seed: int) -> None:
    generator = np.random.default_rng(seed)
    has_label = generator.integers(0, 2, 29)
    scores = np.round(np.clip(0.3 * has_label + 0.2 + generator.normal(size=29) * 0.2, 0.01, 0.99), 2)
    threshold = find_threshold(has_label, scores)
    best = max(f1_score(has_label, scores >= candidate) for candidate in scores)
    assert f1_score(has_label, scores >= threshold) == pytest.approx(best)
    assert np.abs(scores - threshold).min() > 1e-4


def test_a_label_that_does_not_occur_keeps_its_threshold() -> None:
    assert find_threshold(np.zeros(3), np.array([0.1, 0.2, 0.9])) == 0.5
    # All thresholds between 0.3 and 0.9 are equally good.
    assert find_threshold(np.array([0, 0, 1]), np.array([0.1, 0.3, 0.9])) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        (
            {"dull": 0.5},
            r"has the label 'dull', which the model does not have; its labels are 'funny', 'long', 'short'",
        ),
        ({"long": 1.5}, r"has 1.5 for the label 'long'; a number from 0 to 1"),
        ({"long": float("nan")}, r"has nan for the label 'long'"),
        ({"long": True}, r"has True for the label 'long'"),
        ({"long": "0.5"}, r"has '0.5' for the label 'long'"),
        ([0.5, 0.5, 0.5], r"is \[0.5, 0.5, 0.5\]; an object with a number by label"),
    ],
)
def test_bad_thresholds_are_refused(thresholds: Any, message: str) -> None:
    config = make_config(**{THRESHOLDS: thresholds})
    with pytest.raises(InputError, match=f"label_thresholds in config.json {message}"):
        read_thresholds(config)
    with pytest.raises(InputError, match=r"some/model: label_thresholds in config\.json"):
        TASK.check_config(config, "some/model")


def test_outputs_of_a_saved_model() -> None:
    """The same labels and scores as those of predictions, with an empty name for each label that is not predicted."""
    config = make_config(**{THRESHOLDS: {"funny": 0.25, "long": 0.7}})
    logits = np.random.default_rng(7).normal(size=(11, 3)).astype(np.float32)
    serving: Any = SimpleNamespace(
        config=config, gather=lambda strings, indices: np.array(strings)[keras.ops.convert_to_numpy(indices)]
    )
    outputs = TASK.serve({"logits": keras.ops.convert_to_tensor(logits)}, serving)
    predictions = make_predictions(logits, config)
    assert outputs["labels"].tolist() == [
        [name if name in prediction["labels"] else "" for name in NAMES] for prediction in predictions
    ]
    expected = [list(prediction["scores"].values()) for prediction in predictions]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(outputs["scores"]), expected, atol=1e-6)


def test_targets_of_explanations() -> None:
    row: Any = None
    tokenizer: Any = None
    config = make_config(**{THRESHOLDS: {"funny": 0.1}})

    def find(logits: list[float], target: str | None = None) -> list[tuple[str, int]]:
        found = TASK.find_targets(row, {"logits": np.array([logits])}, tokenizer, config, target)
        return [(logit.name, logit.index) for logit in found]

    assert find([-1.0, 2.0, -1.0]) == [("logit of 'funny'", 0), ("logit of 'long'", 1)]
    assert find([-9.0, -8.0, -7.0]) == [("logit of 'short'", 2)]
    assert find([-9.0, -8.0, -7.0], "long") == [("logit of 'long'", 1)]
    with pytest.raises(InputError, match="the model has no label 'dull'; it has 'funny', 'long', 'short'"):
        find([0.0, 0.0, 0.0], "dull")


@pytest.mark.parametrize("weights", [None, [1, 0.5, 3, 0, 2]])
def test_parts_of_a_batch_add_up(weights: list[float] | None, letters: BertTokenizer) -> None:
    """For gradient accumulation and replicas, also if rows are padded."""
    columns = COLUMNS if weights is None else {**COLUMNS, "weight": weights}
    features = TASK.encode(columns, letters, make_config(), max_length=16)
    batches = LengthBatches(features, 6)
    order = batches.get_rows(0)
    logits = np.random.default_rng(8).normal(size=(6, 3)).astype(np.float32)
    own = np.ones(5, np.float32) if weights is None else np.array(weights, np.float32)
    has_label = np.array(EXPECTED, np.float32)[order]
    expected = TASK.make_loss()["logits"](has_label, logits[:5], sample_weight=own[order])
    by_label = np.logaddexp(0, np.where(has_label, -1, 1) * logits[:5].astype(float))
    assert float(expected) == pytest.approx(np.average(by_label.mean(axis=1), weights=own[order]), rel=1e-6)
    loss = use_sum_reduction({"loss": TASK.make_loss()})["loss"]["logits"]
    total = 0.0
    for number, (_, labels, part_weights) in enumerate(map(BatchSplitter(batches, 2).__getitem__, range(2))):
        part = logits[3 * number : 3 * number + 3]
        total += float(loss(labels["logits"], part, sample_weight=part_weights["logits"]))
    assert total == pytest.approx(float(expected), rel=1e-6)


@run_in_torch_process
def compute_pipeline_scores(directory: Path, texts: list[str]) -> list[dict[str, float]]:
    """The scores of the pipeline of transformers, which chooses the activation by the configuration."""
    import transformers

    pipeline = transformers.pipeline("text-classification", model=str(directory), device="cpu")
    return [{entry["label"]: entry["score"] for entry in row} for row in pipeline(texts, top_k=None)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with a small vocabulary, without a head."""
    keras.utils.set_random_seed(6)
    words = sorted({word for text in COLUMNS["text"] for word in text.split()})
    tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words], do_lower_case=True)
    sizes = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 37}
    config = BertConfig(
        vocab_size=tokenizer.vocab_size, max_position_embeddings=41, initializer_range=0.3, extra={THRESHOLDS: {"x": 0}}
    )
    directory = tmp_path_factory.mktemp("checkpoints") / "random"
    BertModel(dataclasses.replace(config, **sizes)).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def train(
    checkpoint: Path, output: Path, columns: dict[str, Any], *, lora_rank: int = 0, **options: Any
) -> dict[str, Any]:
    settings = FineTuningSettings(epochs=3, batch_size=8, learning_rate=5e-3, max_length=16, lora_rank=lora_rank)
    data = {name: values * 4 for name, values in columns.items()}
    return finetune(
        checkpoint,
        task=TASK.name,
        train=data,
        valid=columns,
        test=columns,
        output=output,
        settings=settings,
        options=MultiLabelOptions(**options),
        log=lambda line: None,
    )


def test_a_run_is_opened_by_transformers(checkpoint: Path, tmp_path: Path) -> None:
    """Sigmoid scores of the pipeline; tuned thresholds are kept; the metrics are those of the saved model."""
    metrics = train(checkpoint, tmp_path / "run", COLUMNS, tune_thresholds=True, pos_weight="balanced")
    assert metrics["options"] == {"tune_thresholds": True, "pos_weight": "balanced"}
    precisions = [scores["average_precision"] for scores in metrics["validation"]]
    assert metrics["best_epoch"] == 1 + int(np.argmax(precisions))
    config = BertConfig.from_pretrained(tmp_path / "run")
    assert list(config.extra[THRESHOLDS]) == NAMES
    predictor = Predictor(tmp_path / "run")
    assert predictor.task is TASK
    predictions = predictor.predict_texts(COLUMNS["text"])
    for name in NAMES:
        has_label = [name in labels for labels in COLUMNS["label"]]
        scores = [prediction["scores"][name] for prediction in predictions]
        expected = find_threshold(np.array(has_label), np.array(scores))
        assert config.extra[THRESHOLDS][name] == pytest.approx(expected, abs=1e-5)
    assert predictor.score(COLUMNS) == pytest.approx(metrics["valid"])
    assert metrics["test"] == metrics["valid"]

    for ours, theirs in zip(predictions, compute_pipeline_scores(tmp_path / "run", COLUMNS["text"]), strict=True):
        assert ours["scores"] == pytest.approx(theirs, abs=1e-5)


def test_an_adapter_has_the_tuned_thresholds_too(checkpoint: Path, tmp_path: Path) -> None:
    train(checkpoint, tmp_path / "run", COLUMNS, lora_rank=2, tune_thresholds=True)
    run, adapter = (BertConfig.from_pretrained(tmp_path / "run" / part) for part in ("", "adapter"))
    assert adapter.extra[THRESHOLDS] == run.extra[THRESHOLDS]
    assert list(run.extra[THRESHOLDS]) == NAMES
    expected, found = (Predictor(tmp_path / "run" / part).predict_texts(COLUMNS["text"]) for part in ("", "adapter"))
    assert [answer["labels"] for answer in found] == [answer["labels"] for answer in expected]


@pytest.mark.slow  # `test_training_step.py` takes a step with a single label.
def test_a_single_label_is_a_sigmoid_too(checkpoint: Path, tmp_path: Path) -> None:
    columns = {"text": COLUMNS["text"], "label": [["short"] if "short" in text else [] for text in COLUMNS["text"]]}
    metrics = train(checkpoint, tmp_path / "run", columns)
    assert metrics["labels"] == ["short"]
    assert THRESHOLDS not in BertConfig.from_pretrained(tmp_path / "run").extra
    predictions = Predictor(tmp_path / "run").predict_texts(COLUMNS["text"])
    assert [set(prediction["labels"]) for prediction in predictions] == [
        {"short"} if prediction["scores"]["short"] >= 0.5 else set() for prediction in predictions
    ]
    for ours, theirs in zip(predictions, compute_pipeline_scores(tmp_path / "run", COLUMNS["text"]), strict=True):
        assert ours["scores"] == pytest.approx(theirs, abs=1e-5)


def test_weights_of_labels_are_in_the_loss(letters: BertTokenizer) -> None:
    features = TASK.encode(COLUMNS, letters, make_config(), max_length=16)
    task = get_task(TASK.name, MultiLabelOptions(pos_weight="balanced"))
    loss = task.make_compile_arguments(features, make_config())["loss"]["logits"]
    assert loss.pos_weight == pytest.approx([4.0, 1.5, 1.5])
    with pytest.raises(InputError, match=r"the labels are an array of shape \[5, 3\]; a list of the names"):
        TASK.find_labels({"label": np.array(EXPECTED)})
    with pytest.raises(InputError, match="pos_weight has a weight for 'dull', which is not a label"):
        get_task(TASK.name, MultiLabelOptions(pos_weight="dull=2")).make_compile_arguments(features, make_config())


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino", "litert"])
def test_exports_for_other_runtimes(format: str, checkpoint: Path, tmp_path: Path) -> None:
    from keras_bert_impl.export import export_model

    train(checkpoint, tmp_path / "run", COLUMNS, tune_thresholds=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Converters warn.
        export = export_model(tmp_path / "run", tmp_path / "export", format=format).directory
    expected = Predictor(tmp_path / "run").predict_texts(COLUMNS["text"])
    for found, prediction in zip(Predictor(export).predict_texts(COLUMNS["text"]), expected, strict=True):
        assert found["labels"] == prediction["labels"]
        assert found["scores"] == pytest.approx(prediction["scores"], abs=1e-5)
