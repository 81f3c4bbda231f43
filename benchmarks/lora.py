"""LoRA compared with full fine-tuning: accuracy, time, the optimizer's memory and the size of the adapter.

    python benchmarks/lora.py CHECKPOINT keras_bert_impl/assets/movie_snippets

Each job is a process, one after the other. Its result is saved as JSON, so that an interrupted measurement continues.
Targets: the mean accuracy over the seeds, on validation and test together, is at most one point below that of full
fine-tuning; the optimizer's variables take at most a tenth of the memory; the adapter takes less than 1 MB.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from embedding_data import format_verdict
from report import make_table, write

_HERE = Path(__file__).parent
# LoRA needs a higher learning rate. Both are usual values; neither was tuned.
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {"learning_rate": 5e-5},
    "lora": {"learning_rate": 5e-4, "lora_rank": 8, "lora_alpha": 16.0},
}


def run_job(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fine-tunes once; returns the accuracies, seconds and bytes."""
    from keras_bert_impl import BertForSequenceClassification
    from keras_bert_impl.data import read_table
    from keras_bert_impl.training import FineTuningSettings, finetune
    from keras_bert_impl.training.optimizers import make_optimizer
    from keras_bert_impl.training.trainable import choose_trainable

    settings = FineTuningSettings(seed=seed, epochs=arguments.epochs, **SETTINGS[name])
    splits = {split: read_table(arguments.data / f"{split}.tsv") for split in ("train", "valid", "test")}
    data = {
        split: {column: values[: arguments.limit] for column, values in columns.items()}
        for split, columns in splits.items()
    }
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch, "run")
        metrics = finetune(
            arguments.checkpoint, **data, output=run, settings=settings, log=lambda line: print(line, file=sys.stderr)
        )
        adapter = run / "adapter" / "adapter_model.safetensors"
        adapter_bytes = adapter.stat().st_size if adapter.is_file() else 0
        model_bytes = (run / "model.safetensors").stat().st_size
    labels = {"id2label": dict(enumerate(metrics["labels"]))}
    model = BertForSequenceClassification.from_pretrained(arguments.checkpoint, **labels)
    choose_trainable(model, settings)
    optimizer = make_optimizer(settings, steps=None)
    optimizer.build(model.trainable_variables)
    return {
        "right": sum(round(metrics[split]["accuracy"] * metrics["examples"][split]) for split in ("valid", "test")),
        "rows": sum(metrics["examples"][split] for split in ("valid", "test")),
        "best_epoch": metrics["best_epoch"],
        "seconds": metrics["seconds"],
        "trained": sum(math.prod(variable.shape) for variable in model.trainable_variables),
        "optimizer_bytes": sum(4 * math.prod(variable.shape) for variable in optimizer.variables),
        "adapter_bytes": adapter_bytes,
        "model_bytes": model_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="directory with train.tsv, valid.tsv and test.tsv")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, help="number of rows of each file, from the first")
    parser.add_argument("--results", type=Path, default=_HERE / "results" / "lora", help="directory of JSON results")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(run_job(arguments.job, arguments.seeds[0], arguments)))
        return
    arguments.results.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in SETTINGS}
    for seed in arguments.seeds:
        for name in SETTINGS:
            path = arguments.results / f"{name}_{seed}_{arguments.epochs}_{arguments.limit or 'all'}.json"
            if not path.exists():
                command = [sys.executable, __file__, arguments.checkpoint, arguments.data, "--job", name]
                command += ["--seeds", str(seed), "--epochs", str(arguments.epochs)]
                command += ["--limit", str(arguments.limit)] if arguments.limit else []
                output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
                path.write_text(output.splitlines()[-1], encoding="utf-8")
            results[name].append(json.loads(path.read_text(encoding="utf-8")))
    write_report(arguments, results)


def write_report(arguments: argparse.Namespace, results: dict[str, list[dict[str, Any]]]) -> None:
    """Writes the report."""

    def find_mean(name: str) -> float:
        return statistics.mean(result["right"] / result["rows"] for result in results[name])

    full, lora = results["full"][0], results["lora"][0]
    difference = find_mean("lora") - find_mean("full")
    memory = lora["optimizer_bytes"] / full["optimizer_bytes"]
    rows = [
        (
            f"{name}, seed {seed}",
            f"{result['right'] / result['rows']:.4f}",
            str(result["best_epoch"]),
            f"{result['seconds']:.0f}",
        )
        for name, jobs in results.items()
        for seed, result in zip(arguments.seeds, jobs, strict=True)
    ]
    sizes = [
        (
            name,
            f"{result['trained']:,}",
            f"{result['optimizer_bytes'] / 1e6:.1f}",
            f"{(result['adapter_bytes'] or result['model_bytes']) / 1e6:.2f}",
        )
        for name, result in (("full", full), ("lora", lora))
    ]
    settings = "; ".join(f"{name}: {values}" for name, values in SETTINGS.items())
    write(
        "LoRA on the film snippets",
        "\n".join(
            [
                format_verdict(
                    f"the mean accuracy with LoRA differs by {difference:+.4f} (target: above -0.01)",
                    difference > -0.01,
                ),
                format_verdict(f"the optimizer's memory is {memory:.3f} of that of all weights", memory <= 0.1),
                format_verdict(
                    f"the adapter takes {lora['adapter_bytes'] / 1e6:.2f} MB (target: below 1)",
                    lora["adapter_bytes"] < 1e6,
                ),
            ]
        ),
        f"{arguments.epochs} epochs, batch 32, the epoch with the best validation accuracy. Settings of {settings}. "
        f"Accuracy: on the {full['rows']:,} rows of validation and test together. 's': seconds of training and "
        "validation.",
        make_table(("job", "accuracy", "best epoch", "s"), rows),
        make_table(("job", "trained parameters", "optimizer, MB", "file, MB"), sizes),
    )


if __name__ == "__main__":
    main()
