"""What all pictures share: colours, the look of axes, and how they are saved."""

from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import output_file

# The colours of Okabe and Ito, which the colour-blind tell apart, and as many marks.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
_FORMATS = (".png", ".svg")


def figure(width: float, height: float, *, columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure of some inches, and its axes from left to right."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    panels = list(drawn.subplots(1, columns, squeeze=False)[0])
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return drawn, panels


def save(drawn: Any, path: Path) -> None:
    """Writes a figure as PNG or SVG; the path's ending says which.

    Raises:
        InputError: it ends otherwise, or cannot be written.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path} ends in {path.suffix!r}; pictures are written as {' or '.join(_FORMATS)}.")
    with output_file(path) as temporary:
        drawn.savefig(temporary, format=path.suffix.lower()[1:], dpi=150)
