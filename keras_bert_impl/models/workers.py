"""What Keras lacks for models under ``tf.distribute.MultiWorkerMirroredStrategy``, in one place."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


class TrainsOnWorkers(keras.Model):
    """A model whose ``fit`` works on several workers, and whose training step can be another one.

    Under that strategy Keras (3.12 to 3.15) fails twice in ``fit``: it averages the first batch, whose values are no
    numbers of replicas there, and it takes the mean of the logs over an axis that they do not have.
    ``tests/training/test_distribution.py`` tells when it needs this no more.

    Attributes:
        own_train_step: what takes the place of Keras' training step, with its arguments and results; None for Keras'.
    """

    own_train_step: Callable[..., Any] | None = None

    def _is_on_workers(self) -> bool:
        strategy = getattr(self, "_distribute_strategy", None)
        return strategy is not None and strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None and self._is_on_workers():
            local = self._distribute_strategy.experimental_local_results
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(lambda value: local(value)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def train_step(self, *arguments: Any) -> Any:
        """Keras' step, or ``own_train_step``."""
        return self._reducible((self.own_train_step or super().train_step)(*arguments))

    def test_step(self, *arguments: Any) -> Any:
        """Keras' step."""
        return self._reducible(super().test_step(*arguments))

    def _reducible(self, logs: Any) -> Any:
        return {name: ops.reshape(log, (1,)) for name, log in logs.items()} if self._is_on_workers() else logs
