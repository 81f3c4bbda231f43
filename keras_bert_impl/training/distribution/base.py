"""Backend-specific parts of training, and the function that selects the backend."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self

import keras
from keras import ops

from keras_bert_impl.errors import InputError

# The reduction of losses that divide by the sum of the weights.
_BY_WEIGHTS = "mean_with_sample_weight"


class Backend:
    """The default implementation with plain Keras, for backends such as torch. Subclasses override it.

    Attributes:
        name: Keras' name of the backend.
        has_fused_adam: whether `clip_by_global_norm` and `apply_adamw` replace Keras' own.
        strategies: by name, functions of the number of devices; each gives a context manager that yields a
            `keras_bert_impl.training.Distribution`.
    """

    has_fused_adam = False
    strategies: ClassVar[Mapping[str, Callable[[int | None], AbstractContextManager[Any]]]] = {}

    def __init__(self, name: str) -> None:
        self.name = name

    def describe_version(self) -> str:
        """Name and version."""
        return f"{self.name} {sys.modules[self.name].__version__}"

    def choose_jit(self, jit: bool | None, *, is_plain: bool) -> bool:
        """Returns whether training steps are compiled with XLA.

        Args:
            jit: the setting; None: the default.
            is_plain: whether steps run on one device, without gradient accumulation.

        Raises:
            InputError: such steps cannot be compiled.
        """
        if jit:
            raise InputError(f"XLA compiles training steps on tensorflow and jax, not on {self.name}. Omit jit.")
        return False

    def sync_variables(self, model: keras.Model) -> None:
        """Makes the variables show the current values during ``fit``."""

    def reduce_any(self, distribution: Any, flags: tuple[bool, ...]) -> tuple[bool, ...]:
        """For each flag whether it is true in any process; called by all processes together."""
        return flags

    def make_accumulation_step(self, model: keras.Model, parts: int) -> Callable[..., Any]:
        """Returns a ``train_step`` that averages the gradients of a batch's parts.

        Raises:
            InputError: this backend has none.
        """
        raise InputError(f"Gradients are accumulated on tensorflow and jax, not on {self.name}.")

    def make_whole_batch_step(self, model: keras.Model, parts: int, *, replicas: int) -> Callable[..., Any] | None:
        """Returns a ``train_step`` for a loss that compares all rows of a batch: GradCache, with replicas.

        The step computes the outputs of each part of the batch, on each replica, without gradients. The loss of the
        complete batch has gradients with respect to all outputs. Then each part runs again, with the same dropout, and
        the gradients of its outputs are propagated to the weights. So the memory is that of one part, and the gradient
        is that of the complete batch.

        Source: Gao et al. 2021, https://arxiv.org/abs/2101.06983.

        Args:
            model: a compiled model with one output, whose loss has ``needs_whole_batch``.
            parts: number of parts of the rows of each replica.
            replicas: number of replicas.

        Returns:
            the step; None if Keras' own step computes the same.

        Raises:
            InputError: this backend has none.
        """
        if parts == 1:
            return None
        return self.make_accumulation_step(model, parts)

    def sum_gradients(self, gradients: Sequence[Any], *, is_dense: bool) -> Sequence[Any]:
        """Sums gradients over the replicas; sparse gradients get unique rows, or are converted to dense ones."""
        return gradients

    def reduce_all(self, is_true: Any) -> Any:
        """Whether a boolean scalar is true on all replicas."""
        return is_true

    def clip_by_global_norm(self, gradients: Sequence[Any], norm: float) -> Sequence[Any]:
        """Scales the gradients so that their global norm is at most ``norm``."""
        raise NotImplementedError

    def apply_adamw(
        self, variable: Any, momentum: Any, velocity: Any, gradient: Any, *, step: Any, learning_rate: Any, **rates: Any
    ) -> None:
        """AdamW's update of one variable; ``rates`` are ``beta_1``, ``beta_2``, ``epsilon`` and ``weight_decay``."""
        raise NotImplementedError


