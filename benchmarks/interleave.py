"""Measures peers in turns, A B C A B C …, so that other load on the machine affects all of them equally.

Each peer runs in its own process, so that thread pools and imports do not interfere. The processes start once and then
wait at a pipe for their turn. The processor time that they use while they wait is measured too, and so is the time that
all other processes use.
"""

import contextlib
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

# Libraries read these when they are imported, in the peer's process.
_ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}
# As the commands of the package have it. All processes of a script inherit it, and so do all peers with TensorFlow.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@dataclass(frozen=True)
class Peer:
    """A function to measure.

    Args:
        name: name in the report.
        make: a module-level function that runs in the peer's process and returns the function that is timed.
        arguments: keyword arguments of ``make``.
        calls: calls in one turn.
        environment: variables to set in that process.
    """

    name: str
    make: Callable[..., Callable[[], Any]]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Series:
    """The measurements of one peer.

    Attributes:
        first: the result of the first call.
        environment: the variables that were set for this peer alone.
        seconds: of each turn, per call.
        core_seconds: processor time of a call on all cores; less affected by other processes than ``seconds``.
        idle: fraction of one core that the peer used between its turns.
        others: fraction of the machine that other processes used in each turn.
    """

    first: Any
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    core_seconds: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the seconds of a call."""
        return statistics.median(self.seconds)


def run(peers: Sequence[Peer], *, rounds: int, warm_up: int = 2) -> dict[str, Series]:
    """Starts every peer, then gives each one turn per round; returns the series by the peers' names."""
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[Any, Any, str]] = []
    series: dict[str, Series] = {}
    try:
        for peer in peers:
            pipe, far_end = context.Pipe()
            # Not a daemon, because those cannot start processes.
            process = context.Process(target=_serve, args=(far_end, peer, warm_up))
            process.start()
            far_end.close()
            workers.append((process, pipe, peer.name))
            series[peer.name] = Series(_receive(process, pipe, peer.name), peer.environment)
            print(f"  {peer.name} is ready", flush=True)
        _take_turns(workers, series, rounds=rounds)
    finally:
        for process, pipe, _ in workers:
            pipe.close()  # This ends the process.
            process.join()
    return series


def _take_turns(workers: Sequence[tuple[Any, Any, str]], series: Mapping[str, Series], *, rounds: int) -> None:
    for number in range(rounds):
        for process, pipe, peer_name in workers:
            pipe.send(True)
            for name, value in _receive(process, pipe, peer_name).items():
                getattr(series[peer_name], name).append(value)
        print(f"  round {number + 1} of {rounds}", flush=True)


def _receive(process: Any, pipe: Any, name: str) -> Any:
    """Receives the next message of a peer."""
    try:
        return pipe.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{name} ended with exit code {process.exitcode}; -9 means that memory ran out.") from None


def _serve(pipe: Any, peer: Peer, warm_up: int) -> None:
    """Measures a peer in its process, one turn for each message."""
    os.environ.update({**_ENVIRONMENT, **peer.environment})
    call = peer.make(**peer.arguments)
    first = call()
    for _ in range(warm_up):
        call()
    pipe.send(first)
    waiting = _Clock()
    while _wait_for_turn(pipe):
        idle = waiting.own / waiting.wall
        turn = _Clock()
        for _ in range(peer.calls):
            call()
        wall, own, busy = turn.wall, turn.own, turn.busy
        others = max(0.0, busy - own) / (wall * psutil.cpu_count())
        waiting = _Clock()
        pipe.send({"seconds": wall / peer.calls, "core_seconds": own / peer.calls, "idle": idle, "others": others})


def _wait_for_turn(pipe: Any) -> bool:
    """Waits for a turn; false if there are no more."""
    try:
        return pipe.recv()
    except EOFError:
        return False


class _Clock:
    """Seconds since its creation: elapsed, used on all cores by this process and its children, and by all processes."""

    def __init__(self) -> None:
        self._own, self._busy = _read_own_seconds(), _read_busy_seconds()
        self._start = time.perf_counter()  # At the end, because reading the others takes time.

    @property
    def wall(self) -> float:
        return time.perf_counter() - self._start

    @property
    def own(self) -> float:
        return _read_own_seconds() - self._own

    @property
    def busy(self) -> float:
        return _read_busy_seconds() - self._busy


def _read_own_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds += sum(child.cpu_times()[:2])
    return seconds


def _read_busy_seconds() -> float:
    machine = psutil.cpu_times()
    return sum(machine) - machine.idle - machine.iowait - machine.guest


@dataclass(frozen=True)
class Ratio:
    """The time of a peer divided by ours: ratio of the medians, and the quartiles of the ratios in each round."""

    medians: float
    low: float
    high: float

    @classmethod
    def compute(cls, ours: Series, theirs: Series) -> "Ratio":
        """The ratio for two series of the same run; above 1 means that ``ours`` is faster."""
        paired = [b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)]
        low, _, high = statistics.quantiles(paired, n=4, method="inclusive")
        return cls(theirs.median / ours.median, low, high)

    def __str__(self) -> str:
        return f"{self.medians:.3f} ({self.low:.3f} to {self.high:.3f})"
