"""The settings of trainings."""

import dataclasses

from keras_bert_impl.errors import check_field
from keras_bert_impl.training.optimizers import OPTIMIZERS

# The policies under which Keras trains in a precision: weights and optimizer stay in float32.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

# NumPy's global generator takes no larger seeds.
_SEEDS = 2**32


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """The settings of a fine-tuning; the defaults are the usual ones of the BERT paper, appendix A.3.

    Args:
        epochs: how many times the training data is gone through.
        batch_size: examples in a batch.
        learning_rate: the highest learning rate of AdamW.
        warmup: share of the steps in which the rate rises to it.
        weight_decay: decay of all weights but biases and layer norms.
        clip_norm: the largest norm of all gradients together.
        max_length: the longest row in tokens; what is longer is cut, or split by tasks that can.
        precision: ``float32``, or ``bfloat16`` or ``float16`` for the products: weights stay in float32, and with
            ``float16`` the loss is scaled.
        accumulate: in how many parts a batch goes through the model, one after the other, to spare memory.
        remat: whether blocks are computed again for the gradient, to spare memory.
        seed: of the new head, the order of the data and dropout.

    Raises:
        InputError: a setting is out of its range.

    >>> FineTuning(epochs=4, learning_rate=2e-5).batch_size
    32
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    max_length: int = 128
    precision: str = "float32"
    accumulate: int = 1
    remat: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        _check(self, ("epochs", "batch_size", "max_length", "accumulate"), ("learning_rate", "clip_norm"))


@dataclasses.dataclass(frozen=True)
class PreTraining:
    """The settings of a pretraining, beside what its examples are like.

    Args:
        batch_size: rows in a batch.
        learning_rate: the highest learning rate.
        optimizer: ``adamw`` or ``lamb``.
        warmup: share of the training in which the rate rises to it.
        power: of the rate's fall: 1 is a straight line.
        weight_decay: decay of all weights but biases and layer norms.
        clip_norm: the largest norm of all gradients together.
        dropout: of hidden states and attention.
        precision: ``float32``, or ``bfloat16`` or ``float16`` for the products: weights stay in float32, and with
            ``float16`` the loss is scaled.
        accumulate: in how many parts a batch goes through the model, one after the other, to spare memory.
        remat: whether blocks are computed again for the gradient, to spare memory.
        held_out: share of the documents that are kept for evaluation.
        report_every: steps from one evaluation to the next.
        seed: of the new weights, the held-out documents, all examples and dropout.

    Raises:
        InputError: a setting is out of its range.

    >>> PreTraining(batch_size=256, learning_rate=1e-4).optimizer
    'adamw'
    """

    batch_size: int = 64
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    warmup: float = 0.05
    power: float = 1.0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    precision: str = "float32"
    accumulate: int = 1
    remat: bool = False
    held_out: float = 0.05
    report_every: int = 500
    seed: int = 1

    def __post_init__(self) -> None:
        _check(self, ("batch_size", "report_every", "accumulate"), ("learning_rate", "clip_norm", "power"))
        check_field(self, "optimizer", self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS))
        check_field(self, "dropout", 0 <= self.dropout < 1, "a share from 0 to below 1")
        check_field(self, "held_out", 0 < self.held_out < 1, "a share above 0 and below 1")


@dataclasses.dataclass(frozen=True)
class Saving:
    """How often the state of a training is saved while it runs.

    Args:
        minutes: how often; 0 for not at all.
        steps: how often, as well; 0 for not at all.
        keep: how many states stay on the disk; each takes three times the space of the weights.

    Raises:
        InputError: a number is out of its range.

    >>> Saving(minutes=1).keep
    2
    """

    minutes: float = 5.0
    steps: int = 0
    keep: int = 2

    def __post_init__(self) -> None:
        check_field(self, "minutes", self.minutes >= 0, "0 or more")
        check_field(self, "steps", self.steps >= 0, "0 or more")
        check_field(self, "keep", self.keep >= 1, "1 or more")


def _check(settings: FineTuning | PreTraining, counts: tuple[str, ...], numbers: tuple[str, ...]) -> None:
    """Checks what both have, and that some fields are whole numbers, or numbers, above 0."""
    for name in counts:
        check_field(settings, name, getattr(settings, name) >= 1, "a whole number above 0")
    for name in numbers:
        check_field(settings, name, getattr(settings, name) > 0, "a number above 0")
    check_field(settings, "warmup", 0 <= settings.warmup <= 1, "a share from 0 to 1")
    check_field(settings, "weight_decay", settings.weight_decay >= 0, "0 or more")
    check_field(settings, "precision", settings.precision in PRECISIONS, " or ".join(PRECISIONS))
    check_field(settings, "seed", 0 <= settings.seed < _SEEDS, f"a whole number from 0 to {_SEEDS - 1}")
