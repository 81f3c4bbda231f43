"""The callback that scores after each epoch and keeps the best checkpoint."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_bert_impl.errors import InputError

_NOTED = ("best_epoch", "validation", "running_means")


class KeepBest(keras.callbacks.Callback):
    """After each epoch scores the validation data, and saves the model if it is the best so far.

    Args:
        directory: where the best checkpoint is kept.
        score: gives the figures.
        metric: which of them decides; of equal epochs the first is kept.

    Raises:
        InputError: the loss is no number any more.
    """

    def __init__(self, directory: Path, *, score: Callable[[], dict[str, float]], metric: str) -> None:
        super().__init__()
        self.directory = directory
        self.score = score
        self.metric = metric
        self.best_epoch = 0
        self.validation: list[dict[str, float]] = []
        self.running_means: list[list[float]] = []

    def state_dict(self) -> dict[str, Any]:
        """What was noted, as JSON holds it."""
        return {name: getattr(self, name) for name in _NOTED}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what was noted."""
        for name in _NOTED:
            setattr(self, name, state[name])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins the epoch's curve."""
        if epoch == len(self.running_means):
            self.running_means.append([])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Notes the running mean of the loss."""
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is {loss} in step {batch + 1} of epoch {len(self.running_means)}: the training diverged. "
                "Choose a lower learning_rate."
            )
        self.running_means[-1].append(loss)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores, and saves if this is the best epoch."""
        figures = self.score()
        self.validation.append(figures)
        if not self.best_epoch or figures[self.metric] > self.validation[self.best_epoch - 1][self.metric]:
            self.best_epoch = epoch + 1
            self.model.save_pretrained(self.directory)
        logs.update({f"val_{name}": value for name, value in figures.items()})  # Keras shows and keeps them.
