"""Runs the slow tests, and reports which of them passed.

    python benchmarks/slow_tests.py [PYTEST_ARGUMENT ...]

Among them are runs that are killed 50 times, training with several workers, the wheel, and all notebooks and guides.
Install their requirements with ``pip install -e ".[test]"``. It takes two hours on two cores. The exit code is that of
pytest.
"""

import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from report import get_commit, make_table, write

ROOT = Path(__file__).resolve().parent.parent
# The element in a case of a JUnit file, and the column for it.
RESULTS = {"failure": "failed", "error": "failed", "skipped": "skipped"}
COLUMNS = ("passed", "failed", "skipped", "seconds")
# A run that is killed 50 times takes longer than other tests may.
SECONDS = 3600


def run_tests(junit: Path) -> int:
    command = [sys.executable, "-m", "pytest", "--slow", "-m", "slow", "-n", "auto", "--dist", "loadfile"]
    limits = ["-o", f"faulthandler_timeout={SECONDS}", "-o", "junit_family=xunit1", f"--junitxml={junit}"]
    return subprocess.run([*command, *limits, *sys.argv[1:]], cwd=ROOT).returncode


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        junit = Path(directory) / "junit.xml"
        code = run_tests(junit)
        cases = list(ElementTree.parse(junit).iter("testcase"))
    files: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(COLUMNS, 0))
    problems = []
    for case in cases:
        (result, reason), *_ = [
            *((RESULTS[child.tag], child.get("message", "")) for child in case if child.tag in RESULTS),
            ("passed", ""),
        ]
        files[case.get("file", "")][result] += 1
        files[case.get("file", "")]["seconds"] += float(case.get("time", 0))
        if reason:
            problems.append(f"- {result}: `{case.get('file')}::{case.get('name')}`: {reason.splitlines()[0]}")
    sums = {name: sum(row[name] for row in files.values()) for name in COLUMNS}
    write(
        "The slow tests",
        f"- Commit: {get_commit(ROOT)}",
        f"- {sums['passed']:.0f} passed, {sums['failed']:.0f} failed, {sums['skipped']:.0f} skipped: "
        + ("reached" if code == 0 else "**missed**"),
        *filter(None, ["\n".join(problems)]),
        make_table(
            ("file", *COLUMNS),
            [(name, *(f"{row[column]:.0f}" for column in COLUMNS)) for name, row in sorted(files.items())],
        ),
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