@functools.cache
def get_backend() -> Backend:
    """Returns the backend that Keras runs on."""
    name = keras.backend.backend()
    if name == "tensorflow":
        from keras_bert_impl.training.distribution.tensorflow import TensorFlowBackend

        return TensorFlowBackend(name)
    if name == "jax":
        from keras_bert_impl.training.distribution.jax import JaxBackend

        return JaxBackend(name)
    return Backend(name)


class ReplicaSummedOptimizer(keras.optimizers.Optimizer):
    """Base of optimizers that sum gradients over replicas before clipping; Keras clips them in each replica first.

    Attributes:
        needs_dense_gradients: whether the update needs all rows of an embedding's gradient.
    """

    needs_dense_gradients = False

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables."""
        super().apply(get_backend().sum_gradients(grads, is_dense=self.needs_dense_gradients), trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Loss scaling for float16 that skips a step if the gradients of any replica overflow.

    Keras checks only the first replica, before gradients are summed: an overflow on another replica makes all weights
    NaN, and workers deadlock.

    >>> from keras_bert_impl.training import adamw
    >>> optimizer = LossScaleOptimizer(adamw(learning_rate=5e-5, steps=100), initial_scale=1024.0)
    >>> optimizer.initial_scale
    1024.0
    """

    def check_finite(self, grads: Sequence[Any]) -> Any:
        """Whether all gradients of all replicas are finite."""
        # Pass only the values of sparse gradients: if several slices are for the same row, Keras checks only the last.
        values = [getattr(gradient, "values", gradient) for gradient in grads]
        return get_backend().reduce_all(super().check_finite(values))


def map_arrays(function: Callable[[Any], Any], data: Any) -> Any:
    """Applies a function to each array of ``data``; None (absent inputs and weights) is not changed."""
    return keras.tree.map_structure(lambda array: None if array is None else function(array), data)


@dataclasses.dataclass(frozen=True)
class Filling:
    """How a batch is filled up with copies of its first row, so that its rows can be split into equal parts.

    Attributes:
        rows: the number of rows of the batch, a number or a scalar tensor.
        filled: the number of rows after filling up.
        is_row: bool ``[filled]``, false for the copies.
    """

    rows: Any
    filled: Any
    is_row: Any

    @classmethod
    def create(cls, x: Any, parts: int) -> Self:
        """Counts the rows of inputs, for a number of parts."""
        rows = next(ops.shape(array)[0] for array in keras.tree.flatten(x) if array is not None)
        filled = rows + -rows % parts
        return cls(rows, filled, ops.arange(filled, dtype="int32") < rows)

    @property
    def is_needed(self) -> bool:
        """Whether there are copies; true if it is not known before the step runs."""
        return not (isinstance(self.rows, int) and self.rows == self.filled)

    def fill(self, data: Any) -> Any:
        """Appends copies of the first row to arrays ``[rows, ...]``."""
        if not self.is_needed:
            return data
        index = ops.where(self.is_row, ops.arange(self.filled, dtype="int32"), 0)
        return map_arrays(lambda array: ops.take(array, index, axis=0), data)

    def fill_with_zeros(self, data: Any) -> Any:
        """Appends zeros to arrays ``[rows, ...]``."""

        def clear(array: Any) -> Any:
            is_row = ops.reshape(self.is_row, (-1, *[1] * (len(array.shape) - 1)))
            return ops.where(is_row, array, ops.zeros_like(array))

        return map_arrays(clear, self.fill(data)) if self.is_needed else data

    def cut(self, data: Any) -> Any:
        """Removes the appended rows."""
        return map_arrays(lambda array: array[: self.rows], data) if self.is_needed else data

    def make_loss_weights(self, model: keras.Model, y: Any, sample_weight: Any) -> Any:
        """Returns weights for the filled batch, with which the mean of the parts' losses is the loss of the batch.

        The copies get weight 0. A mean over entries is a mean over all rows of a part, copies included. A mean by
        weights is computed as a mean over entries (`average_over_entries`), whose weights are divided by their mean:
        parts may have different sums of weights.

        Args:
            model: the compiled model.
            y: the labels of the batch, not filled.
            sample_weight: the weights of the batch, not filled; None if all are 1.
        """
        if not isinstance(y, Mapping):
            (loss, *_), weights = keras.tree.flatten(model.loss), keras.tree.flatten(sample_weight)
            return self._weigh(loss, y, weights[0] if weights else None)
        losses, weights = (
            part if isinstance(part, Mapping) else dict.fromkeys(y, part) for part in (model.loss, sample_weight)
        )
        weighed = {name: self._weigh(losses.get(name), y[name], weights.get(name)) for name in y}
        return None if all(each is None for each in weighed.values()) else weighed

    def _weigh(self, loss: Any, y: Any, weights: Any) -> Any:
        reduction = getattr(loss, "reduction", "sum_over_batch_size")
        factor = 1.0 if reduction == "sum" else ops.cast(self.filled, "float32") / ops.cast(self.rows, "float32")
        if weights is None:
            return ops.cast(self.is_row, "float32") * factor if self.is_needed else None
        if reduction == _BY_WEIGHTS:
            # Labels that are integers have as many entries as the loss, also if the weights are those of rows.
            entries = ops.size(y) / ops.size(weights) if "int" in str(y.dtype) else 1.0
            factor = factor * ops.cast(entries, "float32") / ops.maximum(ops.mean(ops.cast(weights, "float32")), 1e-9)
        return ops.cast(self.fill_with_zeros(weights), "float32") * factor


