"""The learning-curve picture of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Two of the colours of Okabe and Ito, which the colour-blind tell apart.
_BLUE, _ORANGE = "#0072B2", "#D55E00"
_NOTE: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": "small", "color": "grey"}
_LABEL: dict[str, Any] = {"ha": "center", "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.7}}
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
    path: Path,
    running_means: Sequence[Sequence[float]],
    validation: Sequence[Mapping[str, Any]],
    *,
    metric: str,
    best_epoch: int,
) -> None:
    """Draws the training loss over the steps and the validation metric over the epochs into a PNG file.

    Args:
        path: where to.
        running_means: for each epoch Keras' running mean of the loss after each step.
        validation: for each epoch the metrics on the validation data.
        metric: which of them is drawn.
        best_epoch: the one whose checkpoint was kept, counted from 1; it is marked.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    steps, losses = block_means(running_means)
    epochs, values = np.arange(1, len(validation) + 1), [entry[metric] for entry in validation]
    name = metric.replace("_", " ")
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, losses, color=_BLUE, marker=".", markersize=3)
    left.set(title="Training loss", xlabel="step", xlim=(0, steps[-1]), ylim=(0, 1.1 * losses.max()))
    for end in np.cumsum([len(means) for means in running_means])[:-1]:
        left.axvline(end, color="grey", linewidth=0.8, linestyle=":")
    left.text(0.98, 0.03, f"each point: mean of {-(-steps[-1] // len(steps))} steps", transform=left.transAxes, **_NOTE)
    right.plot(epochs, values, color=_ORANGE, marker="o")
    right.plot(best_epoch, values[best_epoch - 1], color=_ORANGE, marker="o", markersize=11)
    for epoch, value in zip(epochs, values, strict=True):
        right.annotate(f"{value:.3f}", (epoch, value), xytext=(0, 10), textcoords="offset points", **_LABEL)
    right.set(title=f"Validation {name}", xlabel="epoch", xlim=(0.5, len(epochs) + 0.5))
    right.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    right.margins(y=0.3)
    right.text(0.98, 0.03, "large point: the checkpoint that was kept", transform=right.transAxes, **_NOTE)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
