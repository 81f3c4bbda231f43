"""A training step of a classifier with and without oneDNN, which ``TF_ENABLE_ONEDNN_OPTS`` switches on or off.

    python benchmarks/onednn.py         # five minutes on two cores

TensorFlow's default is 1 on processors with AVX-512 (VNNI), and 0 on other x86 processors. The commands of this package
set it to 1.
"""

import argparse

from interleave import Peer, run
from report import describe_load, make_comparison_table, write
from train_step import SIZES, count_gigaflop, make_keras_bert

_ON, _OFF = "with oneDNN", "without oneDNN"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    sections, runs = [], []
    for name, (size, shape, calls) in SIZES.items():
        same = {"size": size, "shape": shape, "precision": "float32"}
        peers = [
            Peer(side, make_keras_bert, same, calls, {"TF_ENABLE_ONEDNN_OPTS": value})
            for side, value in ((_ON, "1"), (_OFF, "0"))
        ]
        series = run(peers, rounds=arguments.rounds, warm_up=1)
        runs.append(series)
        table = make_comparison_table(series, ours=_ON, gigaflop=count_gigaflop(size, shape))
        sections.append(f"## Training step, {name}, {shape[0]} × {shape[1]} tokens, float32\n\n{table}")
    write("oneDNN in TensorFlow", describe_load(*runs), *sections)


if __name__ == "__main__":
    main()
