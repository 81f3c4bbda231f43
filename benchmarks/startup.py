"""The time of the command ``keras-bert --help`` and of the import.

    python benchmarks/startup.py            # three minutes on two cores

Every time is the median over new processes, one of each kind per round.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from report import make_table, write

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


def time_help() -> float:
    """The seconds of one run of the command."""
    command = [Path(sys.executable).with_name("keras-bert"), "--help"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def time_import(before: str, timed: str) -> float:
    """The seconds of an import, measured in a new process."""
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


def measure_round() -> dict[str, float]:
    """Measures each command and import once; seconds by name."""
    imports = {name: time_import(*statements) for name, statements in IMPORTS.items()}
    return {"keras-bert --help": time_help(), **imports}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()

    measure_round()  # compiles the byte code and fills the page cache
    rounds = [measure_round() for _ in range(arguments.rounds)]
    seconds = {name: [each[name] for each in rounds] for name in rounds[0]}
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    verdicts = [
        f"- {name} in under {limit} s: {medians[name]:.3f} s – {'reached' if medians[name] < limit else '**missed**'}"
        for name, limit in LIMITS.items()
    ]
    rows = [
        (name, f"{medians[name]:.3f}", f"{min(values):.3f}", f"{max(values):.3f}") for name, values in seconds.items()
    ]
    write(
        "Start of the command and the import",
        "\n".join(verdicts),
        make_table(("what", "s, median", "min.", "max."), rows),
    )


if __name__ == "__main__":
    main()
