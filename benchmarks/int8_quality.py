"""Scores of exports in int8, bfloat16 and with int8 weights, compared with float32, for models of four tasks.

    python benchmarks/finetune_tasks.py CHECKPOINT DATA --models MODELS
    keras-bert finetune CHECKPOINT --train train.tsv --valid valid.tsv --output MODELS/snippets
    python benchmarks/int8_quality.py DATA MODELS/tagging-1 MODELS/questions-1 MODELS/sts-1 MODELS/snippets

The task of a model decides on its data: classification is scored on the film snippets for validation and test, the
others on the development data of ``finetune_tasks.py``. Each score is that of an export, run as ``keras-bert predict``
runs it. Target: the score in int8 is at most half a point (0.005) lower than in float32.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from embedding_data import format_verdict
from finetune_tasks import JOBS
from report import make_table, write
from serving import export

PRECISIONS = ("float32", "bfloat16", "int8", "int8-bfloat16", "int8-weights")
INT8 = ("int8", "int8-bfloat16")
MAX_LOSS = 0.005


def find_data(task: str, data: Path) -> tuple[str, int, dict[str, Any]]:
    """The metric of a task, the maximum number of tokens, and data that its model was not trained on."""
    if task == "classification":
        return "accuracy", 128, read_snippets()
    job = next(job for job in JOBS.values() if job.task == task)
    return job.metric, job.max_length, job.read(data)[1]


def read_snippets() -> dict[str, Any]:
    """The film snippets for validation and test."""
    from keras_bert_impl.data import read_table
    from keras_bert_impl.files import SNIPPETS

    tables = [read_table(SNIPPETS / f"{split}.tsv") for split in ("valid", "test")]
    return {name: [*tables[0][name], *tables[1][name]] for name in ("text", "label")}


def compute_score(directory: Path, columns: dict[str, Any], *, metric: str, max_length: int) -> float:
    """The score of an export."""
    from keras_bert_impl.prediction import Predictor

    return Predictor(directory, max_length=max_length).score(columns)[metric]


def count_plain_layers(directory: Path) -> int:
    """The number of dense layers of an int8 export that are not computed in integers."""
    record = json.loads((directory / "assets.extra" / "int8.json").read_text(encoding="utf-8"))
    return len(record["not_in_integers"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    arguments = parser.parse_args()

    from keras_bert_impl.tasks import open_task

    verdicts, rows = [], []
    for model in arguments.models:
        task = open_task(model)[0].name
        metric, max_length, columns = find_data(task, arguments.data)
        with tempfile.TemporaryDirectory() as temporary:
            exports = {
                precision: export(model.resolve(), Path(temporary, precision, "1"), "--precision", precision)
                for precision in PRECISIONS
            }
            scores = {
                precision: compute_score(path, columns, metric=metric, max_length=max_length)
                for precision, path in exports.items()
            }
            plain = count_plain_layers(exports["int8"])
        for precision in INT8:
            lost = scores["float32"] - scores[precision]
            line = f"{task}: {metric} in float32, minus that in {precision}: {lost:+.4f}, at most {MAX_LOSS}"
            verdicts.append(format_verdict(line, lost <= MAX_LOSS))
        examples = len(next(iter(columns.values())))
        shown = (f"{score:.4f}" for score in scores.values())
        rows.append((f"{task}, {metric}", f"{examples:,}", *shown, str(plain)))
    write(
        "Quality of int8",
        "\n".join(verdicts),
        "Scores of exports of MiniLM on data that it was not trained on.",
        make_table(("task", "examples", *PRECISIONS, "layers without int8"), rows),
    )


if __name__ == "__main__":
    main()
