"""A progress bar on standard error."""

import sys
import time


class ProgressBar:
    """A line on standard error with the number of items so far, which changes at most once per second.

    A job of less than a second shows nothing, unless ``is_shown`` is true.

    Args:
        unit: what is counted.
        total: the number of items; None if it is not known: then only the number and the rate are shown.
        is_shown: whether the line is shown; None: if standard error is a terminal.
    """

    def __init__(self, unit: str, total: int | None = None, *, is_shown: bool | None = None) -> None:
        self._unit, self._total = unit, total
        self._is_shown = sys.stderr.isatty() if is_shown is None else is_shown
        self._shows_end = bool(is_shown)
        self._begin = self._last = time.monotonic()
        self._count = 0
        self._fraction: float | None = None

    def add(self, count: int) -> None:
        """Counts items."""
        done = self._count + count
        self.update(done, done / self._total if self._total else None)

    def update(self, count: int, fraction: float | None) -> None:
        """Sets the number of items, and the fraction of the job that is complete; None: it is not known."""
        self._count, self._fraction = count, fraction
        now = time.monotonic()
        if self._is_shown and now - self._last >= 1:
            self._last, self._shows_end = now, True
            self._print(now)

    def end(self) -> None:
        """Shows the last count and ends the line."""
        if self._is_shown and self._shows_end:
            self._print(time.monotonic())
            print(file=sys.stderr)

    def _print(self, now: float) -> None:
        seconds = now - self._begin
        line = f"{self._count:,} {self._unit}, {self._count / max(seconds, 1e-9):,.0f} per second"
        if self._fraction is not None:
            left = seconds / self._fraction - seconds if self._fraction else 0
            line = f"{'█' * round(20 * self._fraction):░<20} {line}, {left:,.0f} s left"
        print(f"\r{line:79.79}", end="", file=sys.stderr, flush=True)
