"""Multi-label classification: any number of labels for a text or a pair of texts."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features
from keras_bert_impl.data.label_lists import iterate_label_lists
from keras_bert_impl.data.labels import parse_label_list, sort_labels
from keras_bert_impl.data.tables import Columns, location
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Outputs, Prediction, Serving, Summary, TargetLogit, sort_predictions
from keras_bert_impl.tasks.class_weights import compute_pos_weights
from keras_bert_impl.tasks.classification import SequenceTask, find_target, make_label_target
from keras_bert_impl.tasks.encoding import find_label_id, format_names, sigmoid
from keras_bert_impl.tasks.options import MultiLabelOptions
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText

# The key of `config.json` with the probability from which each label is predicted, by the names of labels.
THRESHOLDS = "label_thresholds"
_DEFAULT_THRESHOLD = 0.5


class MultiLabelClassification(SequenceTask):
    """Classification of a text, or of a pair of texts, with any number of labels, each with its own probability.

    A label is predicted if its probability, the sigmoid of its logit, is at least its threshold.

    Args:
        options: the options of training.
    """

    name: ClassVar[str] = "multi-label-classification"
    problem_type: ClassVar[str | None] = "multi_label_classification"
    main_metric: ClassVar[str] = "micro_f1"
    file_columns: ClassVar[tuple[str, ...]] = (*SequenceTask.file_columns, "label_columns", "label_delimiter")
    config_keys: ClassVar[tuple[str, ...]] = (*SequenceTask.config_keys, THRESHOLDS)

    def __init__(self, options: MultiLabelOptions | None = None) -> None:
        self.options = options or MultiLabelOptions()

    def check_config(self, config: BertConfig, source: Any) -> None:
        """Checks the thresholds; see `Task.check_config`."""
        try:
            read_thresholds(config)
        except InputError as error:
            raise InputError(f"{source}: {error}") from error

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a table; see `iterate_label_lists`."""
        return iterate_label_lists(path, labeled=labeled, **columns)

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the distinct labels, sorted; as numbers if all of them are integers.

        >>> MultiLabelClassification().find_labels({"text": ["a", "b"], "label": [["short"], ["long", "short"]]})
        ['long', 'short']

        Raises:
            InputError: there are none.
        """
        names = sort_labels(name for names in _list_labels(columns) for name in names)
        if not names:
            raise InputError(
                f"{location(columns, 0)}: this example and all after it have no label. One or more labels are needed "
                "to train with."
            )
        return names

    def list_strata(self, columns: Columns) -> list[str]:
        """Returns the labels of each example, as one string."""
        return [",".join(sorted(names)) for names in _list_labels(columns)]

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """See `SequenceTask.encode`. There is always one weight per row, because the loss has one value per row."""
        features = super().encode(columns, tokenizer, config, max_length=max_length)
        if not features.labels or features.weights:
            return features
        return dataclasses.replace(features, weights={"logits": np.ones(len(features), np.float32)})

    def parse_label(self, label: Any, columns: Columns, index: int, config: BertConfig) -> list[str]:
        """Returns the labels of a text, from their names, or from 1 or 0 for each label; see `Task.parse_label`."""
        names, entries = self.list_label_names(config), label if isinstance(label, list) else [label]
        if all(isinstance(entry, str) for entry in entries):
            return entries
        if len(entries) == len(names) and all(entry in (0, 1) for entry in entries):
            return [name for name, entry in zip(names, entries, strict=True) if entry]
        raise InputError(
            f"{location(columns, index)}: the labels are {label!r:.50}; a list of names, or 1 or 0 for each of the "
            f"{len(names)} labels was expected. The names are {format_names(names)}."
        )

    def read_labels(self, columns: Columns, config: BertConfig) -> np.ndarray:
        """Returns 1 for each label that an example has, else 0: float32 ``[examples, labels]``.

        Raises:
            InputError: a label that is missing, or that the model does not know.
        """
        return _make_multi_hot(columns, list(config.id2label.values()))

    def make_config_extra(self, columns: Columns, *, max_length: int) -> dict[str, Any]:
        """Removes the thresholds of the checkpoint."""
        return {**super().make_config_extra(columns, max_length=max_length), THRESHOLDS: None}

    def make_loss(self) -> dict[str, Any]:
        """Binary cross entropy, the mean over rows and labels, without weights of labels."""
        from keras_bert_impl.tasks.losses import BinaryCrossEntropy

        return {"logits": BinaryCrossEntropy(label_smoothing=self.options.label_smoothing)}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the divergence of the probabilities of each label."""
        from keras_bert_impl.tasks.losses import SoftenedBinaryKLDivergence

        return {"logits": SoftenedBinaryKLDivergence(temperature)}

    def make_compile_arguments(
        self, features: Features | None = None, config: BertConfig | None = None
    ) -> dict[str, Any]:
        """The loss with the weights of labels, which depend on the training data.

        Raises:
            InputError: the weights do not fit the labels.
        """
        arguments = super().make_compile_arguments(features, config)
        if features is not None and config is not None:
            names = list(config.id2label.values())
            labels: Any = features.labels["logits"]
            has_label = labels[features.is_first_row]  # A long text has several rows.
            arguments["loss"]["logits"].pos_weight = compute_pos_weights(self.options.pos_weight, has_label, names)
        return arguments

    def make_metrics(self) -> dict[str, Any]:
        """Accuracy over all labels of all rows."""
        import keras

        return {"logits": [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)]}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per example its ``labels``, and the ``scores`` (probabilities) of all labels by name."""
        names, thresholds = list(config.id2label.values()), read_thresholds(config)
        probabilities = sigmoid(outputs["logits"])
        return [
            {
                "labels": [name for name, is_predicted in zip(names, row >= thresholds, strict=True) if is_predicted],
                "scores": dict(zip(names, row.tolist(), strict=True)),
            }
            for row in probabilities
        ]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """``micro_f1``, ``macro_f1``, ``subset_accuracy`` and ``average_precision``.

        ``micro_f1`` counts the labels of all examples together; ``macro_f1`` is the mean over labels. Subset accuracy
        is the fraction of examples whose labels are all right. Average precision is the mean over the labels that
        occur; it does not depend on thresholds.
        """
        from sklearn.metrics import average_precision_score, f1_score

        names = list(predictions[0]["scores"])
        true = _make_multi_hot(columns, names).astype(int)
        found = np.array([[name in prediction["labels"] for name in names] for prediction in predictions]).astype(int)
        scores = np.array([list(prediction["scores"].values()) for prediction in predictions])
        # One label at a time: for a single label, scikit-learn would count "no label" as a class of its own.
        by_label = list(zip(true.T, found.T, scores.T, strict=True))
        precisions = [
            average_precision_score(has_label, of_label) for has_label, _, of_label in by_label if any(has_label)
        ]
        metrics = {
            "micro_f1": f1_score(true.ravel(), found.ravel(), zero_division=0),
            "macro_f1": np.mean(
                [f1_score(has_label, is_found, zero_division=0) for has_label, is_found, _ in by_label]
            ),
            "subset_accuracy": np.mean((true == found).all(axis=1)),
            "average_precision": np.mean(precisions) if precisions else 0.0,
        }
        return {name: float(value) for name, value in metrics.items()}

    def get_main_metric(self, scores: Mapping[str, float]) -> str:
        """Returns ``average_precision`` if thresholds are tuned, which is after the last epoch; else ``micro_f1``."""
        return "average_precision" if self.options.tune_thresholds else self.main_metric

    def tune(self, predict: Callable[[], list[Prediction]], columns: Columns) -> dict[str, Any]:
        """Returns the threshold of each label with the highest F1, if the option ``tune_thresholds`` is set."""
        if not self.options.tune_thresholds:
            return {}
        predictions = predict()
        names = list(predictions[0]["scores"])
        true = _make_multi_hot(columns, names)
        scores = np.array([list(prediction["scores"].values()) for prediction in predictions])
        return {THRESHOLDS: {name: find_threshold(true[:, i], scores[:, i]) for i, name in enumerate(names)}}

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``labels``, strings ``[batch, labels]``: the name of each label that is predicted, empty for the others.

        ``scores``, float32 ``[batch, labels]``, are the probabilities, in the same order.
        """
        from keras import ops

        names = list(serving.config.id2label.values())
        scores = ops.sigmoid(outputs["logits"])
        is_predicted = scores >= ops.convert_to_tensor(read_thresholds(serving.config), "float32")
        numbers = ops.where(is_predicted, ops.arange(1, len(names) + 1), 0)
        return {"labels": serving.gather(["", *names], numbers), "scores": scores}

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the most likely labels."""
        return Summary("Labels", sort_predictions(prediction["scores"]))

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logit of the label ``target``, or of each label that is predicted, or else the most likely."""
        names = list(config.id2label.values())
        if target is not None:
            return [make_label_target(find_target(target, names), names)]
        logits = np.asarray(outputs["logits"][0])
        predicted = np.flatnonzero(sigmoid(logits) >= read_thresholds(config)).tolist()
        return [make_label_target(index, names) for index in predicted or [int(logits.argmax())]]


