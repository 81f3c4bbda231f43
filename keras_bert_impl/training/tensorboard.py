"""``TensorBoard``: Keras' callback for training runs that are resumed."""

import contextlib
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_bert_impl.errors import InputError, make_missing_error
from keras_bert_impl.training.distribution import get_backend


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' TensorBoard, with the loss of each step, whose steps continue when a run is resumed.

    The files are complete after each epoch. Of several processes only the first writes.

    Args:
        directory: the directory for ``tensorboard --logdir``.

    Raises:
        InputError: the directory is a file, or TensorFlow or TensorBoard is not installed.

    >>> finetune("bert-base-uncased", ..., callbacks=[TensorBoard("logs/sentiment")])  # doctest: +SKIP
    """

    chief_only = True

    def __init__(self, directory: str | Path) -> None:
        path = Path(directory)
        if file := next((part for part in (path, *path.parents) if part.is_file()), None):
            raise InputError(f"{file} is a file; a directory for TensorBoard was expected. Name another one.")
        _start_tensorflow()
        super().__init__(str(path), update_freq=1, write_graph=False)

    def on_train_begin(self, logs: Any = None) -> None:
        """Continues to count after the steps of earlier sessions."""
        super().on_train_begin(logs)
        self._global_train_batch = int(ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the metrics and the learning rate, and completes the files."""
        super().on_epoch_end(epoch, logs)
        for writer in self._writers.values():
            writer.flush()


def _start_tensorflow() -> None:
    """Imports what the callback needs, before training starts."""
    try:
        import tensorboard  # noqa: F401  Without it, TensorFlow has no summaries.
        import tensorflow as tf
    except ImportError as error:
        raise make_missing_error(error, "tensorboard", user="TensorBoard") from error
    if get_backend().name != "tensorflow":
        # TensorFlow only writes the files; it must not reserve the memory of the GPUs that another backend uses.
        with contextlib.suppress(RuntimeError):  # TensorFlow already runs.
            tf.config.set_visible_devices([], "GPU")
