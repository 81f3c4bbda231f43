"""Which task a fine-tuned model was made for, and the model itself."""

from pathlib import Path
from typing import Any

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.task import Task


def task_of(config: BertConfig) -> Task:
    """The row of ``TASKS`` that fits a configuration's ``architectures``, ``problem_type`` and number of labels.

    Raises:
        InputError: the configuration is not that of a fine-tuned model.
    """
    architectures = list(config.architectures)
    rows = [row for row in TASKS.values() if row.model in architectures]
    if not rows:
        raise InputError(
            f"the configuration's architectures are {architectures}; a fine-tuned model was expected, one of "
            f"{', '.join(sorted({row.model for row in TASKS.values()}))}. 'keras-bert finetune' makes one."
        )
    return _of_problem(rows, config)


def task_named(model: str, config: BertConfig) -> Task:
    """The row of ``TASKS`` that fits a model's class, by its name, and its configuration."""
    return _of_problem([row for row in TASKS.values() if row.model == model], config)


def _of_problem(rows: list[Task], config: BertConfig) -> Task:
    if len(rows) == 1:
        return rows[0]
    # As in transformers: without a problem_type, one label means regression.
    problem = config.problem_type or ("regression" if config.num_labels == 1 else "single_label_classification")
    return next(row for row in rows if row.problem_type == problem)


def load_fine_tuned(source: str | Path, task: Task) -> Any:
    """The model of a checkpoint that has all of the task's head.

    Raises:
        InputError: the checkpoint cannot be used, or its head would be random.
    """
    model = task.model_class.from_pretrained(source)
    refuse_new_head(model, source)
    return model


def refuse_new_head(model: Any, source: str | Path) -> None:
    """Raises ``InputError`` if some weights were not in the checkpoint, for then the head's answers are random."""
    if lacking := model.load_report.names("newly initialised"):
        raise InputError(
            f"{source} lacks {', '.join(lacking)}: it was not trained as {type(model).__name__}. "
            "'keras-bert finetune' does that."
        )
