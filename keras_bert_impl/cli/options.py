"""Options that several commands have in common; those of settings are generated from the settings' fields."""

import argparse
import dataclasses
import inspect
import io
import re
import sys
import typing
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.training.settings import DistillationSettings, SavingSettings

# The options of `SavingSettings`, whose names say what is saved.
_SAVING = {"minutes": "save_minutes", "steps": "save_steps", "keep": "keep_states"}
# Options that name a second model.
_SECOND = ("teacher", "embedder", "reranker")
# The number of bytes of standard input that are read at once; a pipe has at most 64 KiB.
_BLOCK = 1 << 18


def add_settings(
    group: Any, settings: type, names: dict[str, str] | None = None, *, only: Collection[str] | None = None
) -> None:
    """Adds an option for each field of a dataclass, with its type, default, choices and description.

    Args:
        group: a parser, or a group of its options.
        settings: the dataclass; its docstring and those of its bases describe the fields.
        names: names of options that differ from those of the fields.
        only: the fields to add; None: all of them.
    """
    descriptions = describe_fields(settings)
    own = inspect.get_annotations(settings)
    for field in sorted(dataclasses.fields(settings), key=lambda field: field.name not in own):
        if only is not None and field.name not in only:
            continue
        name = (names or {}).get(field.name, field.name)
        kind = next(kind for kind in (*typing.get_args(field.type), field.type) if kind is not type(None))
        details: dict[str, Any]
        if kind is bool:
            details = {"action": argparse.BooleanOptionalAction}
        elif choices := field.metadata.get("choices"):
            details = {"choices": choices}
        else:
            details = {"type": kind, "metavar": {int: "N", float: "X"}.get(kind, "TEXT")}
        group.add_argument(
            "--" + name.replace("_", "-"),
            dest=name,
            default=argparse.SUPPRESS,
            help=_format_help(descriptions[field.name], field.default),
            **details,
        )


def describe_fields(settings: type) -> dict[str, str]:
    """Returns the descriptions of a dataclass's fields, from the ``Args`` in its docstring and in those of its bases.

    >>> describe_fields(SavingSettings)["steps"]
    'steps between saved states; 0: do not save by steps'
    """
    descriptions: dict[str, str] = {}
    for part in reversed(settings.__mro__):
        section = re.search(r"^Args:\n((?: .*\n?)+)", inspect.cleandoc(part.__doc__ or ""), flags=re.MULTILINE)
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", flags=re.M):
            descriptions[name] = " ".join(text.split()).removesuffix(".").replace("``", "")
    return descriptions


def _format_help(description: str, default: Any) -> str:
    """Formats the help of an option. "; None: X" at the end of a description says what the default None means."""
    description, _, meaning = description.partition("; None: ")
    if default is None:
        text = meaning
    elif isinstance(default, bool):
        text = "yes" if default else "no"
    else:
        text = re.sub(r"e-0*", "e-", f"{default:g}") if isinstance(default, float) else str(default) or "none"
    return f"{description} (default: {text})".replace("%", "%%")


def collect_settings(
    options: argparse.Namespace, settings: type, names: dict[str, str] | None = None
) -> dict[str, Any]:
    """Returns the fields of a dataclass whose options were given."""
    dests = {field.name: (names or {}).get(field.name, field.name) for field in dataclasses.fields(settings)}
    return {field: getattr(options, dest) for field, dest in dests.items() if hasattr(options, dest)}


def add_teacher_options(verb: argparse.ArgumentParser, *, help: str) -> None:
    """Adds the options of distillation; ``help`` says what the teacher must be."""
    group = verb.add_argument_group("distillation: a smaller model learns from a larger one")
    group.add_argument("--teacher", metavar="SOURCE", help=help)
    add_settings(group, DistillationSettings)


def collect_distillation(options: argparse.Namespace) -> DistillationSettings | None:
    """Returns the settings of distillation that were given; None if there are none.

    Raises:
        InputError: there are some, but no teacher.
    """
    given = collect_settings(options, DistillationSettings)
    if given and options.teacher is None:
        name = next(iter(given)).replace("_", "-")
        raise InputError(f"--{name} is an option of distillation, which needs a teacher. Add --teacher, or omit it.")
    return DistillationSettings(**given) if given else None


def add_run_options(verb: argparse.ArgumentParser) -> None:
    """Adds the options of every training run: devices, states and resume."""
    devices = verb.add_argument_group("several devices or machines")
    devices.add_argument(
        "--strategy",
        metavar="NAME",
        help="mirrored: all GPUs of this machine; multiworker: the machines in TF_CONFIG; data-parallel: all "
        "devices, on JAX",
    )
    devices.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="number of devices; without GPUs the CPU is split into N (default: all)",
    )
    verb.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="write losses, metrics and the learning rate to this directory, for TensorBoard",
    )
    saving = verb.add_argument_group("resume after an interruption")
    saving.add_argument("--resume", action="store_true", help="continue an interrupted run, or start if there is none")
    add_settings(saving, SavingSettings, _SAVING)


