"""Common functions for plots: colors, the style of the axes, and saving."""

from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import open_output

# The color-blind safe palette of Okabe and Ito (https://jfly.uni-koeln.de/color/), and one marker for each color.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
_FORMATS = (".png", ".svg")


def make_figure(width: float, height: float, *, columns: int = 1) -> tuple[Any, list[Any]]:
    """Makes a Matplotlib figure of that size in inches; returns it and its axes from left to right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure as PNG or SVG, depending on the path's suffix.

    Raises:
        InputError: the suffix is another one, or the file cannot be written.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path} ends in {path.suffix!r}; pictures are written as {' or '.join(_FORMATS)}.")
    with open_output(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower()[1:], dpi=150)
