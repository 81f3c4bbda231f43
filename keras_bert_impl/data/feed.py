"""Feeds batches to ``keras.Model.fit``: prepared ahead in the background, starting at any batch."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from keras_bert_impl.data.batches import BUCKETS

if TYPE_CHECKING:
    import grain

# The number of batches to prepare ahead. A few are enough: preparing one takes milliseconds.
_PREFETCHED = 8


class Batches(Protocol):
    """Batches by their numbers: `LengthBatches` and `PretrainingBatches`."""

    def __len__(self) -> int: ...
    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]: ...
    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches, with None for dimensions that differ."""


def to_grain(batches: Batches, *, start: int = 0, repeated: bool = False) -> "grain.IterDataset":
    """Returns the batches from number ``start`` as a Grain dataset, whose iterator's state can be saved and restored.

    For ``fit`` use `make_fit_data`: with a Grain dataset, Keras on TensorFlow derives the length of all batches from
    the first two, and fails at a later batch of another length if these two have the same length.
    """
    grain = _import_grain()
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_PREFETCHED)
    dataset = grain.MapDataset.source(batches)[start:]
    return (dataset.repeat() if repeated else dataset).to_iter_dataset(options)


def _import_grain() -> Any:
    """Imports Grain without its log message that JAX is not installed."""
    logger = logging.getLogger("absl")

    def is_wanted(record: logging.LogRecord) -> bool:
        return "jax profiler" not in record.getMessage()

    logger.addFilter(is_wanted)
    try:
        import grain
    finally:
        logger.removeFilter(is_wanted)
    return grain


def get_batch_lengths(*, jit: bool = False) -> tuple[int, ...]:
    """Returns the lengths to which batches are padded: a few if each is compiled, by XLA or on JAX; else none (any)."""
    import keras

    return BUCKETS if jit or keras.backend.backend() == "jax" else ()


def make_fit_data(batches: Batches, *, start: int = 0, repeated: bool = False) -> Any:
    """Returns the batches from number ``start``, for ``fit(..., steps_per_epoch=…, shuffle=False)``.

    Args:
        batches: the batches.
        start: the number of the first batch.
        repeated: whether to start again after the last batch. Keras requests one batch more than the validation steps.

    Returns:
        A ``tf.data.Dataset`` on TensorFlow, with None for dimensions that differ between batches; a Grain dataset on
        other backends.
    """
    dataset = to_grain(batches, start=start, repeated=repeated)
    return _to_tensorflow(dataset, batches) if _is_tensorflow() else dataset


def make_evaluation_data(batches: Batches) -> Any:
    """Returns all batches, for ``evaluate`` and as ``validation_data``, which needs to know their number.

    Returns:
        A ``tf.data.Dataset`` of known cardinality on TensorFlow; a ``keras.utils.PyDataset`` on other backends.
    """
    if _is_tensorflow():
        import tensorflow as tf

        return _to_tensorflow(to_grain(batches), batches).apply(tf.data.experimental.assert_cardinality(len(batches)))
    import keras

    class Dataset(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
            return batches[k]

    return Dataset()


def make_stream(
    generate: Callable[[], Iterator[tuple[dict[str, np.ndarray], ...]]],
    first: tuple[dict[str, np.ndarray], ...],
    *,
    count: int,
) -> Any:
    """Returns batches that a function generates, as a ``tf.data.Dataset``, which Keras takes on every backend.

    Args:
        generate: a function that starts an iteration over the batches.
        first: the first batch, for the names, ranks and dtypes of all; they may differ in their sizes.
        count: the number of batches; negative if it is unknown or infinite, as ``cardinality`` of a dataset returns it.
    """
    import tensorflow as tf

    spec = tuple({name: ((None,) * array.ndim, array.dtype) for name, array in part.items()} for part in first)
    dataset = _from_generator(generate, spec)
    return dataset if count < 0 else dataset.apply(tf.data.experimental.assert_cardinality(count))


def _is_tensorflow() -> bool:
    import keras  # Here, because it starts the backend, which `to_grain` does not need.

    return keras.backend.backend() == "tensorflow"


def _to_tensorflow(dataset: "grain.IterDataset", batches: Batches) -> Any:
    return _from_generator(lambda: dataset, batches.get_spec())


def _from_generator(generate: Callable[[], Any], spec: tuple[dict[str, tuple[Any, Any]], ...]) -> Any:
    import tensorflow as tf

    signature = tuple({name: tf.TensorSpec(*values) for name, values in part.items()} for part in spec)
    options = tf.data.Options()
    # Nothing can be tuned here, and deleting a tuned dataset waits for the tuner's next check, up to a minute.
    options.autotune.enabled = False
    return (
        tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(_PREFETCHED).with_options(options)
    )
