"""The optimizer and the learning-rate schedule of BERT's fine-tuning."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

# Variables that weight decay leaves alone: biases and layer norms, as in the published training.
NO_DECAY = ("bias", "gamma", "beta")


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from 0 in a straight line and then falls to 0 in another.

    Args:
        learning_rate: the highest rate, reached after the warm-up.
        steps: steps of the whole training.
        warmup_steps: steps of the rise; 0 begins at the highest rate.

    The same as ``get_linear_schedule_with_warmup`` of transformers.

    >>> schedule = WarmupLinearDecay(5e-5, steps=100, warmup_steps=10)
    >>> [round(float(schedule(step)) * 1e5, 6) for step in (0, 5, 10, 55, 100)]
    [0.0, 2.5, 5.0, 2.5, 0.0]
    """

    def __init__(self, learning_rate: float, *, steps: int, warmup_steps: int) -> None:
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        """The rate at a step, counted from 0; a float32 scalar."""
        step = ops.cast(step, "float32")
        rise = step / self.warmup_steps if self.warmup_steps else 1.0
        fall = (self.steps - step) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * ops.maximum(0.0, ops.minimum(rise, fall))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"learning_rate": self.learning_rate, "steps": self.steps, "warmup_steps": self.warmup_steps}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW, which on TensorFlow clips by the norm of the gradients too, and is faster.

    There the gradient of an embedding comes as slices, several for a word that is several times in the batch, and Keras
    takes the norm of the slices for that of their sum. And Keras goes through the memory of each variable some twenty
    times in a step, where four times are enough.
    """

    @property
    def _fused(self) -> bool:
        return keras.backend.backend() == "tensorflow" and not self.amsgrad

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables."""
        if keras.backend.backend() == "tensorflow":
            grads = [_summed(gradient) for gradient in grads]
        super().apply(grads, trainable_variables)

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


def adamw(
    *,
    learning_rate: float,
    steps: int,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
) -> AdamW:
    """AdamW as BERT is fine-tuned with it: decay but not on biases and layer norms, warm-up, linear decay, clipping.

    Args:
        learning_rate: the highest learning rate.
        steps: steps of the whole training.
        warmup: share of the steps in which the rate rises.
        weight_decay: decay per step, times the learning rate.
        clip_norm: the largest norm of all gradients together.

    >>> adamw(learning_rate=5e-5, steps=1000).weight_decay
    0.01
    """
    optimizer = AdamW(
        WarmupLinearDecay(learning_rate, steps=steps, warmup_steps=round(warmup * steps)),
        weight_decay=weight_decay,
        epsilon=1e-8,
        global_clipnorm=clip_norm,
    )
    optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    return optimizer
