"""Runs the slow tests, and reports which of them passed.

    python benchmarks/slow_tests.py [PYTEST_ARGUMENT ...]

They include tests of runs that are killed 50 times, of training with several workers, of the wheel, and of all
notebooks and guides. Install the requirements of the tests with ``pip install -e ".[test]"``. It takes about two hours
on two cores (estimated). The exit code is that of pytest.
"""

import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from report import get_commit, make_table, write

ROOT = Path(__file__).resolve().parent.parent
# The column that counts each kind of element in a test case of a JUnit file.
RESULTS = {"failure": "failed", "error": "failed", "skipped": "skipped"}
COLUMNS = ("passed", "failed", "skipped", "seconds")
# Seconds for one test. 50 kills, or three epochs without AVX-512, take longer than the 900 seconds in pyproject.toml.
TIME_LIMIT = 3600


def run_tests(junit: Path) -> int:
    command = [sys.executable, "-m", "pytest", "--slow", "-m", "slow", "-n", "auto", "--dist", "loadfile"]
    limits = ["-o", f"faulthandler_timeout={TIME_LIMIT}", "-o", "junit_family=xunit1", f"--junitxml={junit}"]
    return subprocess.run([*command, *limits, *sys.argv[1:]], cwd=ROOT).returncode


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        junit = Path(directory) / "junit.xml"
        code = run_tests(junit)
        if not junit.exists():  # pytest ran no test, and printed the reason.
            return code
        cases = list(ElementTree.parse(junit).iter("testcase"))
    files: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(COLUMNS, 0))
    problems = []
    for case in cases:
        row = files[case.get("file", "")]
        row["seconds"] += float(case.get("time", 0))
        problem = next((child for child in case if child.tag in RESULTS), None)
        result = "passed" if problem is None else RESULTS[problem.tag]
        row[result] += 1
        if problem is not None:
            [reason, *_] = problem.get("message", "").splitlines() or [""]
            problems.append(f"- {result}: `{case.get('file')}::{case.get('name')}`: {reason}")
    sums = {name: sum(row[name] for row in files.values()) for name in COLUMNS}
    write(
        "The slow tests",
        f"- Commit: {get_commit(ROOT)}",
        f"- {sums['passed']:.0f} passed, {sums['failed']:.0f} failed, {sums['skipped']:.0f} skipped: "
        + ("reached" if code == 0 else "**missed**"),
        *(["\n".join(problems)] if problems else []),
        make_table(
            ("file", *COLUMNS),
            [(name, *(f"{row[column]:.0f}" for column in COLUMNS)) for name, row in sorted(files.items())],
        ),
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
