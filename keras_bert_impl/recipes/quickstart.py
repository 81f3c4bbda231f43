"""The quickstart: end to end on real data, in one function."""

import json
import subprocess
import sys
from pathlib import Path

from keras_bert_impl.errors import InputError
from keras_bert_impl.export import export_model, find_format
from keras_bert_impl.export.saved_model import check_version
from keras_bert_impl.files import SNIPPETS, read_json, require_empty
from keras_bert_impl.recipes.material import fetch_checkpoint
from keras_bert_impl.training import FineTuningSettings, finetune

SENTENCES = (
    "A quiet, funny and deeply moving film.",
    "A dull and predictable waste of two hours.",
    "The plot is thin, but the actors make up for it.",
    "Neither funny nor moving.",
)


def quickstart(
    *,
    checkpoint: str | Path | None = None,
    data: Path = SNIPPETS,
    output: Path = Path("runs/sentiment"),
    export: Path = Path("saved_models/sentiment/1"),
    epochs: int = 1,
    precision: str = "float32",
) -> list[str]:
    """Fetches a checkpoint, fine-tunes it, exports the model and predicts; results of earlier calls are reused.

    Args:
        checkpoint: any source of a checkpoint; None fetches all-MiniLM-L6-v2 once.
        data: a directory with ``train.tsv``, ``valid.tsv`` and ``test.tsv``, labeled ``negative`` or ``positive``.
        output: the directory of the run.
        export: the directory of the export.
        epochs: number of passes over the training data.
        precision: precision of training, ``float32`` or ``bfloat16``.

    Returns:
        the label of each of ``SENTENCES``, predicted by the export in a new process.
    """
    exported = find_format(export)
    if not exported:
        check_version(export)  # Before the training, which takes minutes.
        require_empty(export)
    print("1. Checkpoint", flush=True)
    source = checkpoint or fetch_checkpoint("all-MiniLM-L6-v2")
    print(f"   {source}\n\n2. Fine-tuning on film snippets", flush=True)
    if (output / "metrics.json").is_file():
        print(f"   {output} exists and is reused; remove it to train again.")
        metrics = read_json(output / "metrics.json")
        for name in ("valid", "test"):
            print(f"   {name}: " + ", ".join(f"{key} {value:.4f}" for key, value in metrics[name].items()))
    else:
        finetune(
            source,
            train=data / "train.tsv",
            valid=data / "valid.tsv",
            test=data / "test.tsv",
            output=output,
            settings=FineTuningSettings(epochs=epochs, precision=precision),
            resume=True,
        )
        print(f"   written to {output}, with learning_curve.png and README.md")
    print("\n3. Export for TF Serving", flush=True)
    if exported:
        print(f"   {export} exists and is reused; remove it to export again.")
    else:
        export_model(output, export)
        print(f"   written to {export}")
    print("\n4. The export in a new process, as a server runs it", flush=True)
    labels = _classify(export)
    for sentence, label in zip(SENTENCES, labels, strict=True):
        print(f"   {label}  {sentence}")
    return labels


def _classify(export: Path) -> list[str]:
    """Returns the labels that the export predicts for ``SENTENCES``, by the command line in a new process."""
    command = [sys.executable, "-m", "keras_bert_impl.cli.main", "predict", str(export), *SENTENCES]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise InputError(f"the export {export} cannot be used: {result.stderr.strip()}")
    return [json.loads(line)["label"] for line in result.stdout.splitlines()]
