"""The learning-rate schedules that BERT is trained with: a linear warm-up, and then a decay."""

import math
from typing import Any

import keras
from keras import ops

# Without warm-up, the inverse square root decays over this number of steps, as in transformers.
_TIMESCALE = 10_000


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to the peak learning rate, then the decay of a subclass.

    Args:
        learning_rate: the peak rate, reached after the warm-up.
        steps: total number of training steps.
        warmup_steps: number of warm-up steps; 0 starts at the peak rate.
    """

    def __init__(self, learning_rate: float, *, steps: int, warmup_steps: int) -> None:
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        """The rate at a step, counted from 0; a float32 scalar."""
        step = ops.cast(step, "float32")
        rise = ops.minimum(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        return self.learning_rate * rise * self.decay(step)

    def decay(self, step: Any) -> Any:
        """The factor of the decay at a step; 1 in the warm-up."""
        raise NotImplementedError(f"{type(self).__name__} does not define its decay")

    def compute_fraction_left(self, step: Any) -> Any:
        """The fraction of the steps after the warm-up that are left; 1 in the warm-up, 0 after the last step."""
        return ops.clip((self.steps - step) / max(1, self.steps - self.warmup_steps), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {name: getattr(self, name) for name in ("learning_rate", "steps", "warmup_steps")}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class WarmupPolynomialDecay(WarmupSchedule):
    """Linear warm-up from 0 to the peak learning rate, then polynomial decay to 0.

    Args:
        learning_rate: the peak rate, reached after the warm-up.
        steps: total number of training steps.
        warmup_steps: number of warm-up steps; 0 starts at the peak rate.
        power: power of the decay: the rate is proportional to the fraction of steps left, to this power. 1 is linear.

    The same as ``get_linear_schedule_with_warmup`` and ``get_polynomial_decay_schedule_with_warmup`` of transformers.

    >>> schedule = WarmupPolynomialDecay(5e-5, steps=100, warmup_steps=10)
    >>> [round(float(schedule(step)) * 1e5, 6) for step in (0, 5, 10, 55, 100)]
    [0.0, 2.5, 5.0, 2.5, 0.0]
    """

    def __init__(self, learning_rate: float, *, steps: int, warmup_steps: int, power: float = 1.0) -> None:
        super().__init__(learning_rate, steps=steps, warmup_steps=warmup_steps)
        self.power = power

    def decay(self, step: Any) -> Any:
        """The fraction of the steps that are left, to the power."""
        return self.compute_fraction_left(step) ** self.power

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "power": self.power}


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class WarmupCosineDecay(WarmupSchedule):
    """Linear warm-up from 0 to the peak learning rate, then half a cosine to 0.

    The arguments are those of `WarmupPolynomialDecay`, without ``power``. The same as
    ``get_cosine_schedule_with_warmup`` of transformers.

    >>> schedule = WarmupCosineDecay(5e-5, steps=100, warmup_steps=10)
    >>> [round(float(schedule(step)) * 1e5, 6) for step in (0, 10, 55, 100)]
    [0.0, 5.0, 2.5, 0.0]
    """

    def decay(self, step: Any) -> Any:
        """Half of 1 + cos, written as a square: 1 + cos is inexact where it is close to 0."""
        return ops.square(ops.sin(math.pi / 2 * self.compute_fraction_left(step)))


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class WarmupInverseSquareRootDecay(WarmupSchedule):
    """Linear warm-up from 0 to the peak learning rate, then decay with the inverse square root of the step.

    The arguments are those of `WarmupPolynomialDecay`, without ``power``; the rate does not depend on ``steps``. The
    same as ``get_inverse_sqrt_schedule`` of transformers. Source: Vaswani et al. 2017, section 5.3,
    https://arxiv.org/abs/1706.03762.

    >>> schedule = WarmupInverseSquareRootDecay(5e-5, steps=100, warmup_steps=10)
    >>> [round(float(schedule(step)) * 1e5, 6) for step in (0, 10, 40, 90)]
    [0.0, 5.0, 2.5, 1.666667]
    """

    def decay(self, step: Any) -> Any:
        """The inverse square root, scaled to 1 at the end of the warm-up."""
        timescale = self.warmup_steps or _TIMESCALE
        return 1 / ops.sqrt(1 + ops.maximum(step - self.warmup_steps, 0.0) / timescale)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class WarmupConstant(WarmupSchedule):
    """Linear warm-up from 0 to the learning rate, which then remains.

    The arguments are those of `WarmupPolynomialDecay`, without ``power``; the rate does not depend on ``steps``. The
    same as ``get_constant_schedule_with_warmup`` of transformers.

    >>> schedule = WarmupConstant(5e-5, steps=100, warmup_steps=10)
    >>> [round(float(schedule(step)) * 1e5, 6) for step in (0, 5, 10, 100)]
    [0.0, 2.5, 5.0, 5.0]
    """

    def decay(self, step: Any) -> Any:
        """No decay."""
        return ops.ones_like(step)


# By their names in settings and on the command line.
SCHEDULES: dict[str, type[WarmupSchedule]] = {
    "linear": WarmupPolynomialDecay,
    "cosine": WarmupCosineDecay,
    "inverse-sqrt": WarmupInverseSquareRootDecay,
    "constant": WarmupConstant,
}


def make_schedule(
    learning_rate: float, *, steps: int | None, warmup: float = 0.1, schedule: str = "linear", power: float = 1.0
) -> Any:
    """Returns a schedule whose warm-up is a fraction of the steps, or the constant rate if ``steps`` is None.

    Args:
        learning_rate: the peak rate.
        steps: total number of training steps.
        warmup: fraction of the steps that are warm-up.
        schedule: name in ``SCHEDULES``.
        power: power of the schedule ``linear``, see `WarmupPolynomialDecay`.
    """
    if steps is None:
        return learning_rate
    options = {"power": power} if schedule == "linear" else {}
    return SCHEDULES[schedule](learning_rate, steps=steps, warmup_steps=round(warmup * steps), **options)
