"""Keras' own methods with raw strings, which are tokenized on the host, and with class weights for named outputs."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import keras

from keras_bert_impl.data.tables import is_missing
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.class_weights import make_sample_weight

if TYPE_CHECKING:
    from keras import Model as _Base
else:
    _Base = object  # As in `keras_bert_impl.models.multi_worker`.


class TextsMixin(_Base):
    """Mixin for models whose ``fit``, ``evaluate`` and ``predict`` also take raw strings.

    List it before ``keras.Model`` in the bases of a class, which has a ``config`` and a ``tokenizer``. Arrays and
    tensors of numbers are passed to Keras unchanged.

    Attributes:
        max_length: the maximum number of tokens of a row that is made from strings, special tokens included; None: as
            many as the model and its tokenizer allow. Longer texts are truncated, as `Predictor` truncates them.
    """

    max_length: int | None = None

    def fit(self, x: Any = None, y: Any = None, *args: Any, **options: Any) -> Any:
        """Trains the model with Keras' ``fit``, on ids or on raw strings.

        The model's task, its tokenizer and `max_length` decide how strings become rows. Texts of similar length are in
        the same batch; with ``shuffle=False`` batches are in the order of the texts.

        Args:
            x: what Keras takes; or a list, an array, a tensor or a column of texts; a tuple of first and second texts;
                the columns of a reader of `keras_bert_impl.data`, or a data frame or a ``Dataset`` of Hugging Face
                ``datasets`` with such columns; lists of words for tagging; a ``tf.data.Dataset`` of batches of these,
                with or without labels.
            y: what Keras takes; for strings the labels as ids or as names of ``config.id2label``, one per text; lists
                of tags for tagging; for question answering dictionaries with ``text`` and ``answer_start``; None for
                masked words, whose masks are drawn.
            *args: as Keras takes them, in its order.
            **options: as Keras takes them. ``sample_weight`` has one number per text; ``class_weight`` has ids or names
                of labels; ``validation_data`` may contain strings too. For ids, ``class_weight`` also takes labels in a
                dictionary; see `make_sample_weight`. With ``validation_split``, it applies to the validation rows too.

        Returns:
            Keras' ``History``.

        Raises:
            InputError: the model has no tokenizer or no task that takes strings, texts and labels do not match, a label
                is unknown, or a dataset has fewer batches than ``steps_per_epoch``.

        Warns:
            UserWarning: texts were longer than `max_length` and were truncated; not for a ``tf.data.Dataset``.

        >>> model = BertForSequenceClassification.from_pretrained("bert-base-uncased")  # doctest: +SKIP
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))  # doctest: +SKIP
        >>> model.fit(["A great film.", "A waste of time."], [1, 0])  # doctest: +SKIP
        """
        fit, x = super().fit, unify(x)
        arguments = dict(inspect.signature(fit).bind(x, y, *args, **options).arguments)
        if not holds_strings(x) and not holds_strings(arguments.get("validation_data")):
            if arguments.get("class_weight") is not None and y is not None:
                weights = make_sample_weight(y, arguments.pop("class_weight"), arguments.get("sample_weight"))
                arguments["sample_weight"] = weights
            return fit(**arguments)
        from keras_bert_impl.models.text_batches import TextEncoder

        encoder = TextEncoder.create(self, "fit")
        with encoder.show_errors():
            return fit(**encoder.prepare_fit(arguments))

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **options: Any) -> Any:
        """Computes the loss and the metrics with Keras' ``evaluate``, on ids or on raw strings; see `fit`."""
        evaluate, x = super().evaluate, unify(x)
        if not holds_strings(x):
            return evaluate(x, y, *args, **options)
        from keras_bert_impl.models.text_batches import TextEncoder

        encoder = TextEncoder.create(self, "evaluate")
        with encoder.show_errors():
            arguments = inspect.signature(evaluate).bind(x, y, *args, **options).arguments
            return evaluate(**encoder.prepare_evaluation(arguments))

    def predict(self, x: Any, *args: Any, **options: Any) -> Any:
        """Computes the model's outputs with Keras' ``predict``, for ids or for raw strings; see `fit`.

        The outputs are in the order of the texts. Those with an entry per token are padded to the longest text; those
        of masked words have an entry for each ``[MASK]``. `keras_bert_impl.prediction.Predictor` returns answers
        instead of outputs.

        Raises:
            InputError: see `fit`; or a text becomes several rows, as a long text does for tagging and question
                answering.
        """
        predict, x = super().predict, unify(x)
        if not holds_strings(x):
            return predict(x, *args, **options)
        from keras_bert_impl.models.text_batches import TextEncoder

        encoder = TextEncoder.create(self, "predict")
        with encoder.show_errors():
            arguments = inspect.signature(predict).bind(x, *args, **options).arguments
            prepared, restore = encoder.prepare_prediction(arguments)
            return restore(predict(**prepared))


