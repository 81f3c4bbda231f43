"""Fixes for Keras models under ``tf.distribute.MultiWorkerMirroredStrategy``."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

if TYPE_CHECKING:
    from keras import Model as _Base
else:
    # Keras replaces ``keras.Model`` in the bases of functional models, for every class that shares these bases; so this
    # mixin must not derive from it.
    _Base = object


class MultiWorkerMixin(_Base):
    """Mixin for models whose ``fit`` works on several workers, and whose training step can be replaced.

    List it before ``keras.Model`` in the bases of a class.

    With several workers, ``fit`` of Keras 3.12 to 3.15 fails twice: it builds the model from the first batch, whose
    values it cannot read, and it averages the logs over an axis that does not exist.
    ``tests/training/test_distribution.py`` shows when these fixes are no longer needed.

    Attributes:
        custom_train_step: a function with the arguments and results of Keras' ``train_step``, called in its place; None
            keeps Keras' own.
    """

    custom_train_step: Callable[..., Any] | None = None

    def _has_several_workers(self) -> bool:
        strategy = getattr(self, "_distribute_strategy", None)
        return strategy is not None and strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None and self._has_several_workers():
            local = self._distribute_strategy.experimental_local_results
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(lambda value: local(value)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def train_step(self, *arguments: Any) -> Any:
        """Runs ``custom_train_step`` if there is one, else Keras' step."""
        return self._make_reducible((self.custom_train_step or super().train_step)(*arguments))

    def test_step(self, *arguments: Any) -> Any:
        """Runs Keras' step."""
        return self._make_reducible(super().test_step(*arguments))

    def _make_reducible(self, logs: Any) -> Any:
        """Gives each log the axis over which Keras averages the workers' values."""
        return {name: ops.reshape(log, (1,)) for name, log in logs.items()} if self._has_several_workers() else logs