@contextlib.contextmanager
def average_over_entries(model: keras.Model) -> Iterator[None]:
    """Makes losses that are means by weights means over all entries while a step is traced."""
    losses = [loss for loss in keras.tree.flatten(model.loss) if getattr(loss, "reduction", None) == _BY_WEIGHTS]
    for loss in losses:
        loss.reduction = "sum_over_batch_size"
    try:
        yield
    finally:
        for loss in losses:
            loss.reduction = _BY_WEIGHTS


def split_rows(data: Any, parts: int) -> Any:
    """Arrays ``[rows, ...]`` as ``[parts, rows / parts, ...]``, strided so that sharded rows do not move."""

    def split(values: Any) -> Any:
        shape = tuple(ops.shape(values))
        return ops.swapaxes(ops.reshape(values, (shape[0] // parts, parts, *shape[1:])), 0, 1)

    return map_arrays(split, data)


def join_rows(data: Any) -> Any:
    """Joins the parts of `split_rows`, in the original order of the rows."""

    def join(values: Any) -> Any:
        shape = tuple(ops.shape(values))
        return ops.reshape(ops.swapaxes(values, 0, 1), (shape[0] * shape[1], *shape[2:]))

    return map_arrays(join, data)


def has_whole_batch_loss(model: keras.Model) -> bool:
    """Whether a compiled model has a loss that compares the rows of a batch with each other."""
    return any(getattr(loss, "needs_whole_batch", False) for loss in keras.tree.flatten(model.loss))


def update_metrics(model: keras.Model, part: Any, loss: Any, outputs: Any, *, rows: Any = None) -> None:
    """Updates the loss and the metrics of a model with one part of a batch.

    Args:
        model: the model.
        part: inputs, labels and weights.
        loss: the loss.
        outputs: the model's outputs.
        rows: the weight of the loss; None: the number of rows of the part.
    """
    x, y, weights = part
    if rows is None:
        rows = next(ops.shape(array)[0] for array in keras.tree.flatten(x) if array is not None)
    model._loss_tracker.update_state(loss, sample_weight=rows)
    model.compute_metrics(x, y, outputs, sample_weight=weights)


def get_values(scope: keras.StatelessScope, variables: list[Any]) -> list[Any]:
    """Returns the values that variables have in a stateless scope."""
    return [scope.get_current_value(variable) for variable in variables]
