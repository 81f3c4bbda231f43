"""Options of single tasks, which `keras-bert finetune` has as options of the command line."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_bert_impl.data.tag_schemes import SCHEMES
from keras_bert_impl.errors import InputError, check_field, join_names

LOSSES = ("auto", "multiple-negatives", "cosent", "cosine", "triplet")
DISTANCES = ("euclidean", "cosine", "manhattan")
WINDOW_POOLINGS = ("mean", "max", "first")

# Weights that are computed from the frequencies of the labels in the training data.
BALANCED = "balanced"


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """The options of the task ``embedding``; the defaults of losses are those of sentence-transformers.

    Args:
        loss: loss; auto: cosent if the training data has scores, else multiple-negatives.
        scale: factor of the similarities in multiple-negatives and cosent, the inverse of the temperature.
        symmetric: in multiple-negatives, compare each second text with all first texts as well.
        margin: in triplet, how much farther than the positive the negative must be.
        distance: in triplet, the distance between vectors.
        matryoshka: sizes of the truncated vectors that are trained together, such as 384,256,128,64; empty: only the
            complete vectors.
        label_scale: labels are divided by this number, so that they are in the range that the loss needs.
        pooling: pooling mode, such as cls; None: the checkpoint's.
        normalize: L2 normalization of the vectors; None: as the checkpoint says.
        query_prompt: prompt for queries, the texts that find others; None: the checkpoint's.
        document_prompt: prompt for documents, the texts that are found; None: the checkpoint's.

    Raises:
        InputError: an option is out of range.

    >>> EmbeddingOptions(matryoshka="384,128").matryoshka_dims
    (384, 128)
    """

    loss: str = field(default="auto", metadata={"choices": LOSSES})
    scale: float = 20.0
    symmetric: bool = False
    margin: float = 5.0
    distance: str = field(default="euclidean", metadata={"choices": DISTANCES})
    matryoshka: str = ""
    label_scale: float = 1.0
    pooling: str | None = None
    normalize: bool | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None

    def __post_init__(self) -> None:
        for name in ("scale", "label_scale"):
            check_field(self, name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
        check_field(self, "margin", 0 <= self.margin < math.inf, "a finite number from 0")
        check_field(self, "loss", self.loss in LOSSES, join_names(LOSSES))
        check_field(self, "distance", self.distance in DISTANCES, join_names(DISTANCES))
        _parse_sizes(self.matryoshka)

    @property
    def matryoshka_dims(self) -> tuple[int, ...]:
        """The sizes in ``matryoshka``, largest first; empty if only complete vectors are trained."""
        return _parse_sizes(self.matryoshka)


def _parse_sizes(matryoshka: str) -> tuple[int, ...]:
    """Returns the sizes, largest first; raises ``InputError`` for what is not a list of sizes."""
    try:
        sizes = {int(size) for size in matryoshka.split(",")} if matryoshka else set()
    except ValueError:
        sizes = {0}
    if any(size < 1 for size in sizes):
        raise InputError(f"matryoshka is {matryoshka!r}; sizes such as 384,256,128 were expected.")
    return tuple(sorted(sizes, reverse=True))


@dataclass(frozen=True, kw_only=True)
class ClassWeightOptions:
    """Options for skewed data, of the tasks ``classification`` and ``tagging``.

    Args:
        class_weight: weights of the classes in the loss: balanced, NAME=WEIGHT,NAME=WEIGHT, or a JSON object; other
            classes have weight 1; empty: all weights are 1.
        label_smoothing: fraction of each label that is spread evenly over all labels, from 0 to below 1.

    Raises:
        InputError: an option is out of range.

    >>> ClassWeightOptions(class_weight="rare=10,common=0.5").class_weight
    {'rare': 10.0, 'common': 0.5}
    """

    class_weight: str | Mapping[str, float] = ""
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check_smoothing(self)
        weights = self.class_weight and parse_weights(self.class_weight, name="class_weight", allow_zero=True)
        if isinstance(weights, float):
            raise _make_weights_error(self.class_weight, "class_weight")
        object.__setattr__(self, "class_weight", weights)


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """Options for long texts, of the tasks with one row of logits per text: ``classification``, ``regression`` …

    Args:
        stride: split texts that are longer than max_length into windows that overlap by this number of tokens, and pool
            their logits; None: they are truncated.
        window_pooling: pooling of the logits over the windows of a text; first reads the first window only.
        max_windows: max. windows of a text, to limit the memory; tokens after them are not read.

    Raises:
        InputError: an option is out of range.

    >>> WindowOptions(stride=64).window_pooling
    'mean'
    """

    stride: int | None = None
    window_pooling: str = field(default="mean", metadata={"choices": WINDOW_POOLINGS})
    max_windows: int = 16

    def __post_init__(self) -> None:
        check_field(self, "stride", self.stride is None or self.stride >= 0, "a number of tokens, 0 or more,")
        check_field(self, "window_pooling", self.window_pooling in WINDOW_POOLINGS, join_names(WINDOW_POOLINGS))
        check_field(self, "max_windows", self.max_windows >= 1, "1 or more")
        given = [
            name for name in ("window_pooling", "max_windows") if getattr(self, name) != getattr(WindowOptions, name)
        ]
        if given and self.stride is None:
            raise InputError(
                f"{given[0]} was given, but no stride: long texts are truncated. Give a stride, such as 32, or omit it."
            )


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(ClassWeightOptions, WindowOptions):
    """Options of the task ``classification``: all of `ClassWeightOptions` and `WindowOptions`."""

    def __post_init__(self) -> None:
        ClassWeightOptions.__post_init__(self)
        WindowOptions.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class TaggingOptions(ClassWeightOptions):
    """Options of the task ``tagging``: those of `ClassWeightOptions`, and:

    Args:
        scheme: scheme of the tags to train with; None: that of the files, bio for annotated spans.
    """

    scheme: str | None = field(default=None, metadata={"choices": tuple(SCHEMES)})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "scheme", self.scheme in (None, *SCHEMES), join_names(SCHEMES))


@dataclass(frozen=True, kw_only=True)
class MultiLabelOptions(WindowOptions):
    """Options of the task ``multi-label-classification``: those of `WindowOptions`, and:

    Args:
        pos_weight: factor of the loss where a text has the label, or a pair is relevant: a number. For several labels
            also balanced, NAME=FACTOR,NAME=FACTOR, or a JSON object; other labels have 1.
        label_smoothing: fraction of each label that is spread evenly over all labels, from 0 to below 1; for several
            labels per text, over having and not having the label.
        tune_thresholds: choose the probability from which a label is predicted, for each label, so that F1 on the
            validation data is highest; otherwise it is 0.5.

    Raises:
        InputError: an option is out of range.

    >>> MultiLabelOptions(pos_weight="3").pos_weight
    3.0
    """

    pos_weight: str | float | Mapping[str, float] = 1.0
    label_smoothing: float = 0.0
    tune_thresholds: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_smoothing(self)
        object.__setattr__(self, "pos_weight", parse_weights(self.pos_weight, name="pos_weight"))


@dataclass(frozen=True, kw_only=True)
class RerankingOptions(WindowOptions):
    """Options of the task ``reranking``: those of `WindowOptions`, and:

    Args:
        label_scale: labels are divided by this number, so that they are in the range that the loss needs, 0 to 1.
        pos_weight: factor of the loss of relevant pairs, a number; above 1 if most pairs are not relevant.
    """

    label_scale: float = 1.0
    pos_weight: str | float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "label_scale", 0 < self.label_scale < math.inf, "a finite number above 0")
        # A string on the command line, where `--pos-weight` is one option for all tasks that have it.
        try:
            pos_weight = float(self.pos_weight)
        except (TypeError, ValueError):
            pos_weight = math.nan
        check_field(self, "pos_weight", 0 < pos_weight < math.inf, "a finite number above 0")
        object.__setattr__(self, "pos_weight", pos_weight)


def _check_smoothing(options: Any) -> None:
    check_field(options, "label_smoothing", 0 <= options.label_smoothing < 1, "a number from 0 to below 1")


def parse_weights(
    value: str | float | Mapping[Any, float], *, name: str, allow_zero: bool = False
) -> str | float | dict[str, float]:
    """Returns the weights of labels: ``balanced``, one number for all, or a number by the name of a label.

    Args:
        value: these, or a string ``NAME=WEIGHT,NAME=WEIGHT`` or with a JSON object.
        name: the name of the option, for messages.
        allow_zero: whether a weight may be 0.

    Raises:
        InputError: it is something else, or a weight is out of range.

    >>> parse_weights('{"a,b": 2, "c": 0.5}', name="class_weight")
    {'a,b': 2.0, 'c': 0.5}
    """
    if value == BALANCED:
        return BALANCED
    try:
        weights = _read_weights(value)
    except (TypeError, ValueError) as error:
        raise _make_weights_error(value, name) from error
    numbers = list(weights.values()) if isinstance(weights, dict) else [weights]
    smallest = 0.0 if allow_zero else math.ulp(0.0)
    if not any(numbers) or not all(smallest <= number < math.inf for number in numbers):
        raise _make_weights_error(value, name)
    return weights


def _read_weights(value: Any) -> float | dict[str, float]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = json.loads(value)
    elif isinstance(value, str) and "=" in value:
        pairs = (part.rpartition("=") for part in value.split(","))
        value = {label.strip(): weight for label, _, weight in pairs}
    if isinstance(value, Mapping):
        return {str(label): float(weight) for label, weight in value.items()}
    return float(value)


def _make_weights_error(value: Any, name: str) -> InputError:
    number, limit = ("", "0 or more, not all of them 0") if name == "class_weight" else ("a number, ", "above 0")
    return InputError(
        f"{name} is {value!r:.200}; {number}balanced, NAME=WEIGHT,NAME=WEIGHT or a JSON object was expected, with "
        f"finite weights, {limit}."
    )
