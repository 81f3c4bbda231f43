"""A progress bar on standard error."""

import sys
import time


class ProgressBar:
    """A line on standard error that counts items, at most once per second.

    A job of less than a second shows nothing, unless ``is_shown`` is true.

    Args:
        unit: what is counted.
        total: the number of items; None if it is not known: then only the number and the rate are shown.
        is_shown: whether there is a line; None: if standard error is a terminal.
    """

    def __init__(self, unit: str, total: int | None = None, *, is_shown: bool | None = None) -> None:
        self._unit, self._total = unit, total
        self._is_shown = sys.stderr.isatty() if is_shown is None else is_shown
        self._shows_end = bool(is_shown)
        self._begin = self._last = time.monotonic()
        self._count = 0

    def add(self, count: int) -> None:
        """Counts items."""
        self._count += count
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
        rate = self._count / max(now - self._begin, 1e-9)
        line = f"{self._count:,} {self._unit}, {rate:,.0f} per second"
        if self._total:
            left = (self._total - self._count) / rate if rate else 0
            line = f"{'█' * round(20 * self._count / self._total):░<20} {line}, {left:,.0f} s left"
        print(f"\r{line:79.79}", end="", file=sys.stderr, flush=True)
