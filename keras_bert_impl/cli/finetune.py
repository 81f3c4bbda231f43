"""The command ``finetune``."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import (
    add_column_options,
    add_run_options,
    add_settings,
    add_source,
    add_teacher_options,
    collect_columns,
    collect_distillation,
    collect_settings,
    get_source,
    make_run_arguments,
)
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASK_OPTIONS, TASKS, get_options_class
from keras_bert_impl.training.settings import FineTuningSettings


def add_verbs(verbs: Any) -> None:
    """Adds the command to the parser."""
    finetune = verbs.add_parser(
        "finetune",
        help="train a checkpoint for a task on your files",
        description="Fine-tunes a checkpoint. Writes a directory with the best checkpoint by the validation data, "
        "metrics.json, learning_curve.png and a model card.",
        epilog="Files: TSV, CSV or JSONL with the columns text, label and optionally text_pair; for several labels per "
        "text a list in JSONL, names separated by commas, or --label-columns; CoNLL for tagging, or JSONL with text "
        "and annotated spans as Doccano and Label Studio export them; "
        "SQuAD JSON for question answering; a .txt with one text per line for masked words; the columns text, choice0, "
        "choice1 ... and label for multiple choice; the columns text, text_pair and label, from 0 to 1, for reranking; "
        "the columns text, text_pair and optionally negative or label for embedding; or tfds:NAME:SPLIT for a data set "
        "of TensorFlow Datasets.",
    )
    add_source(finetune, "source", kinds="directory, weights file")
    finetune.add_argument("--train", required=True, metavar="F", help="training data")
    finetune.add_argument(
        "--valid",
        metavar="F",
        help="validation data, which selects the best epoch (default: a part of --train, see --valid-fraction)",
    )
    finetune.add_argument("--test", metavar="F", help="test data, scored once at the end")
    finetune.add_argument("--output", required=True, type=Path, metavar="DIR", help="must be new or empty")
    finetune.add_argument("--task", choices=tuple(TASKS), default="classification", help="(default: %(default)s)")
    add_column_options(finetune)
    finetune.add_argument(
        "--weight-column",
        metavar="NAME",
        help="column of the training file with the weight of each row (default: none)",
    )
    add_settings(finetune.add_argument_group("settings"), FineTuningSettings)
    add_teacher_options(finetune, help="the larger model, fine-tuned for the same task and labels")
    for tasks, fields in _group_task_options().items():
        group = finetune.add_argument_group(f"options of the {_describe_tasks(tasks)}")
        add_settings(group, get_options_class(tasks[0]), only=fields)
    add_run_options(finetune)
    finetune.set_defaults(run=_finetune)


def _group_task_options() -> dict[tuple[str, ...], list[str]]:
    """Returns the names of options, grouped by the tasks that have them; several tasks can have the same option."""
    owners: dict[str, tuple[str, ...]] = {}
    for task in TASK_OPTIONS:
        for field in dataclasses.fields(get_options_class(task)):
            owners[field.name] = (*owners.get(field.name, ()), task)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, tasks in owners.items():
        groups.setdefault(tasks, []).append(name)
    return groups


def _describe_tasks(tasks: Sequence[str]) -> str:
    *others, last = tasks
    return f"tasks {', '.join(others)} and {last}" if others else f"task {last}"


def _collect_task_options(options: argparse.Namespace) -> Any:
    """Returns the options of the task, as an object of its dataclass; None if it has none.

    Raises:
        InputError: an option of another task was given.
    """
    for tasks, fields in _group_task_options().items():
        names = [name for name in fields if hasattr(options, name)]
        if names and options.task not in tasks:
            raise InputError(
                f"--{names[0].replace('_', '-')} is an option of the {_describe_tasks(tasks)}; the task is "
                f"{options.task}. Omit it."
            )
    options_class = get_options_class(options.task)
    return options_class and options_class(**collect_settings(options, options_class))


def _finetune(options: argparse.Namespace) -> int:
    if options.valid and hasattr(options, "valid_fraction"):
        raise InputError("--valid and --valid-fraction were given; only one of them was expected. Omit the other.")
    task_options = _collect_task_options(options)
    distillation = collect_distillation(options)
    start_framework(strategy=options.strategy)
    from keras_bert_impl.training.fine_tuning import finetune

    metrics = finetune(
        get_source(options, "source"),
        task=options.task,
        train=options.train,
        valid=options.valid,
        test=options.test,
        output=options.output,
        settings=FineTuningSettings(**collect_settings(options, FineTuningSettings)),
        columns=collect_columns(options),
        options=task_options,
        teacher=get_source(options, "teacher"),
        distillation=distillation,
        **make_run_arguments(options),
    )
    print(f"written to {options.output}" if metrics else "done; results were written by worker 0")
    return 0
