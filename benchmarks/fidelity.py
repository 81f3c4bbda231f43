"""Compares checkpoints with transformers, as ``keras-bert verify`` does, and writes a report with all certificates.

    python benchmarks/fidelity.py CHECKPOINT…

A checkpoint is a directory. Each takes one to three minutes on two cores.
"""

import argparse
from pathlib import Path

from report import make_table, write

from keras_bert_impl.interop.certificate import Verification
from keras_bert_impl.interop.verify import verify
from keras_bert_impl.models.heads import HEADS

HEAD_TITLES = {output.title for head in HEADS.values() for output in head.outputs.values()} - {"pooler"}


def summarize(name: str, verification: Verification) -> tuple[str, ...]:
    """The row of a checkpoint: its name, maximum differences, the range of ratios over the layers, the verdict."""
    heads = [row.largest for row in verification.rows if row.name in HEAD_TITLES]
    layers = [row for row in verification.rows if row.name not in HEAD_TITLES]
    ratios = [row.ratio for row in layers]
    return (
        name,
        f"{max(row.largest for row in layers):.1e}",
        f"{max(heads):.1e}" if heads else "–",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        "verified" if verification.passed else "**not verified**",
    )


def main() -> None:
    """Verifies each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    rows, certificates = [], []
    for path in parser.parse_args().checkpoints:
        verification = verify(path)
        rows.append(summarize(path.name, verification))
        text = str(verification).replace(f"{path}:", f"{path.name}:")  # Places differ between machines.
        certificates.append(f"## {path.name}\n\n```\n{text}\n```")
    header = ("checkpoint", "hidden states and pooler", "heads", "RMS error to float64, divided by torch's", "verdict")
    write("Published checkpoints compared with transformers", make_table(header, rows), *certificates)


if __name__ == "__main__":
    main()