def unify(data: Any) -> Any:
    """Returns data for a model; tables of strings as dictionaries of columns, and columns of other libraries as lists.

    Nothing is taken from a generator.

    Raises:
        InputError: it is an empty list, or a generator of strings.

    >>> unify(("a", "b")), unify(range(2))
    (('a', 'b'), [0, 1])
    """
    if isinstance(data, list | tuple) and not data:
        raise InputError("the data are empty; texts or ids were expected.")
    if hasattr(data, "to_pylist"):  # pyarrow
        return data.to_pylist()
    if names := _list_columns(data):
        columns = {str(name): data[name] for name in names}
        return {name: unify(values) for name, values in columns.items()} if holds_strings(columns) else data
    if isinstance(data, Sequence) and not isinstance(data, list | tuple | str | bytes):
        return list(data)  # A column of Hugging Face datasets, for example.
    if not isinstance(data, GeneratorType):
        return data
    first = list(islice(data, 1))
    if holds_strings(first):
        raise InputError(
            "the data are a generator of strings; a list, an array or a tf.data.Dataset was expected, which can be "
            "read again in each epoch. Use tf.data.Dataset.from_generator(…), or put the texts into a list."
        )
    return (element for element in chain(first, data))


def _list_columns(data: Any) -> list[Any]:
    """Returns the names of the columns of a table: of pandas, polars, or Hugging Face datasets; empty for others."""
    if hasattr(data, "itertuples") or hasattr(data, "iter_rows"):
        return list(data.columns)
    return list(data.column_names) if isinstance(getattr(data, "features", None), Mapping) else []


def holds_strings(data: Any) -> bool:
    """Whether data for a model are strings: the first entry of lists and arrays, any value of dictionaries.

    Missing entries are passed over.

    >>> holds_strings(["a text"]), holds_strings((["a"], ["b"])), holds_strings([[2, 71, 3]])
    (True, True, False)
    """
    if isinstance(data, str | bytes):
        return True
    if isinstance(data, Mapping):
        return any(map(holds_strings, data.values()))
    if isinstance(data, Sequence):  # Also a column of Hugging Face datasets.
        return _begins_with_string(data)
    if hasattr(data, "element_spec"):  # A tf.data.Dataset, whose tuples are inputs, labels and weights.
        spec = data.element_spec
        specs = keras.tree.flatten(spec[0] if isinstance(spec, tuple) else spec)
        return any(_is_string_dtype(getattr(spec, "dtype", "")) for spec in specs)
    dtype = getattr(data, "dtype", "")
    if getattr(dtype, "kind", "") == "O":  # NumPy and pandas.
        return _begins_with_string(data)
    return _is_string_dtype(dtype)


def _begins_with_string(entries: Iterable[Any]) -> bool:
    return holds_strings(next((entry for entry in entries if not is_missing(entry)), None))


def _is_string_dtype(dtype: Any) -> bool:
    """Whether a dtype of NumPy, TensorFlow or polars is that of strings, without importing the library."""
    return getattr(dtype, "kind", "") in ("U", "S", "T") or "string" in str(dtype).lower()
