"""How fast the command and the import are.

    python benchmarks/startup.py            # three minutes on two cores

Every time is the median over processes of its own, one of each kind per round.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from report import table, write

# The imports before the measurement, and the imports that are timed.
IMPORTS = {
    "import keras": ("", "import keras"),
    "import keras_bert_impl, after Keras": ("import keras", "import keras_bert_impl"),
    "BertModel and BertTokenizer, after Keras": (
        "import keras",
        "from keras_bert_impl import BertModel, BertTokenizer",
    ),
}
LIMITS = {"keras-bert --help": 0.5, "import keras_bert_impl, after Keras": 0.3}


def seconds_of_help() -> float:
    """One run of the command as a process."""
    command = [Path(sys.executable).with_name("keras-bert"), "--help"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def seconds_of_import(before: str, timed: str) -> float:
    """An import, measured inside a new process."""
    code = f"import time\n{before}\nstart = time.perf_counter()\n{timed}\nprint(time.perf_counter() - start)"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return float(done.stdout)


def one_round() -> dict[str, float]:
    """Measures everything once."""
    imports = {name: seconds_of_import(*statements) for name, statements in IMPORTS.items()}
    return {"keras-bert --help": seconds_of_help(), **imports}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()

    one_round()  # compiles the byte code and fills the page cache
    rounds = [one_round() for _ in range(arguments.rounds)]
    figures = {name: [each[name] for each in rounds] for name in rounds[0]}
    medians = {name: statistics.median(values) for name, values in figures.items()}
    verdicts = [
        f"- {name} in under {limit} s: {medians[name]:.3f} s – {'reached' if medians[name] < limit else '**missed**'}"
        for name, limit in LIMITS.items()
    ]
    rows = [
        (name, f"{medians[name]:.3f}", f"{min(values):.3f}", f"{max(values):.3f}") for name, values in figures.items()
    ]
    write(
        "Start of the command and the import", "\n".join(verdicts), table(("what", "s, median", "least", "most"), rows)
    )


if __name__ == "__main__":
    main()
