"""The objectives of pretraining: losses and metrics, and what the two heads answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForMaskedLM, BertForNextSentencePrediction
from keras_bert_impl.ops.cross_entropy import cross_entropy
from keras_bert_impl.tokenization import BertTokenizer

_OUTPUTS = ("prediction_logits", "seq_relationship_logits")


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class MeanCrossEntropy(keras.losses.Loss):
    """The mean cross entropy of what there is to predict: weights of 0 count for nothing. Float32 in every precision.

    >>> import numpy as np
    >>> loss = MeanCrossEntropy()
    >>> round(float(loss(np.array([[3, 0]]), np.zeros((1, 2, 7), "float32"), np.array([[1.0, 0.0]]))), 4)
    1.9459
    """

    def __init__(self, name: str = "cross_entropy", dtype: Any = "float32") -> None:
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See `cross_entropy`."""
        return cross_entropy(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "dtype": "float32"}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class CrossEntropy(keras.metrics.Mean):
    """The mean cross entropy over all predictions so far, from logits.

    >>> import numpy as np
    >>> metric = CrossEntropy()
    >>> metric.update_state(np.array([[3, 0]]), np.zeros((1, 2, 7), "float32"), np.array([[1.0, 0.0]]))
    >>> round(float(metric.result()), 4)
    1.9459
    """

    def __init__(self, name: str = "cross_entropy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds predictions. In one graph with the loss nothing is computed twice."""
        super().update_state(cross_entropy(y_true, y_pred), sample_weight)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class Perplexity(CrossEntropy):
    """The exponential of `CrossEntropy`.

    >>> import numpy as np
    >>> metric = Perplexity()
    >>> metric.update_state(np.array([[3, 0]]), np.zeros((1, 2, 7), "float32"), np.array([[1.0, 0.0]]))
    >>> round(float(metric.result()), 4)
    7.0
    """

    def __init__(self, name: str = "perplexity", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def result(self) -> Any:
        """The perplexity so far; a scalar."""
        return ops.exp(super().result())


def pretraining_compile() -> dict[str, Any]:
    """Keywords for ``keras.Model.compile`` beside the optimizer: the sum of both losses, as in the paper.

    Each loss is the mean over what there was to predict: batches come with weights of 0 and 1.
    """
    return {
        "loss": {name: MeanCrossEntropy() for name in _OUTPUTS},
        "weighted_metrics": {
            "prediction_logits": [Perplexity(), keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            "seq_relationship_logits": [CrossEntropy(), keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        },
    }


def figures_of(logs: dict[str, Any]) -> dict[str, float]:
    """What Keras calls metrics, by shorter names: ``masked_loss``, ``masked_accuracy``, ``perplexity`` and so on."""
    perplexity = float(logs["prediction_logits_perplexity"])
    return {
        "masked_loss": float(np.log(perplexity)),
        "perplexity": perplexity,
        "masked_accuracy": float(logs["prediction_logits_accuracy"]),
        "next_sentence_loss": float(logs["seq_relationship_logits_cross_entropy"]),
        "next_sentence_accuracy": float(logs["seq_relationship_logits_accuracy"]),
    }


def fill_mask(source: str | Path, texts: Sequence[str], *, top_k: int = 5) -> list[list[dict[str, Any]]]:
    """The likeliest tokens for each ``[MASK]`` of texts.

    Args:
        source: a checkpoint with a masked-LM head: a directory, a bundled model or a hub name.
        texts: texts with ``[MASK]`` in them.
        top_k: how many tokens for each.

    Returns:
        for each text a dictionary for each ``[MASK]``: ``tokens``, the likeliest first, and their ``scores``, the
        probabilities.

    Raises:
        InputError: a text has no ``[MASK]``, or none within the model's length; or the source has no such head.

    >>> fill_mask("bert-tiny-novels", ["The [MASK] crossed the river."])  # doctest: +SKIP
    """
    if top_k < 1:
        raise InputError(f"top_k is {top_k}; a whole number above 0 was expected.")
    tokenizer = BertTokenizer.from_pretrained(source)
    inputs = tokenizer(list(texts), truncation=True)
    is_mask = inputs["input_ids"] == tokenizer.mask_token_id
    for text, count in zip(texts, is_mask.sum(axis=1), strict=True):
        if not count:
            raise InputError(
                f"{text!r} has no {tokenizer.mask_token} in its first tokens; write it where a word is asked."
            )
    model = _with_head(BertForMaskedLM, source)
    positions = np.argsort(~is_mask, axis=1, kind="stable")[:, : is_mask.sum(axis=1).max()]
    outputs = model({**inputs, "masked_lm_positions": positions.astype(np.int32)})
    scores = ops.convert_to_numpy(ops.softmax(outputs["logits"]))
    best = np.argsort(-scores, axis=-1, kind="stable")[..., :top_k]
    return [
        [
            {
                "tokens": tokenizer.convert_ids_to_tokens(best[row, number]),
                "scores": scores[row, number, best[row, number]].tolist(),
            }
            for number in range(count)
        ]
        for row, count in enumerate(is_mask.sum(axis=1))
    ]


def next_sentence(source: str | Path, firsts: Sequence[str], seconds: Sequence[str]) -> list[float]:
    """How likely each second text follows its first one, as probabilities.

    Args:
        source: a checkpoint with a next-sentence head: a directory, a bundled model or a hub name.
        firsts: first texts.
        seconds: as many second texts.

    Raises:
        InputError: the source has no such head.

    >>> next_sentence("bert-tiny-novels", ["He shut the door."], ["Then he sat down."])  # doctest: +SKIP
    """
    tokenizer = BertTokenizer.from_pretrained(source)
    model = _with_head(BertForNextSentencePrediction, source)
    inputs = tokenizer(list(firsts), list(seconds), truncation=True, max_length=model.config.max_position_embeddings)
    return ops.convert_to_numpy(ops.softmax(model(inputs)["logits"]))[:, 0].tolist()


def _with_head(kind: Any, source: str | Path) -> Any:
    """The model of a checkpoint, whose head is among what was loaded."""
    model = kind.from_pretrained(source)
    if missing := [name for name in model.load_report.names("newly initialised") if name.startswith("cls.")]:
        raise InputError(
            f"{source} lacks the head of {kind.__name__} ({', '.join(missing)}), so that its answers would be chance. "
            "Name a checkpoint as it was pretrained."
        )
    return model
