"""The settings of a fine-tuning."""

import dataclasses

from keras_bert_impl.errors import InputError

# The policies under which Keras trains in a precision: weights and optimizer stay in float32.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

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
        precision: ``float32``, or ``bfloat16`` for the products (weights stay in float32).
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
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_length"):
            self._check(name, getattr(self, name) >= 1, "a whole number above 0")
        for name in ("learning_rate", "clip_norm"):
            self._check(name, getattr(self, name) > 0, "a number above 0")
        self._check("warmup", 0 <= self.warmup <= 1, "a share from 0 to 1")
        self._check("weight_decay", self.weight_decay >= 0, "0 or more")
        self._check("precision", self.precision in PRECISIONS, " or ".join(PRECISIONS))
        self._check("seed", 0 <= self.seed < _SEEDS, f"a whole number from 0 to {_SEEDS - 1}")

    def _check(self, name: str, passed: bool, expected: str) -> None:
        if not passed:
            raise InputError(f"{name} is {getattr(self, name)!r}; {expected} was expected.")
