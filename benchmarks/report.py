"""Writes the results of a script as Markdown: ``reports/<script>_<machine>_<date>.md``."""

import datetime
import importlib.metadata
import itertools
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
    "sentence-transformers",
    "onnxruntime",
    "openvino",
    "numpy",
    "tokenizers",
    "fugashi",
)


# Above this fraction of the machine, other processes distort the times.
_BUSY_FRACTION = 0.05
_BUSY = "**The machine was busy: measure again.**"


@dataclass(frozen=True)
class Target:
    """A target: one peer is at least ``min_ratio`` times as fast as the fastest of others."""

    ours: str
    theirs: tuple[str, ...]
    min_ratio: float

    def format_verdict(self, series: Mapping[str, Series], run: str) -> str:
        """One line that says whether a run reached the target: only if the quartiles say so too."""
        best = min(self.theirs, key=lambda name: series[name].median)
        ratio = Ratio.compute(series[self.ours], series[best])
        if min(ratio.medians, ratio.low) >= self.min_ratio:
            verdict = "reached"
        elif max(ratio.medians, ratio.high) < self.min_ratio:
            verdict = "**missed**"
        else:
            verdict = "**undecided**, the quartiles are on both sides"
        against = best if len(self.theirs) == 1 else f"the fastest of {'; '.join(self.theirs)} (here {best})"
        return f"- {run}: {self.ours} at least {self.min_ratio:.2f} × {against}: {ratio} – {verdict}"


def make_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column contains names, the others numbers."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def make_comparison_table(series: Mapping[str, Series], *, ours: str, gigaflop: float) -> str:
    """One run as a table: elapsed and core milliseconds of a call, and each peer's time divided by that of ``ours``."""
    rows = []
    for name, turns in series.items():
        low, _, high = statistics.quantiles(turns.seconds, n=4, method="inclusive")
        ratio = "" if name == ours else str(Ratio.compute(series[ours], turns))
        milliseconds = f"{turns.median * 1e3:.1f} ({low * 1e3:.1f} to {high * 1e3:.1f})"
        core = f"{statistics.median(turns.core_seconds) * 1e3:.1f}"
        rows.append((name, milliseconds, core, f"{gigaflop / turns.median:.0f}", ratio))
    return make_table(("peer", "ms, median (quartiles)", "core-ms", "GFLOP/s", f"times as fast: {ours}"), rows)


def describe_load(*runs: Mapping[str, Series]) -> str:
    """The rounds, the variables of each peer, and how much other processes used the machine, which affects the times.

    `write` puts it on top if the machine was busy.
    """
    turns = {name: turn for series in runs for name, turn in series.items()}
    every = [turn for series in runs for turn in series.values()]
    others = statistics.median(fraction for turn in every for fraction in turn.others)
    idle = max(statistics.median(turn.idle) for turn in every)
    rounds = sorted({len(turn.seconds) for turn in every})
    variables = [
        f"{name}: {', '.join(f'{key}={value}' for key, value in turn.environment.items())}."
        for name, turn in turns.items()
        if turn.environment
    ]
    return " ".join(
        [
            *([_BUSY] if others > _BUSY_FRACTION else []),
            f"{' or '.join(map(str, rounds))} rounds. Other processes used {others:.1%} of the machine in the median "
            f"turn, and at most {max(fraction for turn in every for fraction in turn.others):.1%}. A peer that waited "
            f"for its turn used at most {idle:.1%} of one core.",
            *variables,
        ]
    )


def _join_arguments(arguments: list[str]) -> str:
    """The arguments as a shell reads them; of more than three files with the same ending, the first and the last."""
    parts = []
    for suffix, group in itertools.groupby(arguments, lambda argument: Path(argument).suffix):
        names = list(group)
        is_long = suffix and len(names) > 3
        parts.append(f"{shlex.quote(names[0])} … {shlex.quote(names[-1])}" if is_long else shlex.join(names))
    return " ".join(parts)


def write(title: str, *sections: str) -> Path:
    """Writes the report of the running script, and prints it with its path.

    Args:
        title: the heading of the report.
        sections: the Markdown below the machine, the versions and the commit. One that says that the machine was busy
            comes first.
    """
    sections = tuple(sorted(sections, key=lambda section: not section.startswith(_BUSY)))
    script, today, (model, flags) = Path(sys.argv[0]), datetime.date.today().isoformat(), _read_processor()
    cores = len(os.sched_getaffinity(0))
    slug = re.sub(r"[^a-z0-9]+", "-", f"{model} {cores} cores".lower())
    # Only the names of directories: their locations differ between machines.
    arguments = [Path(value).name if Path(value).is_absolute() else value for value in sys.argv[1:]]
    command = f"python benchmarks/{script.name} {_join_arguments(arguments)}".rstrip()
    facts = (
        f"- Machine: {model}, {cores} cores, {', '.join(flag for flag in _FLAGS if flag in flags)}",
        f"- Versions: Python {platform.python_version()}, {', '.join(_list_versions())}",
        f"- Environment: TF_ENABLE_ONEDNN_OPTS={os.environ['TF_ENABLE_ONEDNN_OPTS']}",
        f"- Command: `{command}`",
        f"- Date: {today}",
        f"- Commit: {get_commit(Path(__file__).parent)}",
    )
    _REPORTS.mkdir(exist_ok=True)
    path = _REPORTS / f"{script.stem}_{slug}_{today}.md"
    path.write_text("\n\n".join([f"# {title}", "\n".join(facts), *sections]) + "\n", encoding="utf-8")
    print(f"{path.read_text(encoding='utf-8')}\n{path}")
    return path


def get_commit(checkout: Path) -> str:
    """The commit of a checkout, with ``-dirty`` if its files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


def _read_processor() -> tuple[str, set[str]]:
    """Name and flags of the CPU, from Linux."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return facts["model name"], set(facts["flags"].split())


def _list_versions() -> list[str]:
    """The installed libraries with their versions."""
    installed = {each.name.lower() for each in importlib.metadata.distributions()}
    return [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES if name in installed]
