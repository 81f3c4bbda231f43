"""Regression: one number for a text or a pair of texts."""

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features
from keras_bert_impl.data.tables import Columns, location
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Outputs, Prediction, Serving, Summary, TargetLogit, refuse_target
from keras_bert_impl.tasks.classification import SequenceTask
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText


class Regression(SequenceTask):
    """Regression: one number for a text, or for a pair of texts."""

    name: ClassVar[str] = "regression"
    problem_type: ClassVar[str | None] = "regression"
    main_metric: ClassVar[str] = "pearson"

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the name of the only output."""
        return ["value"]

    def read_labels(self, columns: Columns, config: BertConfig) -> np.ndarray:
        """Returns the numbers, float32 ``[examples, 1]``.

        Raises:
            InputError: a label that is not a number.
        """
        return read_numbers(columns)[:, None]

    def make_loss(self) -> dict[str, Any]:
        """Returns the mean squared error; with weights of rows, divided by their sum."""
        import keras

        return {"logits": keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")}

    def make_metrics(self) -> dict[str, Any]:
        """Returns the mean absolute error."""
        import keras

        return {"logits": [keras.metrics.MeanAbsoluteError(name="mean_absolute_error")]}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the mean squared difference of the numbers; numbers have no temperature."""
        from keras_bert_impl.tasks.losses import make_squared_error

        return {"logits": make_squared_error()}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per example its ``value``."""
        return [{"value": value} for value in outputs["logits"][:, 0].tolist()]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """See `compute_correlations`."""
        return compute_correlations([prediction["value"] for prediction in predictions], columns)

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``scores``, float32 ``[batch, 1]``, the numbers; ``label``, strings ``[batch]``, the name of the output."""
        from keras import ops

        logits = outputs["logits"]
        names = list(serving.config.id2label.values())
        return {"label": serving.gather(names, ops.argmax(logits, axis=-1)), "scores": logits}

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the number."""
        return Summary("Prediction", [(f"{prediction['value']:.3f}", None)])

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the number."""
        refuse_target(target, "the only number that the model predicts is explained")
        return [TargetLogit("the number", "logits", 0)]


def read_numbers(columns: Columns, *, task: str = Regression.name) -> np.ndarray:
    """Returns the labels as numbers, float32 ``[examples]``.

    Raises:
        InputError: a label that is not a finite number; the message names the task.
    """
    numbers = [_parse_number(label, location(columns, i), task) for i, label in enumerate(columns["label"])]
    return np.array(numbers, np.float32)


def _parse_number(label: Any, location: str, task: str) -> float:
    try:
        value = float(label)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{location}: the label {label!r} is not a finite number, which {task} needs. Correct the label, or choose "
            "another task."
        )
    return value


def compute_correlations(values: list[float], columns: Columns) -> dict[str, float]:
    """``pearson`` and ``spearman`` correlation with the labels; 0 if all predictions or all labels are equal."""
    from scipy.stats import pearsonr, spearmanr

    true = [float(label) for label in columns["label"]]
    if len(set(true)) < 2 or len(set(values)) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    return {"pearson": float(pearsonr(true, values)[0]), "spearman": float(spearmanr(true, values)[0])}
