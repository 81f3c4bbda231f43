"""Writes the tables of ``README.md``, ``benchmarks/README.md`` and two pages of ``docs`` from ``benchmarks/reports``.

    python benchmarks/summarize.py

A ratio is the peer's time divided by the time of this package: above 1 means that this package is faster. Each row is
read from the newest report of its script. A test compares the files with what this script writes.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "benchmarks" / "reports"

# Script: the date of the report to read, if other processes distorted the times of the newest one.
DATES = {"pretrain_step": "2026-11-22"}

# The peers of the columns in README.md.
COLUMNS = ("KerasHub", "torch", "ONNX Runtime", "OpenVINO")


@dataclass(frozen=True)
class Comparison:
    """One row: the times of this package and of its peers, in the tables of one report.

    Attributes:
        job: what was measured, as shown in the tables.
        script: the benchmark's name.
        ours: the row of this package in the report, ``ROW`` or ``ROW|COLUMN`` (default: the first column of numbers).
        peers: name of a peer to its row, in the same form.
        section: the report's heading above the table; empty if the report has no headings.
        in_readme: whether the row is also in README.md.
    """

    job: str
    script: str
    ours: str
    peers: dict[str, str]
    section: str = ""
    in_readme: bool = field(default=False, kw_only=True)


def _map_peers(*names: str, **others: str) -> dict[str, str]:
    """Peers whose rows in the report have the same names, and ``others``."""
    return {**{name: name for name in names}, **others}


_FAST_TORCH = {"torch": "torch, fused AdamW"}
_BASE, _MINILM = "BERT-base, 8 × 128 tokens", "MiniLM, 32 × 32 tokens"
COMPARISONS = (
    Comparison(
        f"inference, {_BASE}, float32",
        "inference",
        "keras_bert_impl",
        _map_peers("KerasHub", "torch", "ONNX Runtime", "OpenVINO"),
        "float32",
        in_readme=True,
    ),
    Comparison(
        f"inference, {_BASE}, bfloat16",
        "inference",
        "keras_bert_impl",
        _map_peers("KerasHub", "torch", "OpenVINO"),
        "bfloat16",
        in_readme=True,
    ),
    *(
        Comparison(
            f"training step, {size}, {precision}",
            "train_step",
            "keras_bert_impl",
            _map_peers("KerasHub", **_FAST_TORCH),
            f"{size}, {precision}",
            in_readme=size == _BASE,
        )
        for size in (_BASE, _MINILM)
        for precision in ("float32", "bfloat16")
    ),
    *(
        Comparison(
            f"fine-tuning MiniLM on 8,452 film snippets, 3 epochs, {precision}",
            "finetune",
            f"{precision}, seed 1|s",
            {"torch": f"{precision}, seed 1|s torch"},
            in_readme=precision == "float32",
        )
        for precision in ("float32", "bfloat16")
    ),
    *(
        Comparison(
            f"pretraining step, BERT-{size} tokens, {precision}",
            "pretrain_step",
            "keras_bert_impl",
            _map_peers("torch"),
            f"{size} tokens, {precision}",
        )
        for size in ("base, 8 × 128", "tiny, 64 × 128")
        for precision in ("float32", "bfloat16")
    ),
    Comparison(
        "one sentence through an export of MiniLM",
        "serving",
        "one sentence: SavedModel",
        {"torch": "one sentence: transformers on torch", "ONNX Runtime": "one sentence: ONNX Runtime"},
        in_readme=True,
    ),
    Comparison(
        "10,000 sentences of novels through a MiniLM classifier",
        "mixed_lengths",
        "10,000 sentences: this package",
        {
            "torch": "10,000 sentences: torch, sorted by length",
            "torch, not sorted": "10,000 sentences: torch, in the input's order",
        },
        in_readme=True,
    ),
    Comparison(
        "vectors of 10,000 sentences of novels with all-MiniLM-L6-v2",
        "embedding_encode",
        "10,000 sentences: keras_bert_impl",
        {"torch": "10,000 sentences: sentence-transformers, 32 rows"},
        in_readme=True,
    ),
    Comparison(
        "the vector of one sentence with all-MiniLM-L6-v2",
        "embedding_encode",
        "one sentence: keras_bert_impl",
        {"torch": "one sentence: sentence-transformers, 32 rows"},
    ),
    *(
        Comparison(
            f"the ONNX file of this package in ONNX Runtime, {size} tokens",
            "serving",
            f"ONNX Runtime, {size}, exported by: this package",
            {"the file that torch writes": f"ONNX Runtime, {size}, exported by: torch"},
        )
        for size in ("1 × 16", "8 × 128")
    ),
    *(
        Comparison(
            f"the OpenVINO file of this package in OpenVINO, {size} tokens",
            "serving",
            f"OpenVINO, {size}, exported by: this package",
            {"the file made from torch": f"OpenVINO, {size}, exported by: torch"},
        )
        for size in ("1 × 16", "8 × 128")
    ),
    *(
        Comparison(
            f"the exported tokenizer alone, {batch} texts",
            "in_graph_speed",
            f"{batch}: in the graph",
            {"KerasHub": f"{batch}: KerasHub", "Rust tokenizers": f"{batch}: Rust"},
        )
        for batch in (32, 256)
    ),
    Comparison(
        "preparing a corpus of 63 MB, two processes",
        "pretrain_data",
        "prepare, 2",
        {"Rust tokenizers, tokenization alone": "Rust, 2"},
    ),
)

# The time or memory of parts of this package, with and without them. ``{ROW|COLUMN}`` is a cell of the report.
COSTS = (
    ("`model.predict`, 32 batches of 8 × 128, BERT-base", "predict", "{predict}; the bare function {bare function}"),
    (
        "an export of BERT-base, 8 × 128, by precision",
        "serving",
        "float32 {BERT-base, 8 × 128: float32}; bfloat16 {BERT-base, 8 × 128: bfloat16}; "
        "int8 {BERT-base, 8 × 128: int8}",
    ),
    (
        "`--remat`, a training step of BERT-base, 32 × 128",
        "training_memory",
        "{32 rows, recomputed} and {recomputed}; without it {32 rows} and {kept}",
    ),
    (
        "`--accumulate 8`, peak memory of a training step of BERT-base, 256 × 128",
        "training_memory",
        "{256 rows in 8 parts}; 32 rows without it {32 rows}",
    ),
    (
        "two workers with one core each, a training step of BERT-base, 32 × 128",
        "workers",
        "{BERT-base: two workers, a core each}; one process with both cores {BERT-base: one process, two cores}",
    ),
    (
        "saving the state once a minute, BERT-base",
        "saving",
        "{BERT-base|s a state costs} for each state of {BERT-base|MB}",
    ),
    (
        "packed rows of 512 tokens, short documents",
        "pretrain_packing",
        "{packed|real tokens/s} real tokens a second; padded rows {padded|real tokens/s}",
    ),
    (
        "attributions for 32 snippets, 50 steps, MiniLM",
        "attributions",
        "{attributions}; the gradient passes alone {bare}",
    ),
    (
        "opening the attention page, 12 layers × 12 heads × 128 tokens",
        "attention_view",
        "{128 tokens, open: all maps} until all maps are drawn; {128 tokens, click on a map} for a click",
    ),
    ("`keras-bert --help`", "startup", "{keras-bert --help}"),
)


def get_script(report: Path) -> str:
    """The name of the script that wrote a report."""
    return report.stem.rsplit("_", 2)[0]


@cache
def find_report(script: str) -> Path:
    """The newest report of a script, or that of the date in ``DATES``."""
    found = REPORTS.glob(f"{script}_*_{DATES.get(script, '*')}.md")
    # `finetune_*` also finds the reports of `finetune_tasks.py`.
    reports = sorted((path for path in found if get_script(path) == script), key=lambda path: path.stem[-10:])
    if not reports:
        raise FileNotFoundError(f"{REPORTS} has no report of {script}.py; run it first")
    return reports[-1]


def read_tables(script: str, section: str = "") -> list[list[list[str]]]:
    """The tables below a heading of a report, or all of them: rows of cells, the header first."""
    text = find_report(script).read_text(encoding="utf-8")
    if section:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    tables = []
    for lines in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        header, _, *rows = ([part.strip() for part in line.strip("|").split("|")] for line in lines.splitlines())
        tables.append([header, *rows])
    return tables


def read_cell(script: str, place: str, section: str = "") -> tuple[float, str]:
    """The number in one cell of a report's tables, and its column's heading.

    Args:
        script: the benchmark's name.
        place: ``ROW`` or ``ROW|COLUMN``; without a column the first one after the row's name. If a row's name takes
            two columns, ``ROW`` is ``FIRST: SECOND``.
        section: the heading above the table; empty searches the whole report.
    """
    row, _, column = place.partition("|")
    for header, *rows in read_tables(script, section):
        for cells in rows:
            if row in (cells[0], ": ".join(cells[:2])) and (not column or column in header):
                index = header.index(column) if column else 1 if row == cells[0] else 2
                return float(cells[index].split(" ")[0].replace(",", "")), header[index]
    raise KeyError(f"{find_report(script).name} has no row {row!r} with a column {column!r}")


def read_seconds(script: str, place: str, section: str = "") -> float:
    """The time in one cell of a report, in seconds."""
    value, heading = read_cell(script, place, section)
    unit = heading.split(",")[0].split(" ")[0]
    return value / {"s": 1, "ms": 1000}[unit]


def format_seconds(value: float) -> str:
    """Seconds or milliseconds, with two or three digits."""
    if value < 1:
        return f"{value * 1000:.{int(value < 0.01)}f} ms"
    return f"{value:.{int(value < 100)}f} s"


def read_our_time(comparison: Comparison) -> float:
    """The time of this package, in seconds."""
    return read_seconds(comparison.script, comparison.ours, comparison.section)


def compute_ratios(comparison: Comparison) -> dict[str, float]:
    """Peer: its time divided by the time of this package."""
    ours = read_our_time(comparison)
    return {
        peer: read_seconds(comparison.script, place, comparison.section) / ours
        for peer, place in comparison.peers.items()
    }


def format_cell(script: str, place: str) -> str:
    """A cell of a report with its unit."""
    value, heading = read_cell(script, place)
    if heading == "MB":
        return f"{value / 1000:.1f} GB"
    if heading.split(",")[0].split(" ")[0] in ("s", "ms"):
        return format_seconds(read_seconds(script, place))
    return f"{value:,.0f}"


def make_table(*rows: tuple[str, ...]) -> str:
    """A Markdown table; the first row is its header."""
    header, *others = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *others))


def make_readme_table() -> str:
    """The speed table of README.md."""
    rows = []
    for comparison in COMPARISONS:
        if comparison.in_readme:
            ratios = compute_ratios(comparison)
            shown = (f"{ratios[peer]:.2f}" if peer in ratios else "–" for peer in COLUMNS)
            rows.append((comparison.job, format_seconds(read_our_time(comparison)), *shown))
    return make_table(("job", "time", *COLUMNS), *rows)


def make_link(script: str) -> str:
    """A link from ``docs/`` to a report."""
    return f"[{script}](../benchmarks/reports/{find_report(script).name})"


def make_performance_tables() -> dict[str, str]:
    """The tables in docs/performance.md, by the name of their markers."""
    comparisons = [
        (
            comparison.job,
            format_seconds(read_our_time(comparison)),
            "; ".join(f"{peer} {ratio:.2f}" for peer, ratio in compute_ratios(comparison).items()),
            make_link(comparison.script),
        )
        for comparison in COMPARISONS
    ]
    costs = [
        (
            what,
            re.sub(r"\{([^}]+)\}", lambda place, script=script: format_cell(script, place[1]), text),
            make_link(script),
        )
        for what, script, text in COSTS
    ]
    return {
        "comparisons": make_table(("job", "time", "ratio to each peer", "report"), *comparisons),
        "costs": make_table(("part", "measured", "report"), *costs),
    }


def make_targets_table() -> str:
    """The table of benchmarks/README.md: every target in the newest report of each script."""
    rows = []
    for script in sorted(set(map(get_script, REPORTS.glob("*.md")))):
        report = find_report(script)
        for line in report.read_text(encoding="utf-8").splitlines():
            if found := re.fullmatch(r"- (.+?)(?: –|:) (reached|\*\*missed\*\*|\*\*undecided\*\*)(?:, .+)?", line):
                target, verdict = found.groups()
                ratio = re.fullmatch(r"(.+): ([\d.]+ \([\d.]+ to [\d.]+\))", target)
                link = f"[{script}](reports/{report.name})"
                rows.append((*(ratio.groups() if ratio else (target, "–")), verdict, link))
    return make_table(("target", "ratio (quartiles)", "verdict", "report"), *rows)


def make_readme_fidelity_table() -> str:
    """The row on fidelity in README.md: the largest differences and the range of ratios of all checkpoints."""
    [[header, *rows]] = read_tables("fidelity")
    ratios = [float(ratio) for row in rows for ratio in row[3].split(" to ")]
    return make_table(
        ("", "checkpoints", "max. absolute difference to transformers", header[3]),
        (
            "hidden states",
            f"[{len(rows)} published checkpoints](docs/fidelity.md)",
            f"{max(float(row[1]) for row in rows):.1e}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
        ),
    )


def make_fidelity_table() -> str:
    """The table in docs/fidelity.md: the report's table without its verdicts, followed by a link to the report."""
    [rows] = read_tables("fidelity")
    table = make_table(*(tuple(row[:-1]) for row in rows))
    return f"{table}\n\nThe report lists every layer: {make_link('fidelity')}."


def replace_tables(page: str, tables: dict[str, str]) -> str:
    """The page with the tables between ``<!-- NAME: … -->`` and ``<!-- end -->`` replaced."""
    for name, content in tables.items():
        page, count = re.subn(
            rf"(<!-- {name}: [^\n]* -->\n+).*?(\n+<!-- end -->)",
            lambda match, content=content: f"{match[1]}{content}{match[2]}",
            page,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"the page has {count} markers '<!-- {name}: … -->', expected one")
    return page


PAGES = {
    "README.md": lambda: {"fidelity": make_readme_fidelity_table(), "speed": make_readme_table()},
    "benchmarks/README.md": lambda: {"targets": make_targets_table()},
    "docs/performance.md": make_performance_tables,
    "docs/fidelity.md": lambda: {"fidelity": make_fidelity_table()},
}


def main() -> None:
    """Writes the tables."""
    for name, tables in PAGES.items():
        path = ROOT / name
        path.write_text(replace_tables(path.read_text(encoding="utf-8"), tables()), encoding="utf-8")


if __name__ == "__main__":
    main()
