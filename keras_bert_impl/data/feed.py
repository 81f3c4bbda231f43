"""Batches as ``keras.Model.fit`` takes them: read ahead in the background, from any batch on."""

from typing import TYPE_CHECKING, Any

from keras_bert_impl.data.batches import LengthBatches
from keras_bert_impl.data.features import Ragged, Values

if TYPE_CHECKING:
    import grain

# Batches that are made ahead. They are small and made in a fraction of a millisecond: a few are enough.
_AHEAD = 8


def to_grain(batches: LengthBatches, *, start: int = 0) -> "grain.IterDataset":
    """The batches from number ``start`` on as a Grain dataset, whose iterator's state can be saved and set.

    For ``fit`` use `for_fit`: given a Grain dataset, Keras on TensorFlow takes the length of all batches from the first
    two, and fails at a later batch of another length if these are equal.
    """
    import grain

    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
    return grain.MapDataset.source(batches)[start:].to_iter_dataset(options)


def for_fit(batches: LengthBatches, *, start: int = 0) -> Any:
    """The batches from number ``start`` on, for ``fit(..., steps_per_epoch=batches.per_epoch, shuffle=False)``.

    Returns:
        A ``tf.data.Dataset`` on TensorFlow, whose element types leave all lengths open; a Grain dataset elsewhere.
    """
    import keras

    dataset = to_grain(batches, start=start)
    if keras.backend.backend() != "tensorflow":
        return dataset
    import tensorflow as tf

    def spec(values: Values) -> tf.TensorSpec:
        open_axes = (None, None, *values.flat.shape[1:]) if isinstance(values, Ragged) else (None, *values.shape[1:])
        return tf.TensorSpec(open_axes, (values.flat if isinstance(values, Ragged) else values).dtype)

    features = batches.features
    parts = [part for part in (features.inputs, features.labels, features.weights) if part]
    signature = tuple({name: spec(values) for name, values in part.items()} for part in parts)
    return tf.data.Dataset.from_generator(lambda: dataset, output_signature=signature).prefetch(_AHEAD)
