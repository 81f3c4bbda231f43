"""The optimizers of BERT's training, and their learning-rate schedule."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

# Variables that weight decay leaves alone: biases and layer norms, as in the published training.
NO_DECAY = ("bias", "gamma", "beta")


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class WarmupPolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from 0 in a straight line, and then falls to 0.

    Args:
        learning_rate: the highest rate, reached after the warm-up.
        steps: steps of the whole training.
        warmup_steps: steps of the rise; 0 begins at the highest rate.
        power: the fall is the share of steps that are left, to this power; 1 is a straight line.

    The same as ``get_linear_schedule_with_warmup`` and ``get_polynomial_decay_schedule_with_warmup`` of transformers.

    >>> schedule = WarmupPolynomialDecay(5e-5, steps=100, warmup_steps=10)
    >>> [round(float(schedule(step)) * 1e5, 6) for step in (0, 5, 10, 55, 100)]
    [0.0, 2.5, 5.0, 2.5, 0.0]
    """

    def __init__(self, learning_rate: float, *, steps: int, warmup_steps: int, power: float = 1.0) -> None:
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.power = power

    def __call__(self, step: Any) -> Any:
        """The rate at a step, counted from 0; a float32 scalar."""
        step = ops.cast(step, "float32")
        left = ops.clip((self.steps - step) / max(1, self.steps - self.warmup_steps), 0.0, 1.0)
        rise = ops.minimum(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        return self.learning_rate * rise * left**self.power

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ("learning_rate", "steps", "warmup_steps", "power")}


