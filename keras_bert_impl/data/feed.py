"""Batches as ``keras.Model.fit`` takes them: read ahead in the background, from any batch on."""

import logging
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import grain

# Batches that are made ahead. They are small and made in milliseconds: a few are enough.
_AHEAD = 8


class Batches(Protocol):
    """Batches by their numbers: `LengthBatches` and `PretrainingBatches`."""

    def __len__(self) -> int: ...
    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]: ...
    def spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches, None for what differs."""


def to_grain(batches: Batches, *, start: int = 0, repeated: bool = False) -> "grain.IterDataset":
    """The batches from number ``start`` on as a Grain dataset, whose iterator's state can be saved and set.

    For ``fit`` use `for_fit`: given a Grain dataset, Keras on TensorFlow takes the length of all batches from the first
    two, and fails at a later batch of another length if these are equal.
    """
    grain = _quiet_grain()
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
    dataset = grain.MapDataset.source(batches)[start:]
    return (dataset.repeat() if repeated else dataset).to_iter_dataset(options)


def _quiet_grain() -> Any:
    """The library, without its note on the absence of JAX when it is first imported."""
    logger = logging.getLogger("absl")

    def is_news(record: logging.LogRecord) -> bool:
        return "jax profiler" not in record.getMessage()

    logger.addFilter(is_news)
    try:
        import grain
    finally:
        logger.removeFilter(is_news)
    return grain


def for_fit(batches: Batches, *, start: int = 0, repeated: bool = False) -> Any:
    """The batches from number ``start`` on, for ``fit(..., steps_per_epoch=…, shuffle=False)``.

    Args:
        batches: the batches.
        start: the first number.
        repeated: whether to begin anew after the last. Keras looks for a batch more than it validates with.

    Returns:
        A ``tf.data.Dataset`` on TensorFlow, whose element types leave open what differs from batch to batch; a Grain
        dataset elsewhere.
    """
    import keras

    dataset = to_grain(batches, start=start, repeated=repeated)
    return _to_tensorflow(dataset, batches) if keras.backend.backend() == "tensorflow" else dataset


def for_evaluation(batches: Batches) -> Any:
    """All batches, for ``evaluate`` and as ``validation_data``, which needs to know how many there are.

    Returns:
        a ``tf.data.Dataset`` of known cardinality on TensorFlow; a ``keras.utils.PyDataset`` elsewhere.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return _to_tensorflow(to_grain(batches), batches).apply(tf.data.experimental.assert_cardinality(len(batches)))

    class Dataset(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
            return batches[k]

    return Dataset()


def _to_tensorflow(dataset: "grain.IterDataset", batches: Batches) -> Any:
    import tensorflow as tf

    signature = tuple({name: tf.TensorSpec(*values) for name, values in part.items()} for part in batches.spec())
    options = tf.data.Options()
    # There is nothing to tune, and who drops a tuned dataset waits until the tuner wakes: a minute, in long trainings.
    options.autotune.enabled = False
    return (
        tf.data.Dataset.from_generator(lambda: dataset, output_signature=signature)
        .prefetch(_AHEAD)
        .with_options(options)
    )
