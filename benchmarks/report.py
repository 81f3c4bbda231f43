"""Writes the results of a script as Markdown: ``reports/<script>_<machine>_<date>.md``."""

import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interleave import Ratio, Series

_REPORTS = Path(__file__).with_name("reports")
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
_LIBRARIES = (
    "keras_bert_impl",
    "keras",
    "tensorflow",
    "jax",
    "jaxlib",
    "keras-hub",
    "torch",
    "transformers",
    "onnxruntime",
    "openvino",
    "numpy",
)


@dataclass(frozen=True)
class Target:
    """A target: one peer is at least ``least`` times as fast as the best of others."""

    ours: str
    theirs: tuple[str, ...]
    least: float

    def line(self, series: Mapping[str, Series], run: str) -> str:
        """The verdict on a run."""
        best = min(self.theirs, key=lambda name: series[name].median)
        ratio = Ratio.of(series[self.ours], series[best])
        verdict = "reached" if ratio.medians >= self.least else "**missed**"
        against = best if len(self.theirs) == 1 else f"the best of {', '.join(self.theirs)}: {best}"
        return f"- {run}: {self.ours} at least {self.least:.2f} × {against}: {ratio} – {verdict}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column holds names, the others numbers."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def comparison(series: Mapping[str, Series], *, ours: str, gigaflop: float) -> str:
    """One run as a table: milliseconds of a call, on the clock and of all cores together, and ``ours`` against each."""
    rows = []
    for name, turns in series.items():
        low, _, high = statistics.quantiles(turns.seconds, n=4, method="inclusive")
        ratio = "" if name == ours else str(Ratio.of(series[ours], turns))
        milliseconds = f"{turns.median * 1e3:.1f} ({low * 1e3:.1f} to {high * 1e3:.1f})"
        core = f"{statistics.median(turns.core_seconds) * 1e3:.1f}"
        rows.append((name, milliseconds, core, f"{gigaflop / turns.median:.0f}", ratio))
    return table(("peer", "ms, median (quartiles)", "core-ms", "GFLOP/s", f"times as fast: {ours}"), rows)


def quiet(*runs: Mapping[str, Series]) -> str:
    """How much other processes used the machine, which decides how reliable the times are."""
    turns = [turn for series in runs for turn in series.values()]
    others = [share for turn in turns for share in turn.others]
    idle = max(statistics.median(turn.idle) for turn in turns)
    return (
        f"Other processes took {statistics.median(others):.1%} of the machine during a turn in the median, "
        f"{max(others):.1%} at most. A peer that waited for its turn used at most {idle:.1%} of one core."
    )


def write(title: str, *sections: str) -> Path:
    """Writes the report of the running script, and prints where.

    Args:
        title: the report's first line.
        sections: Markdown, one after the other.
    """
    script, today, (model, flags) = Path(sys.argv[0]), datetime.date.today().isoformat(), _processor()
    cores = len(os.sched_getaffinity(0))
    slug = re.sub(r"[^a-z0-9]+", "-", f"{model} {cores} cores".lower())
    # The names of directories are enough: where they are differs between machines.
    arguments = [Path(value).name if Path(value).is_absolute() else value for value in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{script.name}", *arguments])
    facts = (
        f"- Machine: {model}, {cores} cores, {', '.join(flag for flag in _FLAGS if flag in flags)}",
        f"- Versions: Python {platform.python_version()}, {', '.join(_versions())}",
        f"- Command: `{command}`",
        f"- Date: {today}",
    )
    _REPORTS.mkdir(exist_ok=True)
    path = _REPORTS / f"{script.stem}_{slug}_{today}.md"
    path.write_text("\n\n".join([f"# {title}", "\n".join(facts), *sections]) + "\n", encoding="utf-8")
    print(f"{path.read_text(encoding='utf-8')}\n{path}")
    return path


def get_commit(checkout: Path) -> str:
    """The commit that a checkout is at."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> tuple[str, set[str]]:
    """Name and flags of the CPU, from Linux."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return facts["model name"], set(facts["flags"].split())


def _versions() -> list[str]:
    installed = {each.name.lower() for each in importlib.metadata.distributions()}
    return [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES if name in installed]