class _OverReplicas(keras.optimizers.Optimizer):
    """On TensorFlow gradients are summed over the replicas first; Keras clips each replica's and sums them then."""

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables."""
        if keras.backend.backend() == "tensorflow":
            grads = [self._without_doubles(gradient) for gradient in grads]
            if _has_replicas():
                # Those of several replicas have doubles again.
                grads = [self._without_doubles(gradient) for gradient in _over_replicas(grads)]
        super().apply(grads, trainable_variables)

    def _without_doubles(self, gradient: Any) -> Any:
        """The gradient of an embedding, which comes as slices, with one slice a row."""
        return _summed(gradient)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


def _has_replicas() -> bool:
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def _over_replicas(grads: Sequence[Any]) -> list[Any]:
    import tensorflow as tf

    there = [gradient for gradient in grads if gradient is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, there))
    return [None if gradient is None else next(summed) for gradient in grads]


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' own, which on TensorFlow leaves out a step if the gradients of any replica overflow.

    Keras asks the first replica alone, before the gradients are summed: what overflows on another spoils all weights,
    and workers wait for each other for ever.

    >>> optimizer = LossScaleOptimizer(adamw(learning_rate=5e-5, steps=100), initial_scale=1024.0)
    >>> optimizer.initial_scale
    1024.0
    """

    def check_finite(self, grads: Sequence[Any]) -> Any:
        """Whether all gradients of all replicas are finite."""
        is_finite = super().check_finite(grads)
        if keras.backend.backend() != "tensorflow" or not _has_replicas():
            return is_finite
        [overflows] = _over_replicas([1.0 - ops.cast(is_finite, "float32")])
        return overflows == 0


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class AdamW(_OverReplicas, keras.optimizers.AdamW):
    """Keras' AdamW, which on TensorFlow clips by the norm of the gradients too, and is faster.

    There the gradient of an embedding comes as slices, several for a word that is several times in the batch, and Keras
    takes the norm of the slices for that of their sum. And Keras goes through the memory of each variable some twenty
    times in a step, where four times are enough.
    """

    @property
    def _fused(self) -> bool:
        return keras.backend.backend() == "tensorflow" and not self.amsgrad

    def _clip_gradients(self, grads: Sequence[Any]) -> Sequence[Any]:
        if not (self._fused and self.global_clipnorm):
            return super()._clip_gradients(grads)
        import tensorflow as tf

        return tf.clip_by_global_norm(grads, self.global_clipnorm)[0]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if not self._fused:
            super()._apply_weight_decay(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable; on TensorFlow by its one operation for that."""
        if not self._fused:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        rate = tf.cast(learning_rate, variable.dtype)
        if self._use_weight_decay(variable):
            variable.assign(variable * (1 - rate * self.weight_decay))
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.convert_to_tensor(gradient),
        )


def _summed(gradient: Any) -> Any:
    """The same gradient with one slice a row, if it comes as slices."""
    import tensorflow as tf

    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, slice_of = tf.unique(gradient.indices)
    return tf.IndexedSlices(
        tf.math.unsorted_segment_sum(gradient.values, slice_of, tf.size(rows)), rows, gradient.dense_shape
    )


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class Lamb(_OverReplicas):
    """LAMB, for large batches: AdamW's step, scaled for each variable to the size of its weights.

    Unlike Keras' own, the decay is part of what is scaled, and variables can be excluded: they have neither decay nor
    scaling. Source: You et al. 2019, algorithm 2, https://arxiv.org/abs/1904.00962.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: decay, inside of the scaled step.
        beta_1: decay of the mean of the gradients.
        beta_2: decay of the mean of their squares.
        epsilon: added to the root of the latter.
        **kwargs: of ``keras.optimizers.Optimizer``.

    >>> Lamb(6e-3, weight_decay=0.01).epsilon
    1e-06
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        *,
        weight_decay: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        name: str = "lamb",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the means."""
        if not self.built:
            super().build(variables)
            self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def _without_doubles(self, gradient: Any) -> Any:
        """All rows are needed, for all decay."""
        import tensorflow as tf

        return gradient if gradient is None else tf.convert_to_tensor(gradient)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Nothing: the decay is part of the step."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        mean = momentum / (1 - self.beta_1**step)
        change = mean / (ops.sqrt(velocity / (1 - self.beta_2**step)) + self.epsilon)
        if self._use_weight_decay(variable):
            change += self.weight_decay * variable
            weights, changes = ops.norm(variable), ops.norm(change)
            is_sized = (weights > 0) & (changes > 0)
            rate *= ops.where(is_sized, weights / ops.where(is_sized, changes, 1), 1)
        self.assign_sub(variable, rate * change)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {name: getattr(self, name) for name in ("beta_1", "beta_2", "epsilon")}
        return {**super().get_config(), **own}


def adamw(
    *,
    learning_rate: float,
    steps: int | None,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    power: float = 1.0,
) -> AdamW:
    """AdamW as BERT is trained with it: decay but not on biases and layer norms, warm-up, decay, clipping.

    Args:
        learning_rate: the highest learning rate.
        steps: steps of the whole training; None for a constant rate.
        warmup: share of the steps in which the rate rises.
        weight_decay: decay per step, times the learning rate.
        clip_norm: the largest norm of all gradients together.
        power: of the rate's fall, see `WarmupPolynomialDecay`.

    >>> adamw(learning_rate=5e-5, steps=1000).weight_decay
    0.01
    """
    rate = learning_rate if steps is None else decaying(learning_rate, steps=steps, warmup=warmup, power=power)
    return _excluding(AdamW(rate, weight_decay=weight_decay, epsilon=1e-8, global_clipnorm=clip_norm))


def lamb(
    *,
    learning_rate: float,
    steps: int | None,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    power: float = 1.0,
) -> Lamb:
    """LAMB for pretraining with large batches; the arguments are those of `adamw`.

    >>> lamb(learning_rate=6e-3, steps=7038, warmup=0.2843, power=0.5).global_clipnorm
    1.0
    """
    rate = learning_rate if steps is None else decaying(learning_rate, steps=steps, warmup=warmup, power=power)
    return _excluding(Lamb(rate, weight_decay=weight_decay, global_clipnorm=clip_norm))


def decaying(learning_rate: float, *, steps: int, warmup: float, power: float) -> WarmupPolynomialDecay:
    """The schedule whose rise is a share of the steps; see `adamw`."""
    return WarmupPolynomialDecay(learning_rate, steps=steps, warmup_steps=round(warmup * steps), power=power)


def _excluding(optimizer: Any) -> Any:
    optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    return optimizer


# By the names that settings and the command line have for them.
OPTIMIZERS = {"adamw": adamw, "lamb": lamb}
