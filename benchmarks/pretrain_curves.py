"""Masked loss on held-out documents after the same time of pretraining, in this package and in transformers on torch.

    python benchmarks/pretrain_curves.py SHARDS               # 45 minutes on two cores

Both train the size tiny on 95 % of the documents for 20 minutes, with rows of 128 tokens, AdamW with a learning rate of
1e-3, 5 % warm-up and linear decay over the time, no dropout, in float32. Torch: transformers' `BertForPreTraining`,
segment pairs made once and padded, masked again in each epoch by its `DataCollatorForLanguageModeling`, fused AdamW.
This package: packed rows. Both are evaluated on the same batches of the other documents, in which this package masked
single tokens, as the collator does. The jobs (``pretrain_curves_keras.py``, ``pretrain_curves_torch.py``) run one after
the other; their results are saved as JSON.
"""

import argparse
import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import report

_HERE = Path(__file__).parent
PEERS = {"keras_bert_impl": "pretrain_curves_keras.py", "transformers on torch": "pretrain_curves_torch.py"}
# Settings of both jobs.
LENGTH, ROWS, RATE, WARMUP, HELD_OUT, SEED = 128, 32, 1e-3, 0.05, 0.05, 1
EVALUATED = 40


def split_corpus(corpus: Any) -> tuple[Any, Any]:
    """The documents to train on, and the evaluation batches of the other documents."""
    from keras_bert_impl.data import Objective, PretrainingBatches

    documents, held_out = corpus.split_documents(HELD_OUT, seed=SEED)
    objective = Objective(max_length=LENGTH, whole_words=False)
    batches = PretrainingBatches(
        corpus, documents=held_out, batch_size=ROWS, objective=objective, seed=SEED, steps=EVALUATED
    )
    return documents, batches


def draw(path: Path, jobs: dict[str, Any]) -> None:
    """Draws both curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (name, job), color, marker in zip(jobs.items(), ("#0072B2", "#D55E00"), ("o", "s"), strict=True):
        minutes = [entry["minutes"] for entry in job["history"]]
        losses = [entry["masked_loss"] for entry in job["history"]]
        axes.plot(minutes, losses, color=color, marker=marker, markersize=3, label=name)
        axes.annotate(f"{losses[-1]:.3f}", (minutes[-1], losses[-1]), xytext=(4, 0), textcoords="offset points")
    axes.set(
        title="Cross entropy of masked tokens in held-out documents",
        xlabel="minutes of training on two cores",
        ylabel="nats per token",
    )
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--results", type=Path, default=_HERE / "results" / "pretrain_curves")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    # Results of another corpus are not reused.
    corpus = zlib.crc32((arguments.shards / "manifest.json").read_bytes())
    jobs = {}
    for name, script in PEERS.items():
        path = arguments.results / f"{Path(script).stem}_{corpus}_{arguments.minutes:g}.json"
        if not path.exists():
            command = [sys.executable, _HERE / script, arguments.shards, "--minutes", str(arguments.minutes)]
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
            path.write_text(output.splitlines()[-1], encoding="utf-8")
        jobs[name] = json.loads(path.read_text(encoding="utf-8"))
    ours, theirs = (job["history"][-1] for job in jobs.values())
    verdict = "reached" if ours["masked_loss"] < theirs["masked_loss"] else "**missed**"
    rows = [
        (
            name,
            f"{job['steps']:,}",
            f"{job['history'][-1]['minutes']:.1f}",
            f"{job['history'][-1]['masked_loss']:.3f}",
            f"{job['history'][-1]['masked_accuracy']:.3f}",
            f"{job['history'][-1]['next_sentence_accuracy']:.3f}",
        )
        for name, job in jobs.items()
    ]
    header = ("peer", "steps", "minutes", "masked loss", "masked accuracy", "next-sentence accuracy")
    path = report.write(
        "Pretraining for the same time",
        f"- held-out masked loss {ours['masked_loss']:.3f}, lower than torch's {theirs['masked_loss']:.3f}: {verdict}",
        report.make_table(header, rows),
        "![the losses over the time](PICTURE)",
    )
    picture = path.with_suffix(".png")
    draw(picture, jobs)
    path.write_text(path.read_text(encoding="utf-8").replace("PICTURE", picture.name), encoding="utf-8")


if __name__ == "__main__":
    main()
