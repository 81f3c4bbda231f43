"""The tasks, one class each. Training, prediction, exports and views call its methods, and do not branch on names."""

import importlib
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_bert_impl.errors import InputError

if TYPE_CHECKING:
    from keras_bert_impl.config import BertConfig
    from keras_bert_impl.tasks.base import Task


class _Tasks(MutableMapping[str, "Task"]):
    """Tasks by name. A task's module is imported when the task is first used, so that listing the names is fast."""

    def __init__(self, locations: dict[str, str]) -> None:
        self._tasks: dict[str, Any] = dict(locations)

    def __getitem__(self, name: str) -> "Task":
        task = self._tasks[name]
        if isinstance(task, str):
            module, class_name = task.split(".")
            task = self._tasks[name] = getattr(importlib.import_module(f"{__name__}.{module}"), class_name)()
        return task

    def __setitem__(self, name: str, task: "Task") -> None:
        self._tasks[name] = task

    def __delitem__(self, name: str) -> None:
        del self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


# The list of all tasks, by name: the module in this package, and the class.
TASKS: MutableMapping[str, "Task"] = _Tasks(
    {
        "classification": "classification.Classification",
        "regression": "regression.Regression",
        "tagging": "tagging.Tagging",
        "question-answering": "question_answering.QuestionAnswering",
        "masked-lm": "masked_lm.MaskedLM",
        "next-sentence": "next_sentence.NextSentence",
        "multiple-choice": "multiple_choice.MultipleChoice",
        "embedding": "embedding.Embedding",
        "pretraining": "pretraining.Pretraining",
    }
)


def get_task(name: str) -> "Task":
    """Returns the task of that name.

    Raises:
        InputError: there is none.
    """
    if name not in TASKS:
        raise InputError(f"No task is named {name!r}; the tasks are {', '.join(TASKS)}.")
    return TASKS[name]


def find_task(config: "BertConfig", architectures: Sequence[str] | None = None) -> "Task":
    """Returns the task that a model was made for.

    Args:
        config: the model's configuration.
        architectures: the name of the model's class; None: those in the configuration.

    Raises:
        InputError: no task fits.

    >>> from keras_bert_impl import BertConfig
    >>> find_task(BertConfig(problem_type="regression"), ["BertForSequenceClassification"]).name
    'regression'
    """
    names = config.architectures if architectures is None else tuple(architectures)
    for task in TASKS.values():
        if task.model_name in names and task.fits(config):
            return task
    facts = f"architectures {', '.join(names) or 'none'}, problem_type {config.problem_type or 'none'}"
    raise InputError(
        f"the configuration fits no task ({facts}). Name the task if you know it: {', '.join(TASKS)}; or train a model "
        "with 'keras-bert finetune'."
    )


def resolve_task(
    config: "BertConfig", task: "str | Task | None", allow_no_answer: bool | None
) -> "tuple[Task, BertConfig]":
    """Returns the task of a model and the configuration for it.

    Args:
        config: the model's configuration.
        task: a task or its name; None: the task that the configuration names.
        allow_no_answer: for question answering, whether a question may have no answer; None: as the configuration says.

    Raises:
        InputError: no task has this name or fits, or ``allow_no_answer`` was given for another task.
    """
    task = get_task(task) if isinstance(task, str) else task or find_task(config)
    return task, config if allow_no_answer is None else task.allow_no_answer(config, allow_no_answer)


def __getattr__(name: str) -> Any:
    if name == "Task":
        return importlib.import_module(f"{__name__}.base").Task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["TASKS", "Task", "find_task", "get_task", "resolve_task"]
