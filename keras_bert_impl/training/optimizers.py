"""The optimizers that BERT is trained with."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from keras_bert_impl.training.distribution import ReplicaSummedOptimizer, get_backend
from keras_bert_impl.training.schedules import make_schedule
from keras_bert_impl.training.settings import TrainingSettings

# Variables without weight decay: biases and layer norms, as in the published training.
NO_DECAY = ("bias", "gamma", "beta")


class LayerwiseOptimizer(ReplicaSummedOptimizer):
    """Base of optimizers whose learning rate can have a factor for each variable; Keras has one rate for all.

    The factor scales the update: Adam divides by the size of the gradient, so a factor of the gradient has no effect.

    Attributes:
        rate_factors: the factors by the ``id`` of the variable, set before training; the factor of others is 1.
    """

    rate_factors: Mapping[int, float] = MappingProxyType({})

    def build(self, variables: Sequence[Any]) -> None:
        """Looks up the factors, and creates the optimizer's variables."""
        if not self.built:
            self._factors = tuple(self.rate_factors.get(id(variable), 1.0) for variable in variables)
        super().build(variables)

    def scale_rate(self, variable: Any, learning_rate: Any) -> Any:
        """Returns the learning rate of a variable."""
        factor = self._factors[self._get_variable_index(variable)]
        return learning_rate if factor == 1 else learning_rate * factor

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Does nothing: weight decay is part of the update, because it is scaled by the variable's learning rate."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable, weight decay included."""
        learning_rate = self.scale_rate(variable, learning_rate)
        if self.weight_decay and self._use_weight_decay(variable):
            variable.assign(variable - variable * self.weight_decay * ops.cast(learning_rate, variable.dtype))
        super().update_step(gradient, variable, learning_rate)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class AdamW(LayerwiseOptimizer, keras.optimizers.AdamW):
    """Keras' AdamW, with correct clipping, layer-wise learning rates and a faster update on TensorFlow.

    On TensorFlow the gradient of an embedding is sparse, and has duplicate rows if a word occurs several times in the
    batch. Keras clips by the norm of these slices, not by the norm of their sum. And Keras reads or writes each
    variable about twenty times in a step, where four times are enough.
    """

    @property
    def _is_fused(self) -> bool:
        return get_backend().has_fused_adam and not self.amsgrad

    def _clip_gradients(self, grads: Sequence[Any]) -> Sequence[Any]:
        if self._is_fused and self.global_clipnorm:
            return get_backend().clip_by_global_norm(grads, self.global_clipnorm)
        return super()._clip_gradients(grads)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable, weight decay included."""
        if not self._is_fused:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        get_backend().apply_adamw(
            variable,
            self._momentums[index],
            self._velocities[index],
            gradient,
            step=self.iterations + 1,
            learning_rate=self.scale_rate(variable, learning_rate),
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay if self._use_weight_decay(variable) else None,
        )


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class Lamb(LayerwiseOptimizer):
    """LAMB, for large batches: AdamW's update, scaled for each variable to the norm of its weights.

    Unlike in Keras' own, weight decay is part of the scaled update, and variables can be excluded: they get neither
    decay nor scaling. Source: You et al. 2019, algorithm 2, https://arxiv.org/abs/1904.00962.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: weight decay, part of the scaled update.
        beta_1: decay rate of the moving average of the gradients.
        beta_2: decay rate of the moving average of their squares.
        epsilon: added to the square root of the latter.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    >>> Lamb(6e-3, weight_decay=0.01).epsilon
    1e-06
    """

    needs_dense_gradients = True  # All rows have weight decay.

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
        """Creates the moving averages."""
        if not self.built:
            super().build(variables)
            self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        rate = ops.cast(self.scale_rate(variable, learning_rate), variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        average = momentum / (1 - self.beta_1**step)
        update = average / (ops.sqrt(velocity / (1 - self.beta_2**step)) + self.epsilon)
        if self._use_weight_decay(variable):
            update += self.weight_decay * variable
            weight_norm, update_norm = ops.norm(variable), ops.norm(update)
            is_scaled = (weight_norm > 0) & (update_norm > 0)
            rate *= ops.where(is_scaled, weight_norm / ops.where(is_scaled, update_norm, 1), 1)
        self.assign_sub(variable, rate * update)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {name: getattr(self, name) for name in ("beta_1", "beta_2", "epsilon")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class Adafactor(LayerwiseOptimizer, keras.optimizers.Adafactor):
    """Keras' Adafactor, with clipping by the norm of all replicas' gradients, and dense gradients of embeddings.

    The learning rate is relative to the root mean square of the weights of each variable.
    """

    needs_dense_gradients = True  # A row that is not in the batch changes the means of its column.


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class Lion(LayerwiseOptimizer, keras.optimizers.Lion):
    """Keras' Lion, with clipping by the norm of all replicas' gradients, and dense gradients of embeddings."""

    needs_dense_gradients = True  # All rows follow their momentum.


def adamw(
    *,
    learning_rate: float,
    steps: int | None,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    schedule: str = "linear",
    power: float = 1.0,
) -> AdamW:
    """AdamW as in BERT's training: warm-up, decay of the rate, clipping, no weight decay of biases and layer norms.

    Args:
        learning_rate: the peak learning rate.
        steps: total number of training steps; None for a constant rate.
        warmup: fraction of the steps that are warm-up.
        weight_decay: weight decay in each step, times the learning rate.
        clip_norm: max. norm of all gradients together.
        schedule: the rate after the warm-up: ``linear``, ``cosine``, ``inverse-sqrt`` or ``constant``.
        power: power of the schedule ``linear``, see `WarmupPolynomialDecay`.

    >>> adamw(learning_rate=5e-5, steps=1000).weight_decay
    0.01
    """
    rate = make_schedule(learning_rate, steps=steps, warmup=warmup, schedule=schedule, power=power)
    return exclude_biases_and_norms(AdamW(rate, weight_decay=weight_decay, epsilon=1e-8, global_clipnorm=clip_norm))


def lamb(
    *,
    learning_rate: float,
    steps: int | None,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    schedule: str = "linear",
    power: float = 1.0,
) -> Lamb:
    """LAMB for pretraining with large batches; the arguments are those of `adamw`.

    >>> lamb(learning_rate=6e-3, steps=7038, warmup=0.2843, power=0.5).global_clipnorm
    1.0
    """
    rate = make_schedule(learning_rate, steps=steps, warmup=warmup, schedule=schedule, power=power)
    return exclude_biases_and_norms(Lamb(rate, weight_decay=weight_decay, global_clipnorm=clip_norm))


def adafactor(
    *,
    learning_rate: float,
    steps: int | None,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    schedule: str = "linear",
    power: float = 1.0,
) -> Adafactor:
    """Adafactor, whose state is half of AdamW's; the arguments are those of `adamw`.

    The rate is relative to the size of the weights: about 1e-3 takes the place of 5e-5 of AdamW.

    >>> adafactor(learning_rate=1e-3, steps=1000).global_clipnorm
    1.0
    """
    rate = make_schedule(learning_rate, steps=steps, warmup=warmup, schedule=schedule, power=power)
    # Otherwise a constant rate would decay.
    optimizer = Adafactor(rate, weight_decay=weight_decay, global_clipnorm=clip_norm, relative_step=False)
    return exclude_biases_and_norms(optimizer)


def lion(
    *,
    learning_rate: float,
    steps: int | None,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    schedule: str = "linear",
    power: float = 1.0,
) -> Lion:
    """Lion, whose state is half of AdamW's; the arguments are those of `adamw`.

    Each update has the same size, so its authors divide AdamW's rate by 3 to 10, and multiply the weight decay by as
    much: https://arxiv.org/abs/2302.06675.

    >>> lion(learning_rate=1e-5, steps=1000, weight_decay=0.05).weight_decay
    0.05
    """
    rate = make_schedule(learning_rate, steps=steps, warmup=warmup, schedule=schedule, power=power)
    return exclude_biases_and_norms(Lion(rate, weight_decay=weight_decay, global_clipnorm=clip_norm))


def exclude_biases_and_norms(optimizer: Any) -> Any:
    """Excludes biases and layer norms from the optimizer's weight decay; returns the optimizer."""
    optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    return optimizer


# By their names in settings and on the command line.
OPTIMIZERS = {"adamw": adamw, "lamb": lamb, "adafactor": adafactor, "lion": lion}


def make_optimizer(
    settings: TrainingSettings, *, steps: int | None, rate_factors: Mapping[int, float] | None = None
) -> Any:
    """Returns the optimizer that settings ask for.

    Args:
        settings: their optimizer, learning rate, warm-up, schedule and clipping.
        steps: total number of training steps; None for a constant rate.
        rate_factors: factors of the learning rate, see `LayerwiseOptimizer`; None: all variables have the same rate.

    >>> from keras_bert_impl.training import PretrainingSettings
    >>> make_optimizer(PretrainingSettings(optimizer="lamb", weight_decay=0.1), steps=1000).weight_decay
    0.1
    """
    optimizer = OPTIMIZERS[settings.optimizer](
        learning_rate=settings.learning_rate,
        steps=steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        schedule=settings.schedule,
        power=settings.power,
    )
    optimizer.rate_factors = MappingProxyType(rate_factors or {})
    return optimizer