def make_run_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the options of `add_run_options`, as arguments of ``finetune`` and ``pretrain``."""
    saving = SavingSettings(**collect_settings(options, SavingSettings, _SAVING))
    return {
        "saving": saving,
        "resume": options.resume,
        "strategy": options.strategy,
        "devices": options.devices,
        "callbacks": _make_callbacks(options),
    }


def _make_callbacks(options: argparse.Namespace) -> list[Any]:
    if options.tensorboard is None:
        return []
    if options.tensorboard.absolute().is_relative_to(options.output.absolute()):
        raise InputError(
            f"--tensorboard {options.tensorboard} is inside --output {options.output}, which does not exist until the "
            "run is complete. Name a directory outside of it."
        )
    from keras_bert_impl.training.tensorboard import TensorBoard

    return [TensorBoard(options.tensorboard)]


def add_source(verb: argparse.ArgumentParser, name: str = "model", *, kinds: str = "directory") -> None:
    """Adds the argument for a model or checkpoint, and the options of the hub; ``kinds`` are the paths it can be."""
    verb.add_argument(name, help=f"{kinds}, bundled model or hub name")
    add_hub_options(verb)


def add_hub_options(verb: argparse.ArgumentParser) -> None:
    """Adds the options that say where on the hub a model is; `get_source` reads them."""
    hub = verb.add_argument_group("models on the hub")
    hub.add_argument("--revision", metavar="NAME", help="branch, tag or commit (default: the main branch)")
    hub.add_argument("--subfolder", metavar="DIR", help="folder of the model in its repository, or in the directory")
    add_token(hub)
    hub.add_argument("--cache-dir", metavar="DIR", help="directory of downloads (default: that of huggingface_hub)")


def add_token(group: Any) -> None:
    """Adds the option of the hub's access token."""
    group.add_argument("--token", help="access token (default: the variable HF_TOKEN, or that of 'hf auth login')")


def get_source(options: argparse.Namespace, name: str = "model") -> Any:
    """Returns the source that an argument names: as it was given, or opened with the options of the hub.

    ``--revision`` and ``--subfolder`` belong to the first argument of a command; a second model, such as a teacher, has
    the token and the cache only.
    """
    given = getattr(options, name)
    second = ("revision", "subfolder") if name in _SECOND else ()
    hub = {key: getattr(options, key) for key in ("revision", "subfolder", "token", "cache_dir") if key not in second}
    if given is None or not any(hub.values()):
        return given
    return open_source(given, **hub)


def add_task_options(verb: argparse.ArgumentParser) -> None:
    """Adds the options that select and configure the task of a model."""
    verb.add_argument("--task", choices=tuple(TASKS), help="(default: the task that the model's configuration names)")
    verb.add_argument(
        "--max-length", type=int, metavar="N", help="longest row in tokens (default: as long as the model allows)"
    )
    answer = verb.add_mutually_exclusive_group()
    answer.add_argument(
        "--allow-no-answer",
        action="store_true",
        default=None,
        help="questions may have no answer in their context (default: as the model's configuration says)",
    )
    answer.add_argument(
        "--require-answer",
        dest="allow_no_answer",
        action="store_false",
        help="every question gets the best answer in its context",
    )
    add_column_options(verb)


def add_column_options(verb: argparse.ArgumentParser) -> None:
    """Adds the options that name the columns of a table."""
    helps = {
        "text": "column of the text (default: text); a number if the file has no header",
        "pair": "column of the second text (default: text_pair, if it exists; for embedding and reranking also "
        "positive, sentence2 and similar names)",
        "label": "column of the label (default: label; for embedding and reranking also score)",
    }
    for role, help in helps.items():
        verb.add_argument(f"--{role}-column", metavar="NAME", help=help)
    verb.add_argument(
        "--label-columns",
        metavar="A,B",
        help="for several labels per text: one column for each label, with 1 if the text has it, else 0",
    )
    verb.add_argument(
        "--label-delimiter", metavar="X", help="for several labels per text: what separates labels (default: a comma)"
    )


def collect_columns(options: argparse.Namespace) -> dict[str, str]:
    """Returns the names of columns that were given, as arguments for the readers of tables."""
    given = {
        "text": options.text_column,
        "text_pair": options.pair_column,
        "label": options.label_column,
        "weight": getattr(options, "weight_column", None),  # Only training has weights.
        "label_columns": options.label_columns,
        "label_delimiter": options.label_delimiter,
    }
    return {name: value for name, value in given.items() if value is not None}


def iterate_standard_input() -> Iterator[str]:
    """Yields the lines of standard input; see `read_standard_input`."""
    for lines in read_standard_input():
        yield from lines


def read_standard_input() -> Iterator[list[str]]:
    """Yields the lines of standard input that have arrived, and waits while there are none.

    Raises:
        InputError: a line is not UTF-8; lines before it may have been yielded.
    """
    number, rest = 1, b""
    buffer = typing.cast(io.BufferedReader, sys.stdin.buffer)
    while block := buffer.read1(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield _decode_lines(lines, first=number)
            number += len(lines)
    if rest:
        yield _decode_lines([rest], first=number)


def _decode_lines(lines: Sequence[bytes], *, first: int) -> list[str]:
    texts = []
    for number, line in enumerate(lines, first):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"standard input, line {number} is not UTF-8: byte {error.start} is invalid. Convert it to UTF-8."
            ) from error
        texts.append(text.removesuffix("\r"))
    return texts
