"""Compares the labels of a file's head with those of the model that loads it."""

import warnings
from collections.abc import Sequence

import numpy as np

# The names of labels in configurations that do not have any: LABEL_0, LABEL_1 and so on.
_NUMBERED = "LABEL_"
_MAX_SHOWN = 5


class HeadLabels:
    """The labels of a file's head, and those of the model that loads it, which may have other names.

    Args:
        old: the names of the labels in the file's configuration, in the order of the head's rows; empty if they are not
            known.
        new: the names of the model's labels.

    Attributes:
        are_others: whether these are different labels. A single output has no name that matters, and ``LABEL_0`` is the
            label 0, or one that has no name yet.
        reason: what the load report says about the head; empty if the labels are the same.

    >>> head = HeadLabels(["bad", "good"], ["good", "bad"])
    >>> head.are_others, head.reason, head.order_rows(np.array([[1, 2], [3, 4]])).tolist()
    (False, 'with the rows in the order good, bad', [[2, 1], [4, 3]])
    >>> HeadLabels(["bad", "good"], ["short", "long"]).are_others
    True
    """

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        self._old, self._new = _shorten(old), _shorten(new)
        keys, wanted = ([name.removeprefix(_NUMBERED) for name in names] for names in (old, new))
        is_same = keys == wanted or len(keys) != len(wanted) or len(keys) < 2
        is_reordered = not is_same and len(set(keys)) == len(keys) and sorted(keys) == sorted(wanted)
        is_unnamed = all(name.startswith(_NUMBERED) for name in old)
        self._order = [keys.index(key) for key in wanted] if is_reordered else None
        self._number = len(old)
        self.are_others = not (is_same or is_reordered or is_unnamed)
        self.reason = ""
        if is_reordered:
            self.reason = f"with the rows in the order {self._new}"
        elif not is_same:
            self.reason = f"trained for the labels {self._old}, which are called {self._new} now"

    def fits(self, array: np.ndarray) -> bool:
        """Whether an array has a row for each of the file's labels, on its last axis."""
        return array.shape[-1] == self._number

    def order_rows(self, array: np.ndarray) -> np.ndarray:
        """Returns an array ``[..., labels]`` in the order of the model's labels."""
        return array if self._order is None else array[..., self._order]

    def describe_new_head(self) -> str:
        """Returns why the model gets a new head."""
        return f"the file's head is for the labels {self._old}"

    def warn(self, source: str) -> None:
        """Warns of a head that is used for other labels."""
        warnings.warn(
            f"{source} has a head for the labels {self._old}; it is used for {self._new}. Pass new_heads=True if these "
            "are other labels, and not other names of the same.",
            stacklevel=5,
        )


def _shorten(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_SHOWN
    return ", ".join(names[:_MAX_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