def read_thresholds(config: BertConfig) -> np.ndarray:
    """Returns the probability from which each label is predicted: 0.5, or as ``config.json`` says. ``[labels]``.

    Raises:
        InputError: there is a threshold for a label that the model does not have, or one that is not from 0 to 1.

    >>> config = BertConfig(id2label={0: "long", 1: "short"}, extra={"label_thresholds": {"short": 0.25}})
    >>> read_thresholds(config).tolist()
    [0.5, 0.25]
    """
    chosen = config.extra.get(THRESHOLDS) or {}
    if not isinstance(chosen, Mapping):
        raise InputError(
            f"{THRESHOLDS} in config.json is {chosen!r:.200}; an object with a number by label was expected."
        )
    names = list(config.id2label.values())
    thresholds = np.full(len(names), _DEFAULT_THRESHOLD)
    for name, threshold in chosen.items():
        if name not in names:
            raise InputError(
                f"{THRESHOLDS} in config.json has the label {name!r}, which the model does not have; its labels are "
                f"{format_names(names)}. Correct the name, or remove it."
            )
        is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
        if not (is_number and 0 <= threshold <= 1):
            raise InputError(
                f"{THRESHOLDS} in config.json has {threshold!r:.100} for the label {name!r}; a number from 0 to 1 was "
                "expected. Correct it."
            )
        thresholds[names.index(name)] = threshold
    return thresholds


