"""Batches of ids from raw strings, for Keras' ``fit``, ``evaluate`` and ``predict``."""

import contextlib
import dataclasses
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np

from keras_bert_impl.data.batches import Features, LengthBatches, OrderedBatches, Ragged
from keras_bert_impl.data.feed import get_batch_lengths, make_evaluation_data, make_fit_data, make_stream
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.texts import holds_strings
from keras_bert_impl.tasks import find_task
from keras_bert_impl.tasks.base import Task
from keras_bert_impl.tasks.class_weights import add_class_weights
from keras_bert_impl.tasks.strings import add_labels, make_columns, take_labels, to_list
from keras_bert_impl.tasks.windows import get_windows
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.models.base import BertPreTrainedModel

# Keras' default.
_BATCH_SIZE = 32
# For each method, the action of `Task.require` that it corresponds to.
_ACTIONS = {"fit": "finetune", "evaluate": "evaluate", "predict": "predict"}


@dataclasses.dataclass(frozen=True)
class Examples:
    """Examples with labels and weights, before they are encoded.

    Attributes:
        columns: the columns, as the task encodes them.
        weights: float32 ``[examples]``; None if all are equal.
    """

    columns: Columns
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, begin: int, end: int | None) -> "Examples":
        """Returns the examples from ``begin`` to ``end``."""
        columns = {name: values[begin:end] for name, values in self.columns.items()}
        return Examples(columns, None if self.weights is None else self.weights[begin:end])


