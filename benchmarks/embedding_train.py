"""Training of all-MiniLM-L6-v2 in this package and in sentence-transformers: time, memory and scores.

    python benchmarks/embedding_train.py CHECKPOINT --sts DIRECTORY --questions xquad.en.json --seeds 1 2 3
    python benchmarks/embedding_train.py --report

Two jobs: ``sts`` trains on the scored pairs of STS-B (CoSENT, 5,749 pairs), and ``questions`` on pairs of a question
and its paragraph (multiple negatives ranking without duplicates in a batch; 40 articles of XQuAD, 8 are held out).
Both: 4 epochs, batch 32, AdamW 2e-5, 10 % warm-up, linear decay, weight decay 0.01, clipping at 1, dropout, texts of at
most 256 tokens. Each job is a process (``embedding_train_keras.py`` or ``embedding_train_torch.py``); the jobs take
turns. The machine must do nothing else. The result of each job is saved as JSON, so that an interrupted run continues.

Targets: at least 1 / 0.6 times as fast as sentence-transformers; the median of the scores on the development data is
not below the lowest score of sentence-transformers.
"""

import argparse
from pathlib import Path

from paired_jobs import PairedJobs

JOBS = PairedJobs(
    ("embedding_train_keras", "embedding_train_torch"),
    {"sts": "spearman", "questions": "mrr@10"},
    peer="sentence-transformers",
    min_ratio=1 / 0.6,
)


def add_job_options(parser):
    """Adds the options of the scripts of both sides."""
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--job", choices=JOBS.jobs, required=True)
    add_data_options(parser)
    parser.add_argument("--seed", type=int, default=1)


def add_data_options(parser):
    """Adds the options that all jobs have in common."""
    parser.add_argument("--sts", type=Path, help="directory with stsb-en-train.csv and stsb-en-dev.csv")
    parser.add_argument("--questions", type=Path, help="xquad.en.json")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--limit", type=int, help="number of training pairs, from the first")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?")
    add_data_options(parser)
    JOBS.add_options(parser)
    arguments = parser.parse_args()
    if arguments.report:
        JOBS.write_report(
            arguments.results,
            "Training all-MiniLM-L6-v2 as an embedding model",
            "4 epochs, batch 32, AdamW 2e-5, 10 % warm-up, linear decay, weight decay 0.01, clipping at 1, dropout. "
            "The time includes tokenization. 'score': Spearman on STS-B dev, MRR@10 of held-out questions, after the "
            "last epoch.",
        )
        return
    if not (arguments.checkpoint and arguments.sts and arguments.questions):
        parser.error("CHECKPOINT, --sts and --questions are needed, unless --report is given")
    options = [str(arguments.checkpoint)]
    options += [f"--{name}={getattr(arguments, name)}" for name in ("sts", "questions", "epochs")]
    options += [f"--batch-size={arguments.batch_size}", f"--learning-rate={arguments.learning_rate}"]
    options += [f"--limit={arguments.limit}"] if arguments.limit else []
    JOBS.run(arguments, options)


if __name__ == "__main__":
    main()
