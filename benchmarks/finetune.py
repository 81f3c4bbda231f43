"""Fine-tuning MiniLM on the film snippets, in this package and in transformers on torch: time, memory, accuracy.

Each job is a process (``finetune_keras.py`` or ``finetune_torch.py``). The jobs take turns, one at a time. The machine
must do nothing else. The result of each job is saved as JSON, so that an interrupted run continues.

    python benchmarks/finetune.py CHECKPOINT keras_bert_impl/assets/movie_snippets --precision float32 --seeds 1 2 3
    python benchmarks/finetune.py CHECKPOINT keras_bert_impl/assets/movie_snippets --report

Expected time on two cores: 18 minutes a seed in float32, 12 in bfloat16. Targets: at most half of torch's time; the
95 % interval of the difference in accuracy, on validation and test together and paired by seed, above minus one point;
peak memory above that of the imports not more than torch's.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import report
from scipy import stats

_HERE = Path(__file__).parent
_PEERS = {"keras_bert_impl": "finetune_keras.py", "transformers on torch": "finetune_torch.py"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument(
        "--results", type=Path, default=_HERE / "results" / "finetune", help="directory of the JSON results"
    )
    parser.add_argument("--busy", action="store_true", help="other processes are busy: record accuracies, but no times")
    parser.add_argument(
        "--report", action="store_true", help="write the report from the recorded results, without running anything"
    )
    arguments = parser.parse_args()
    if arguments.report:
        write_report(arguments.results)
        return
    arguments.results.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        for script in _PEERS.values():
            path = arguments.results / f"{Path(script).stem}_{arguments.precision}_{seed}.json"
            if path.exists():
                continue
            command = [sys.executable, _HERE / script, arguments.checkpoint, arguments.data]
            command += ["--seed", str(seed), "--precision", arguments.precision]
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
            result = json.loads(output.splitlines()[-1]) | {"busy": arguments.busy}
            path.write_text(json.dumps(result), encoding="utf-8")
            print(f"{path.name}: {result['seconds']:.0f} s, {compute_accuracy(result):.4f}", flush=True)


def compute_accuracy(result):
    """The accuracy on validation and test together."""
    return float(np.mean(result["valid"]["right"] + result["test"]["right"]))


def write_report(results):
    """Writes the report: times of jobs without ``--busy``, memory and accuracies of all."""
    jobs = {}
    for path in sorted(results.glob("*.json")):
        script, precision, seed = path.stem.rsplit("_", 2)
        jobs.setdefault((precision, int(seed)), {})[script] = json.loads(path.read_text(encoding="utf-8"))
    pairs = {key: pair for key, pair in jobs.items() if len(pair) == 2}
    rows, ratios = [], {}
    for (precision, seed), pair in sorted(pairs.items()):
        ours, theirs = pair["finetune_keras"], pair["finetune_torch"]
        quiet = not (ours["busy"] or theirs["busy"])
        if quiet:
            ratios.setdefault(precision, []).append(ours["seconds"] / theirs["seconds"])
        rows.append(
            (
                f"{precision}, seed {seed}",
                *(f"{job['seconds']:.0f}" if quiet else "–" for job in (ours, theirs)),
                f"{ours['seconds'] / theirs['seconds']:.3f}" if quiet else "–",
                *(f"{job['megabytes']:.0f}" for job in (ours, theirs)),
                *(f"{job['padded_per_real']:.3f}" for job in (ours, theirs)),
                *(f"{compute_accuracy(job):.4f}" for job in (ours, theirs)),
            )
        )
    header = (
        "job",
        "s",
        "s torch",
        "s divided by torch's",
        "MB",
        "MB torch",
        "padded",
        "padded torch",
        "accuracy",
        "accuracy torch",
    )
    difference = np.array(
        [compute_accuracy(p["finetune_keras"]) - compute_accuracy(p["finetune_torch"]) for p in pairs.values()]
    )
    low, high = stats.t.interval(0.95, len(difference) - 1, loc=difference.mean(), scale=stats.sem(difference))
    memory = max(p["finetune_keras"]["megabytes"] / p["finetune_torch"]["megabytes"] for p in pairs.values())
    verdicts = [
        f"- Time divided by torch's, {precision}: {statistics.median(values):.3f} (median; pairs: {len(values)}; "
        "target: at most 0.5)"
        for precision, values in ratios.items()
    ]
    verdicts += [
        f"- Accuracy: {difference.mean():+.4f} in the mean of {len(difference)} pairs, 95 % interval {low:+.4f} to "
        f"{high:+.4f} (target: above -0.01)",
        f"- Peak memory above the imports, divided by torch's: at most {memory:.3f} (target: at most 1)",
    ]
    report.write(
        "Fine-tuning MiniLM on the film snippets",
        "3 epochs of 8,452 rows, batch 32, AdamW 5e-5, 10 % warm-up, linear decay, weight decay 0.01, clipping at 1. "
        "Torch: random batches, dynamic padding. This package: batches of rows of similar length. 's': seconds of "
        "training alone; a dash means that the machine did other work too. 'padded': tokens in the batches, padding "
        "included, divided by real tokens. Accuracy: on the 2,114 rows of validation and test together, after the last "
        "epoch.",
        report.make_table(header, rows),
        "\n".join(verdicts),
    )


if __name__ == "__main__":
    main()
