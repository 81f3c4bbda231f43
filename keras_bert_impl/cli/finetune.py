"""The command ``finetune``."""

import argparse
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import (
    add_column_options,
    add_run_options,
    add_settings,
    add_source,
    collect_columns,
    collect_settings,
    make_run_arguments,
)
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.training.settings import FineTuningSettings


def add_verbs(verbs: Any) -> None:
    """Adds the command to the parser."""
    finetune = verbs.add_parser(
        "finetune",
        help="train a checkpoint for a task on your files",
        description="Fine-tunes a checkpoint. Writes a directory with the best checkpoint by the validation data, "
        "metrics.json, learning_curve.png and a model card.",
        epilog="Files: TSV, CSV or JSONL with the columns text, label and optionally text_pair; CoNLL for tagging; "
        "SQuAD JSON for question answering; a .txt with one text per line for masked words; the columns text, choice0, "
        "choice1 ... and label for multiple choice; or tfds:NAME:SPLIT for a data set of TensorFlow Datasets.",
    )
    add_source(finetune, "source", kinds="directory, weights file")
    finetune.add_argument("--train", required=True, metavar="F", help="training data")
    finetune.add_argument("--valid", required=True, metavar="F", help="validation data, which selects the best epoch")
    finetune.add_argument("--test", metavar="F", help="test data, scored once at the end")
    finetune.add_argument("--output", required=True, type=Path, metavar="DIR", help="must be new or empty")
    finetune.add_argument("--task", choices=tuple(TASKS), default="classification", help="(default: %(default)s)")
    add_column_options(finetune)
    add_settings(finetune.add_argument_group("settings"), FineTuningSettings)
    add_run_options(finetune)
    finetune.set_defaults(run=_finetune)


def _finetune(options: argparse.Namespace) -> int:
    start_framework(strategy=options.strategy)
    from keras_bert_impl.training.fine_tuning import finetune

    metrics = finetune(
        options.source,
        task=options.task,
        train=options.train,
        valid=options.valid,
        test=options.test,
        output=options.output,
        settings=FineTuningSettings(**collect_settings(options, FineTuningSettings)),
        columns=collect_columns(options),
        **make_run_arguments(options),
    )
    print(f"written to {options.output}" if metrics else "done; results were written by worker 0")
    return 0