def find_threshold(has_label: np.ndarray, scores: np.ndarray) -> float:
    """Returns the threshold of the highest F1; of several, the one that is nearest to 0.5.

    A threshold lies in the middle between two scores, so that rounding does not change a prediction.

    Args:
        has_label: 1 for the examples that have the label, else 0: ``[examples]``.
        scores: the probabilities.

    >>> find_threshold(np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.2, 0.4]))
    0.25
    """
    if not np.any(has_label):
        return _DEFAULT_THRESHOLD
    from sklearn.metrics import precision_recall_curve

    precision, recall, distinct = precision_recall_curve(has_label, scores)
    f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], np.finfo(float).tiny)
    middles = (distinct + np.concatenate([[0.0], distinct[:-1]])) / 2
    best = middles[f1 >= f1.max() - 1e-12]
    return float(best[np.abs(best - _DEFAULT_THRESHOLD).argmin()])


def _list_labels(columns: Columns) -> list[list[str]]:
    if isinstance(columns["label"], np.ndarray) and columns["label"].ndim == 2:
        raise InputError(
            f"the labels are an array of shape {list(columns['label'].shape)}; a list of the names of its labels was "
            "expected for each text."
        )
    return [parse_label_list(labels, location=location(columns, i)) for i, labels in enumerate(columns["label"])]


def _make_multi_hot(columns: Columns, names: Sequence[str]) -> np.ndarray:
    """Returns 1 for each label that an example has, else 0: float32 ``[examples, labels]``."""
    label2id = {name: number for number, name in enumerate(names)}
    hot = np.zeros((len(columns["label"]), len(names)), np.float32)
    for i, labels in enumerate(_list_labels(columns)):
        for label in labels:
            hot[i, find_label_id(label, label2id, location=location(columns, i))] = 1
    return hot
