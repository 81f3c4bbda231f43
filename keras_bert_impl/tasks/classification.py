"""One label, or one number, for a text or a pair of texts."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.columns import Columns, location
from keras_bert_impl.data.features import Features
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.encoding import check_fit, label_id, model_inputs, softmax
from keras_bert_impl.tokenization import BertTokenizer


def from_texts(texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> Columns:
    """Columns for texts, or pairs of texts, without labels."""
    return {"text": list(texts), **({} if text_pairs is None else {"text_pair": list(text_pairs)})}


def class_names(columns: Columns) -> list[str]:
    """The distinct labels, sorted: as numbers if all of them are whole numbers.

    >>> class_names({"text": ["a", "b", "c"], "label": ["10", "9", "10"]})
    ['9', '10']
    """
    names = set(columns["label"])
    if len(names) < 2:
        raise InputError(
            f"{location(columns, 0)}: this example and all after it have the label {names.pop()!r}. "
            "Two or more labels are needed to train with."
        )
    whole = all(re.fullmatch(r"[+-]?[0-9]+", name) for name in names)
    return sorted(names, key=lambda name: (int(name) if whole else 0, name))


def value_names(columns: Columns) -> list[str]:
    """The name of the one output of a regression."""
    return ["value"]


def encode_classes(columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
    """Rows of texts or pairs; labels int32 ``[rows]``.

    Raises:
        InputError: a label that the model does not know, or a ``max_length`` beyond its positions.
    """
    return _encode(columns, tokenizer, config, max_length, _class_ids)


def encode_values(columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
    """Rows of texts or pairs; labels float32 ``[rows, 1]``.

    Raises:
        InputError: a label that is no number, or a ``max_length`` beyond the model's positions.
    """
    return _encode(columns, tokenizer, config, max_length, _numbers)


def _encode(
    columns: Columns,
    tokenizer: BertTokenizer,
    config: BertConfig,
    max_length: int,
    read_labels: Callable[[Columns, BertConfig], np.ndarray],
) -> Features:
    texts, pairs = columns["text"], columns.get("text_pair")
    check_fit(tokenizer, config, max_length=max_length, pairs=pairs is not None)
    labels = {"logits": read_labels(columns, config)} if "label" in columns else {}
    rows = tokenizer(texts, pairs, padding=False, truncation=False)
    # Cut in a second call, because only whole rows tell which ones are too long.
    long = [i for i, row in enumerate(rows["input_ids"]) if len(row) > max_length]
    if long:
        cut_pairs = None if pairs is None else [pairs[i] for i in long]
        cut = tokenizer([texts[i] for i in long], cut_pairs, padding=False, truncation=True, max_length=max_length)
        for name, shorter in cut.items():
            for i, row in zip(long, shorter, strict=True):
                rows[name][i] = row
    inputs = model_inputs(rows, tokenizer)
    return Features(inputs, labels, {}, example=np.arange(len(texts), dtype=np.int32), truncated=len(long))


def _class_ids(columns: Columns, config: BertConfig) -> np.ndarray:
    known = config.label2id
    ids = [label_id(name, known, place=location(columns, i)) for i, name in enumerate(columns["label"])]
    return np.array(ids, np.int32)


def _numbers(columns: Columns, config: BertConfig) -> np.ndarray:
    numbers = [[_number(name, location(columns, i))] for i, name in enumerate(columns["label"])]
    return np.array(numbers, np.float32)


def _number(label: str, place: str) -> float:
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{place}: the label {label!r} is no number, but this task predicts numbers.")
    return value


def class_loss() -> dict[str, Any]:
    """Cross entropy of the logits."""
    import keras

    return {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}


def class_metrics() -> dict[str, Any]:
    """The share of right labels."""
    import keras

    return {"logits": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]}


def value_loss() -> dict[str, Any]:
    """The mean squared error."""
    import keras

    return {"logits": keras.losses.MeanSquaredError()}


def value_metrics() -> dict[str, Any]:
    """The mean absolute error."""
    import keras

    return {"logits": [keras.metrics.MeanAbsoluteError(name="mean_absolute_error")]}


def decode_classes(
    outputs: Mapping[str, Any], features: Features, columns: Columns, config: BertConfig
) -> list[dict[str, Any]]:
    """For each example ``label``, its ``score`` (probability), and the ``scores`` of all labels by name."""
    names = list(config.id2label.values())
    predictions = []
    for probabilities in softmax(outputs["logits"]).tolist():
        scores = dict(zip(names, probabilities, strict=True))
        label = max(scores, key=scores.__getitem__)
        predictions.append({"label": label, "score": scores[label], "scores": scores})
    return predictions


def decode_values(
    outputs: Mapping[str, Any], features: Features, columns: Columns, config: BertConfig
) -> list[dict[str, Any]]:
    """For each example its ``value``."""
    return [{"value": value} for value in outputs["logits"][:, 0].tolist()]


def score_classes(predictions: list[dict[str, Any]], columns: Columns) -> dict[str, float]:
    """``accuracy``, ``macro_f1`` (mean over labels), and with two labels ``f1`` of the second."""
    from sklearn.metrics import accuracy_score, f1_score

    true, found = columns["label"], [prediction["label"] for prediction in predictions]
    figures = {
        "accuracy": accuracy_score(true, found),
        "macro_f1": f1_score(true, found, average="macro", zero_division=0),
    }
    names = list(predictions[0]["scores"])
    if len(names) == 2:
        figures["f1"] = f1_score(true, found, pos_label=names[1], zero_division=0)
    return {name: float(figure) for name, figure in figures.items()}


def score_values(predictions: list[dict[str, Any]], columns: Columns) -> dict[str, float]:
    """``pearson`` and ``spearman`` correlation; 0 where all labels or all predictions are the same number."""
    from scipy.stats import pearsonr, spearmanr

    true, found = [float(label) for label in columns["label"]], [prediction["value"] for prediction in predictions]
    if len(set(true)) < 2 or len(set(found)) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    return {"pearson": float(pearsonr(true, found)[0]), "spearman": float(spearmanr(true, found)[0])}
