"""The load report: which tensors of a checkpoint were loaded, ignored, unexpected or missing."""

import collections
import dataclasses
from typing import Literal

Status = Literal["loaded", "newly initialized", "ignored", "unexpected"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor: its name, status and shape, and the reason for the status if there is one."""

    name: str
    status: Status
    shape: tuple[int, ...]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """The status of each tensor of a file and of each weight of the model.

    ``loaded``: the file's tensor is in the model. ``newly initialized``: the file has no such tensor, so the weight is
    random. ``ignored``: not loaded on purpose, for the given reason. ``unexpected``: BERT has no such tensor.

    >>> report = LoadReport("demo", (Entry("pooler.dense.bias", "loaded", (32,)),))
    >>> print(report)
    demo
      1 tensors loaded, 32 numbers
    """

    source: str
    entries: tuple[Entry, ...]

    def names(self, status: Status) -> list[str]:
        """The names of the tensors with this status."""
        return [entry.name for entry in self.entries if entry.status == status]

    def __str__(self) -> str:
        loaded = [entry for entry in self.entries if entry.status == "loaded"]
        numbers = sum(_size(entry.shape) for entry in loaded)
        lines = [self.source, f"  {len(loaded)} tensors loaded, {numbers:,} numbers"]
        groups: dict[tuple[Status, str], list[Entry]] = collections.defaultdict(list)
        for entry in self.entries:
            if entry.status != "loaded":
                groups[entry.status, entry.reason].append(entry)
        for (status, reason), entries in groups.items():
            lines.append(f"  {len(entries)} {status}" + (f": {reason}" if reason else ""))
            lines += [f"    {entry.name}  {_shape(entry.shape)}" for entry in entries]
        return "\n".join(lines)

    def table(self) -> str:
        """One line per tensor, with its shape, its status and the reason."""
        width = max((len(entry.name) for entry in self.entries), default=0)
        return "\n".join(
            f"{entry.name:<{width}}  {_shape(entry.shape):<13} {entry.status}"
            + (f": {entry.reason}" if entry.reason else "")
            for entry in self.entries
        )


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(str(length) for length in shape) or "scalar"
