"""The learning-curve picture of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Two of the colours of Okabe and Ito, which the colour-blind tell apart.
_BLUE, _ORANGE = "#0072B2", "#D55E00"
_POINTS = 100


def block_means(running_means: Sequence[Sequence[float]], *, points: int = _POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Training loss averaged over short stretches.

    Args:
        running_means: for each epoch Keras' running mean of the loss after each step.
        points: how many stretches, at most.

    Returns:
        the last step of each stretch, counted from 1 over all epochs, and the mean loss of its steps.

    >>> steps, losses = block_means([[4.0, 3.0], [2.0, 1.5]], points=4)
    >>> steps.tolist(), losses.tolist()
    ([1, 2, 3, 4], [4.0, 2.0, 2.0, 1.0])
    """
    sums = [np.diff(np.asarray(means) * np.arange(1, len(means) + 1), prepend=0) for means in running_means if means]
    losses = np.concatenate(sums)
    blocks = np.array_split(np.arange(len(losses)), min(points, len(losses)))
    return np.array([block[-1] + 1 for block in blocks]), np.array([losses[block].mean() for block in blocks])


def save_learning_curve(
    path: Path, running_means: Sequence[Sequence[float]], validation: Sequence[Mapping[str, Any]], metric: str
) -> None:
    """Draws the training loss over the steps and the validation metric over the epochs into a PNG file.

    Args:
        path: where to.
        running_means: for each epoch Keras' running mean of the loss after each step.
        validation: for each epoch the metrics on the validation data.
        metric: which of them is drawn.
    """
    from matplotlib.figure import Figure

    steps, losses = block_means(running_means)
    ends = np.cumsum([len(means) for means in running_means])
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, losses, color=_BLUE)
    left.set(title="Training loss", xlabel="step", ylabel="loss, mean of a stretch")
    left.set_ylim(bottom=0)
    right.plot(ends, [entry[metric] for entry in validation], color=_ORANGE, marker="o")
    for end, entry in zip(ends, validation, strict=True):
        right.annotate(f"{entry[metric]:.3f}", (end, entry[metric]), textcoords="offset points", xytext=(0, 7), ha="center")
    right.set(title=f"Validation {metric.replace('_', ' ')}", xlabel="step", ylabel=metric.replace("_", " "))
    right.margins(x=0.15, y=0.3)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