@dataclasses.dataclass(frozen=True)
class TextEncoder:
    """Replaces the raw strings in the arguments of a Keras method by batches of ids.

    Attributes:
        model: the model.
        task: its task, which encodes examples.
        tokenizer: its tokenizer.
        max_length: the maximum length of a row in tokens.
        lengths: the lengths that batches may be padded to; empty for any.
        method: the name of the method.
        errors: mistakes that were found in elements of datasets, while Keras reads them.
    """

    model: "BertPreTrainedModel"
    task: Task
    tokenizer: BertTokenizer
    max_length: int
    lengths: tuple[int, ...]
    method: str
    errors: list[InputError] = dataclasses.field(default_factory=list)

    @classmethod
    def create(cls, model: "BertPreTrainedModel", method: str) -> Self:
        """Finds the task of a model.

        Raises:
            InputError: the model has no tokenizer, or no task whose examples are strings.
        """
        task = find_task(model.config, [parent.__name__ for parent in type(model).__mro__])
        if not isinstance(model, task.model_class):
            raise InputError(
                f"{method} of {type(model).__name__} takes no strings, because a model without a head has no task. "
                "Tokenize them: model.tokenizer(texts)."
            )
        if reason := task.refusals.get("strings"):
            raise InputError(f"{method} takes no strings for {task.name}: {reason}")
        task.require(_ACTIONS[method])
        if get_windows(model.config) and method != "predict":
            raise InputError(
                f"{method} takes no strings for a model that reads long texts in windows, because the loss is that of "
                "complete texts. Use keras_bert_impl.training.finetune, or 'keras-bert evaluate'."
            )
        tokenizer = _get_tokenizer(model, method)
        max_length = task.resolve_max_length(model.config, tokenizer, model.max_length)
        return cls(model, task, tokenizer, max_length, get_batch_lengths(jit=bool(model.jit_compile)), method)

    @contextlib.contextmanager
    def show_errors(self) -> Iterator[None]:
        """Raises the `InputError` of a dataset's element itself, instead of TensorFlow's error about it."""
        try:
            yield
        except Exception as error:
            if self.errors and error is not self.errors[0]:
                raise self.errors[0] from error
            raise

    # -- the arguments of the methods

    def prepare_fit(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments of ``fit`` without strings."""
        result = dict(arguments)
        size = self._check_batch_size(result.get("batch_size"))
        if holds_strings(result["x"]):
            self._prepare_training(result, size)
        if holds_strings(validation := result.get("validation_data")):
            size = self._check_batch_size(result.pop("validation_batch_size", None) or size)
            are_texts = not isinstance(validation, tuple | list) or isinstance(validation[0], str | bytes)
            parts: Any = (validation,) if are_texts else validation
            result["validation_data"] = self._make_evaluation_data(*parts, size=size)
        return result

    def _prepare_training(self, result: dict[str, Any], size: int) -> None:
        """Replaces the training data in the arguments of ``fit``, and what depends on it."""
        given = [result.pop(name, None) for name in ("x", "y", "sample_weight", "class_weight")]
        result.pop("batch_size", None)
        split, shuffle = result.pop("validation_split", 0.0), result.pop("shuffle", True)
        steps, epochs = result.get("steps_per_epoch"), result.get("epochs", 1)
        result["shuffle"] = False
        if _is_dataset(given[0]):
            self._refuse_for_datasets(given[1], given[2], split)
            result["x"] = self._stream(given[0], class_weight=given[3], steps=steps)
            return
        examples = self._read(*given[:3])
        if split and result.get("validation_data") is None:
            examples, held_out = _split(examples, split)
            result["validation_data"] = make_evaluation_data(self._make_batches(self._encode(held_out), size))
        features = self._encode(examples, given[3])
        per_epoch = steps or -(-len(features) // size)
        # A training run of more steps than the texts have batches passes over them several times.
        passes = -(-per_epoch * epochs // -(-len(features) // size))
        make = LengthBatches if shuffle else OrderedBatches
        # Keras' own seed: that of `keras.utils.set_random_seed`.
        seed = random.getrandbits(31) if shuffle else None
        batches = make(features, size, seed=seed, epochs=max(passes, 1), lengths=self.lengths)
        start = per_epoch * result.get("initial_epoch", 0)
        result |= {"x": make_fit_data(batches, start=start), "steps_per_epoch": per_epoch}

    def prepare_evaluation(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments of ``evaluate`` without strings."""
        result = dict(arguments)
        x, y, weights, size, steps = (
            result.pop(name, None) for name in ("x", "y", "sample_weight", "batch_size", "steps")
        )
        size = self._check_batch_size(size)
        if _is_dataset(x):
            return result | {"x": self._make_evaluation_data(x, y, weights, size=size), "steps": steps}
        return result | {"x": self._make_evaluation_data(x, y, weights, size=size, limit=steps and steps * size)}

    def prepare_prediction(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
        """Returns the arguments of ``predict`` without strings, and a function that restores the order of outputs."""
        result = dict(arguments)
        x, size = result.pop("x"), self._check_batch_size(result.pop("batch_size", None))
        if _is_dataset(x):
            return result | {"x": self._stream(x, labeled=False, steps=result.get("steps"))}, lambda outputs: outputs
        steps = result.pop("steps", None)
        examples = Examples(make_columns(self.task, x)).take(0, steps and steps * size)
        features = self._encode(examples)
        has_windows = get_windows(self.model.config) is not None
        if len(features) > len(examples) and not has_windows:
            first = int(np.flatnonzero(np.diff(features.example) == 0)[0])
            raise InputError(
                f"text {features.example[first] + 1} has more than {self.max_length} tokens, and becomes several rows "
                f"for {self.task.name}. Give shorter texts, or use keras_bert_impl.prediction.Predictor, which joins "
                "the predictions of rows."
            )
        lengths = self.lengths
        if self.task.per_token or {"hidden_states", "attentions"} & set(self.model.output):
            lengths = (int(features.lengths.max()),)  # Keras concatenates the outputs of all batches.
        batches = LengthBatches(features, size, lengths=lengths)
        order = np.argsort(np.concatenate([batches.get_rows(k) for k in range(len(batches))]))

        def restore(outputs: Any) -> Any:
            def take(values: Any) -> np.ndarray:  # For multiple choice, hidden states have several rows per text.
                values = np.asarray(values)
                return values.reshape(len(order), -1, *values.shape[1:])[order].reshape(values.shape)

            ordered = keras.tree.map_structure(take, outputs)
            return self.task.join_rows(ordered, features, self.model.config) if has_windows else ordered

        return result | {"x": make_evaluation_data(batches)}, restore

    def _make_evaluation_data(
        self, x: Any, y: Any = None, weights: Any = None, *, size: int, limit: int | None = None
    ) -> Any:
        if _is_dataset(x):
            self._refuse_for_datasets(y, weights)
            return self._stream(x)
        features = self._encode(self._read(x, y, weights).take(0, limit))
        return make_evaluation_data(self._make_batches(features, size))

    def _make_batches(self, features: Features, size: int) -> LengthBatches:
        return LengthBatches(features, size, lengths=self.lengths)

    def _check_batch_size(self, size: Any) -> int:
        if size is None:
            return _BATCH_SIZE
        if not isinstance(size, int | np.integer) or size < 1:
            raise InputError(f"batch_size is {size!r}; an integer above 0 was expected.")
        return int(size)

    # -- from strings to features

    def _read(self, x: Any, y: Any = None, weights: Any = None, *, location: str = "") -> Examples:
        """Reads strings, labels and weights."""
        columns = make_columns(self.task, x)
        if location:
            columns["location"] = [f"{location}, example {i + 1}" for i in range(len(Examples(columns)))]
        columns = add_labels(self.task, columns, take_labels(self.task, x, y), self.model.config)
        if weights is None:
            return Examples(columns)
        numbers = np.array(to_list(weights, name="entries of sample_weight"), np.float32)
        if numbers.shape != (len(Examples(columns)),):
            raise InputError(
                f"sample_weight has the shape {numbers.shape}; one number for each of the {len(Examples(columns))} "
                "texts was expected."
            )
        return Examples(columns, numbers)

    def _encode(
        self, examples: Examples, class_weight: Mapping[Any, float] | None = None, *, warn: bool = True
    ) -> Features:
        """Encodes examples.

        Warns:
            UserWarning: texts were truncated.
        """
        columns, config = examples.columns, self.model.config
        features = self.task.encode(columns, self.tokenizer, config, max_length=self.max_length)
        if warn and features.truncated:
            warnings.warn(
                f"{features.truncated} of {len(examples)} texts are longer than {self.max_length} tokens and were "
                "truncated. Set model.max_length to change the maximum.",
                stacklevel=5,
            )
        if examples.weights is not None:
            features = _add_weights(features, examples.weights[features.example])
        if class_weight is None:
            return features
        return _add_class_weights(features, class_weight, self.task.list_label_names(config))

    # -- datasets

    def _stream(
        self,
        dataset: Any,
        *,
        labeled: bool = True,
        class_weight: Mapping[Any, float] | None = None,
        steps: int | None = None,
    ) -> Any:
        """Returns a dataset of encoded batches, one for each element of a dataset of strings, in its order."""

        def check_steps(count: int) -> None:
            if count < (steps or 0):
                raise InputError(
                    f"the dataset has {count} batches, but the method asks for {steps} steps. Repeat it with "
                    f"dataset.repeat(), or choose at most {count}."
                )

        count = int(dataset.cardinality())
        if count >= 0:  # Otherwise it is unknown, or infinite.
            check_steps(count)

        def encode(number: int, element: Any) -> tuple[dict[str, np.ndarray], ...]:
            x, y, weights = keras.utils.unpack_x_y_sample_weight(element)
            location = f"batch {number} of the dataset"
            if any(np.ndim(values) == 0 for values in keras.tree.flatten(x)):
                raise InputError(f"{location} is one example; batches of several were expected. Use dataset.batch(32).")
            examples = self._read(x, y, weights, location=location) if labeled else Examples(make_columns(self.task, x))
            features = self._encode(examples, class_weight, warn=False)
            longest = int(features.lengths.max())
            length = min(next((length for length in self.lengths if length >= longest), longest), self.max_length)
            return features.batch(np.arange(len(features)), length=max(length, longest))

        def generate() -> Iterator[tuple[dict[str, np.ndarray], ...]]:
            number = 0
            try:
                for number, element in enumerate(dataset.as_numpy_iterator(), 1):
                    yield encode(number, element)
                check_steps(number)
            except InputError as error:
                self.errors.append(error)
                raise

        first = next(generate(), None)
        if first is None:
            raise InputError("the dataset is empty; batches of strings were expected.")
        return make_stream(generate, first, count=count)

    def _refuse_for_datasets(self, y: Any, weights: Any, split: float = 0.0) -> None:
        named = {"y": y is not None, "sample_weight": weights is not None, "validation_split": bool(split)}
        if given := [name for name, is_given in named.items() if is_given]:
            raise InputError(
                f"{self.method} got a dataset and {' and '.join(given)}; the elements of a dataset contain labels and "
                "weights: (texts, labels, weights). Put them there, and pass another dataset as validation_data."
            )


def _get_tokenizer(model: "BertPreTrainedModel", method: str) -> BertTokenizer:
    """Returns the tokenizer of a model, which is read here if it was not used before."""
    advice = "Assign one to model.tokenizer, such as BertTokenizer.from_pretrained(…)."
    try:
        tokenizer = model.tokenizer
    except InputError as error:
        raise InputError(f"{method} got strings, but the tokenizer cannot be read: {error} {advice}") from error
    if tokenizer is None:
        raise InputError(f"{method} got strings, but this model has no tokenizer. {advice}")
    return tokenizer


def _is_dataset(data: Any) -> bool:
    return hasattr(data, "element_spec")


def _split(examples: Examples, fraction: float) -> tuple[Examples, Examples]:
    """Splits off the last examples, as Keras' ``validation_split`` does."""
    cut = math.floor(len(examples) * (1 - fraction)) if 0 < fraction < 1 else 0
    if not 0 < cut < len(examples):
        raise InputError(
            f"validation_split is {fraction} for {len(examples)} examples; a fraction between 0 and 1 was expected "
            "that leaves examples on both sides."
        )
    return examples.take(0, cut), examples.take(cut, None)


def _add_weights(features: Features, factors: np.ndarray) -> Features:
    """Multiplies the weights of the labels with a factor per row."""
    weights: dict[str, Any] = {}
    for name in features.labels:
        own = features.weights.get(name)
        if isinstance(own, Ragged):
            weights[name] = Ragged(own.flat * np.repeat(factors, own.lengths), own.offsets, own.pad)
        else:
            weights[name] = factors if own is None else own * factors.reshape(-1, *[1] * (own.ndim - 1))
    return dataclasses.replace(features, weights=weights)


def _add_class_weights(features: Features, class_weight: Mapping[Any, float], names: Sequence[str]) -> Features:
    """Multiplies the weights of the labels with the weights of their classes, which are given by ids or names."""
    labels = [values.flat if isinstance(values, Ragged) else values for values in features.labels.values()]
    if len(labels) != 1 or labels[0].dtype.kind != "i" or not 0 <= labels[0].max() < len(names):
        raise InputError("class_weight is for models whose labels are one class each; omit it.")
    by_name = {names[key] if key in range(len(names)) else str(key): weight for key, weight in class_weight.items()}
    return add_class_weights(features, by_name, names)
