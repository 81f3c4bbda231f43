"""The tasks, one class each. Training, prediction, exports and views call its methods, and do not branch on names."""

import importlib
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source

if TYPE_CHECKING:
    from keras_bert_impl.config import BertConfig
    from keras_bert_impl.sources import Source
    from keras_bert_impl.tasks.base import Task
    from keras_bert_impl.tokenization import BertTokenizer


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
        "multi-label-classification": "multi_label.MultiLabelClassification",
        "regression": "regression.Regression",
        "reranking": "reranking.Reranking",
        "tagging": "tagging.Tagging",
        "question-answering": "question_answering.QuestionAnswering",
        "masked-lm": "masked_lm.MaskedLM",
        "next-sentence": "next_sentence.NextSentence",
        "multiple-choice": "multiple_choice.MultipleChoice",
        "embedding": "embedding.Embedding",
        "pretraining": "pretraining.Pretraining",
    }
)


# Task: the module in this package and the frozen dataclass of its options. Such a module imports no framework.
TASK_OPTIONS: dict[str, str] = {
    "classification": "options.ClassificationOptions",
    "multi-label-classification": "options.MultiLabelOptions",
    "regression": "options.WindowOptions",
    "reranking": "options.RerankingOptions",
    "tagging": "options.TaggingOptions",
    "embedding": "options.EmbeddingOptions",
}


def get_options_class(name: str) -> Any:
    """Returns the dataclass of a task's options; None if the task has no options."""
    if name not in TASK_OPTIONS:
        return None
    module, class_name = TASK_OPTIONS[name].split(".")
    return getattr(importlib.import_module(f"{__name__}.{module}"), class_name)


def get_task(name: str, options: Any = None) -> "Task":
    """Returns the task of that name.

    Args:
        name: a name in ``TASKS``.
        options: the options of the task, an object of its class in ``TASK_OPTIONS``; None: the defaults.

    Raises:
        InputError: there is none, or the options are those of another task.
    """
    if name not in TASKS:
        raise InputError(f"No task is named {name!r}; the tasks are {', '.join(TASKS)}.")
    if options is None:
        return TASKS[name]
    options_class = get_options_class(name)
    if options_class is None or not isinstance(options, options_class):
        expected = "the task has no options" if options_class is None else f"{options_class.__name__} was expected"
        raise InputError(f"the options of the task {name} are {options!r:.200}; {expected}.")
    make: Any = type(TASKS[name])
    return make(options)


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
        if set(task.architectures) & set(names) and task.fits(config):
            return task
    if not names:
        raise InputError(
            "config.json does not name the class of the model (architectures), so its task is not known. Name "
            f"the task (--task, or task in Python): {', '.join(TASKS)}."
        )
    facts = f"architectures {', '.join(names) or 'none'}, problem_type {config.problem_type or 'none'}"
    raise InputError(
        f"the configuration fits no task ({facts}). Name the task if you know it: {', '.join(TASKS)}; or train a model "
        "with 'keras-bert finetune'."
    )


def find_pipeline_tag(config: "BertConfig", architectures: Sequence[str] | None = None) -> str | None:
    """Returns the hub's name of the task that a model was made for, see `find_task`; None if no task fits.

    >>> from keras_bert_impl import BertConfig
    >>> find_pipeline_tag(BertConfig(), ["BertForTokenClassification"])
    'token-classification'
    """
    try:
        return find_task(config, architectures).pipeline_tag
    except InputError:
        return None


def open_task(
    source: "str | Path | Source", task: "str | Task | None" = None, *, allow_no_answer: bool | None = None
) -> "tuple[Task, BertConfig, BertTokenizer]":
    """Opens a checkpoint, or the files of an export, for its task.

    Args:
        source: a directory, a bundled model, or a hub name.
        task: a task or its name; None: the task that the configuration names.
        allow_no_answer: for question answering, whether a question may have no answer; None: as the configuration says.

    Returns:
        the task, the configuration with all settings that the task needs, and the tokenizer.

    Raises:
        InputError: the source cannot be used, no task has this name or fits, or ``allow_no_answer`` was given for
            another task.

    >>> task, config, tokenizer = open_task("bert-tiny-novels", "masked-lm")
    >>> task.name, config.hidden_size, tokenizer.mask_token
    ('masked-lm', 128, '[MASK]')
    """
    from keras_bert_impl.config import BertConfig
    from keras_bert_impl.tasks.reranking_keys import read_activation

    opened = open_source(source)
    # A cross-encoder is recognized by its activation, which version 6 of sentence-transformers saves in another file
    # than config.json.
    config = read_activation(opened, BertConfig.from_pretrained(opened))
    try:
        task = get_task(task) if isinstance(task, str) else task or find_task(config)
    except InputError as error:
        raise InputError(f"{opened.name}: {error}") from error
    config = task.read_config(opened, config)
    if allow_no_answer is not None:
        config = task.allow_no_answer(config, allow_no_answer)
    return task, config, task.open_tokenizer(opened, config)


def list_foreign_keys(task: "Task") -> set[str]:
    """Returns the keys of ``config.json`` that other tasks use, and this one does not."""
    return {key for other in TASKS.values() for key in other.config_keys}.difference(task.config_keys)


def __getattr__(name: str) -> Any:
    if name == "Task":
        return importlib.import_module(f"{__name__}.base").Task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["TASKS", "Task", "find_task", "get_task", "open_task"]
