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
import json
import statistics
import subprocess
import sys
from pathlib import Path

import report
from embedding_data import format_verdict

_HERE = Path(__file__).parent
_OURS, _THEIRS = "embedding_train_keras", "embedding_train_torch"
JOBS = {"sts": "spearman", "questions": "mrr@10"}
MIN_RATIO = 1 / 0.6


def add_job_options(parser):
    """Adds the options of the scripts of both sides."""
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--job", choices=JOBS, required=True)
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
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--jobs", choices=JOBS, nargs="+", default=list(JOBS))
    parser.add_argument(
        "--results", type=Path, default=_HERE / "results" / "embedding_train", help="directory of the JSON results"
    )
    parser.add_argument("--busy", action="store_true", help="other processes are busy: record scores, but no times")
    parser.add_argument("--report", action="store_true", help="write the report from the recorded results")
    arguments = parser.parse_args()
    if arguments.report:
        write_report(arguments.results)
        return
    if not (arguments.checkpoint and arguments.sts and arguments.questions):
        parser.error("CHECKPOINT, --sts and --questions are needed, unless --report is given")
    arguments.results.mkdir(parents=True, exist_ok=True)
    options = [f"--{name}={getattr(arguments, name)}" for name in ("sts", "questions", "epochs")]
    options += [f"--batch-size={arguments.batch_size}", f"--learning-rate={arguments.learning_rate}"]
    options += [f"--limit={arguments.limit}"] if arguments.limit else []
    for seed in arguments.seeds:
        for job in arguments.jobs:
            for script in (_OURS, _THEIRS):
                path = arguments.results / f"{script}_{job}_{seed}.json"
                if path.exists():
                    continue
                command = [
                    sys.executable,
                    _HERE / f"{script}.py",
                    arguments.checkpoint,
                    "--job",
                    job,
                    "--seed",
                    str(seed),
                ]
                output = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True, text=True).stdout
                result = json.loads(output.splitlines()[-1])
                result |= {"busy": arguments.busy, "commit": report.get_commit(_HERE)}
                path.write_text(json.dumps(result), encoding="utf-8")
                print(f"{path.name}: {result['seconds']:.0f} s, {result['scores']}", flush=True)


def read_results(results):
    """Returns the pairs of results of both sides: by job, then by seed."""
    pairs = {job: {} for job in JOBS}
    for path in sorted(results.glob(f"{_OURS}_*.json")):
        job, seed = path.stem.removeprefix(f"{_OURS}_").rsplit("_", 1)
        other = results / f"{_THEIRS}_{job}_{seed}.json"
        if other.exists():
            pairs[job][int(seed)] = [json.loads(each.read_text(encoding="utf-8")) for each in (path, other)]
    return {job: seeds for job, seeds in pairs.items() if seeds}


def format_range(scores):
    """The median, the lowest and the highest score of the seeds."""
    return f"{statistics.median(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})"


def write_report(results):
    """Writes the report: times of jobs without ``--busy``, memory and scores of all."""
    verdicts, rows, commits = [], [], set()
    for job, seeds in read_results(results).items():
        metric, ratios = JOBS[job], []
        for seed, (ours, theirs) in sorted(seeds.items()):
            commits |= {ours["commit"], theirs["commit"]}
            quiet = not (ours["busy"] or theirs["busy"])
            if quiet:
                ratios.append(theirs["seconds"] / ours["seconds"])
            rows.append(
                (
                    f"{job}, seed {seed}",
                    *(f"{side['seconds']:.0f}" if quiet else "–" for side in (ours, theirs)),
                    f"{ratios[-1]:.2f}" if quiet else "–",
                    *(f"{side['megabytes']:.0f}" for side in (ours, theirs)),
                    *(str(side["steps"]) for side in (ours, theirs)),
                    *(f"{side['loss']:.4f}" for side in (ours, theirs)),
                    *(f"{side['scores'][metric]:.4f}" for side in (ours, theirs)),
                )
            )
        if ratios:
            ratio = statistics.median(ratios)
            verdicts.append(
                format_verdict(
                    f"{job}: {ratio:.2f} times as fast as sentence-transformers (median of {len(ratios)} seeds), at "
                    f"least {MIN_RATIO:.2f}",
                    ratio >= MIN_RATIO,
                )
            )
        own, others = ([pair[side]["scores"][metric] for pair in seeds.values()] for side in (0, 1))
        verdicts.append(
            format_verdict(
                f"{job}: {metric} {format_range(own)}, sentence-transformers {format_range(others)}",
                statistics.median(own) >= min(others),
            )
        )
    sides = [
        name for pair in ("s", "MB", "steps", "last loss", "score") for name in (pair, f"{pair}, sentence-transformers")
    ]
    header = ("job", *sides[:2], "times as fast", *sides[2:])
    report.write(
        "Training all-MiniLM-L6-v2 as an embedding model",
        "\n".join(verdicts),
        "4 epochs, batch 32, AdamW 2e-5, 10 % warm-up, linear decay, weight decay 0.01, clipping at 1, dropout. 's': "
        "seconds of training, tokenization included; a dash means that the machine did other work too. 'MB': peak "
        "memory above that of the imports. 'score': Spearman on STS-B dev, MRR@10 of the held-out questions, after the "
        f"last epoch. The verdicts have the median of the seeds, and their range. Commits of the jobs: "
        f"{', '.join(sorted(commits))}.",
        report.make_table(header, rows),
    )


if __name__ == "__main__":
    main()
