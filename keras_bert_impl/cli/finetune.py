"""The verb ``finetune``."""

import argparse
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.startup import start_framework
from keras_bert_impl.cli.training import add_training_options, given_of, training_of

# The names in keras_bert_impl.tasks.TASKS, which is not imported for the help; a test compares them.
TASK_NAMES = ("classification", "regression", "tagging", "question-answering")


def add_column_options(verb: argparse.ArgumentParser) -> None:
    """Options that say which columns of a table are what."""
    helps = {
        "text": "column of the text (default: text); a number if the file has no header",
        "pair": "column of the second text (default: text_pair, where there is one)",
        "label": "column of the label (default: label)",
    }
    for role, help in helps.items():
        verb.add_argument(f"--{role}-column", metavar="NAME", help=help)


def column_options(options: argparse.Namespace) -> dict[str, str]:
    """Those that were given, as keywords for the readers of tables."""
    given = {"text": options.text_column, "text_pair": options.pair_column, "label": options.label_column}
    return {name: value for name, value in given.items() if value is not None}


def add_verbs(verbs: Any) -> None:
    """Adds the verb to the parser."""
    finetune = verbs.add_parser(
        "finetune",
        help="train a checkpoint for a task on your files",
        description="Writes a directory with the best checkpoint, metrics.json, learning_curve.png and a model card.",
        epilog="Files: TSV, CSV or JSONL with the columns text, label and optionally text_pair; CoNLL for tagging; "
        "SQuAD JSON for question answering; or tfds:NAME:SPLIT for a data set of TensorFlow Datasets.",
    )
    finetune.add_argument("source", help="directory, weights file, bundled model or hub name")
    finetune.add_argument("--train", required=True, metavar="F", help="training data")
    finetune.add_argument("--valid", required=True, metavar="F", help="validation data, which picks the best epoch")
    finetune.add_argument("--test", metavar="F", help="test data, scored once in the end")
    finetune.add_argument("--output", required=True, type=Path, metavar="DIR", help="must not exist or be empty")
    finetune.add_argument("--task", choices=TASK_NAMES, default=TASK_NAMES[0], help="default: %(default)s")
    add_column_options(finetune)
    number: dict[str, Any] = {"metavar": "N", "default": argparse.SUPPRESS}
    finetune.add_argument("--epochs", type=int, help="default: 3", **number)
    finetune.add_argument("--batch-size", type=int, help="default: 32", **number)
    finetune.add_argument("--learning-rate", type=float, help="default: 5e-5", **number)
    finetune.add_argument("--max-length", type=int, help="longest row in tokens (default: 128)", **number)
    add_training_options(finetune)
    finetune.set_defaults(run=_finetune)


def _finetune(options: argparse.Namespace) -> int:
    start_framework(strategy=options.strategy)
    from keras_bert_impl.training import FineTuning, finetune

    metrics = finetune(
        options.source,
        task=options.task,
        train=options.train,
        valid=options.valid,
        test=options.test,
        output=options.output,
        settings=FineTuning(**given_of(options, FineTuning)),
        columns=column_options(options),
        **training_of(options),
    )
    print(f"written to {options.output}" if metrics else "done; results were written by worker 0")
    return 0
