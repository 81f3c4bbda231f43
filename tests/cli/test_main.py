"""The command line: help, defaults, exit codes."""

import argparse
import dataclasses
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import keras_bert_impl
from keras_bert_impl.checkpoints.weight_files import FILE_DTYPES
from keras_bert_impl.cli.main import VERBS as VERB_MODULES
from keras_bert_impl.cli.main import main, make_parser
from keras_bert_impl.cli.options import collect_settings, make_run_arguments
from keras_bert_impl.config import PRESETS
from keras_bert_impl.data import Objective
from keras_bert_impl.export import FORMATS
from keras_bert_impl.prediction.encoding import ENCODE_PRECISIONS
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.mining import MiningSettings
from keras_bert_impl.training import (
    PRECISIONS,
    RECIPES,
    DistillationSettings,
    FineTuningSettings,
    PretrainingSettings,
    SavingSettings,
)
from keras_bert_impl.training.optimizers import OPTIMIZERS
from keras_bert_impl.training.schedules import SCHEDULES

VERBS = (
    *("quickstart", "convert", "shrink", "verify", "push", "finetune", "evaluate", "predict", "fill-mask"),
    *("next-sentence", "embed", "rank", "mine-negatives"),
    *("export", "serve-check", "similar", "attention", "attribute", "train-vocab", "grow-vocab", "prepare", "pretrain"),
)

# Prints the help of all verbs, then the imported modules.
HELP = f"""
import sys
from keras_bert_impl.cli.main import main

for arguments in ["--help"], ["--version"], *([verb, "--help"] for verb in {VERBS}):
    try:
        main(arguments)
    except SystemExit as exit:
        assert exit.code == 0, arguments
print("MODULES", *sys.modules)
"""


def make_verb_parsers(verb: str | None = None) -> dict[str, argparse.ArgumentParser]:
    (verbs,) = [action for action in make_parser(verb)._actions if isinstance(action, argparse._SubParsersAction)]
    return verbs.choices


def test_help_is_fast() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text, modules = result.stdout.split("MODULES")
    assert not set(modules.split()) & {"keras", "tensorflow", "torch", "jax", "numpy", "tokenizers", "huggingface_hub"}
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert f"keras-bert {keras_bert_impl.__version__}" in text
    for verb in VERBS:
        assert f"usage: keras-bert {verb} " in text
    assert not result.stderr


def test_all_verbs_are_tested() -> None:
    assert tuple(make_verb_parsers()) == VERBS


def test_the_verbs_of_each_module_are_in_the_table() -> None:
    for verb, module in VERB_MODULES.items():
        own = {name for name, other in VERB_MODULES.items() if other == module}
        assert set(make_verb_parsers(verb)) == own


@pytest.mark.parametrize(
    ("verb", "option", "table"),
    [
        ("convert", "dtype", FILE_DTYPES),
        ("shrink", "size", PRESETS),
        ("pretrain", "optimizer", OPTIMIZERS),
        ("pretrain", "precision", PRECISIONS),
        ("pretrain", "schedule", SCHEDULES),
        ("pretrain", "preset", PRESETS),
        ("pretrain", "recipe", RECIPES),
        ("finetune", "optimizer", OPTIMIZERS),
        ("finetune", "precision", PRECISIONS),
        ("finetune", "schedule", SCHEDULES),
        ("finetune", "task", TASKS),
        ("embed", "precision", dict.fromkeys(ENCODE_PRECISIONS)),
        ("export", "format", FORMATS),
    ],
)
def test_choices_are_those_of_the_tables(verb: str, option: str, table: Mapping[str, Any]) -> None:
    (action,) = [action for action in make_verb_parsers()[verb]._actions if action.dest == option]
    assert action.choices is not None
    assert list(action.choices) == list(table)


@pytest.mark.parametrize(
    ("verb", "settings"),
    [
        ("finetune", FineTuningSettings),
        ("finetune", DistillationSettings),
        ("finetune", SavingSettings),
        ("pretrain", PretrainingSettings),
        ("pretrain", Objective),
        ("pretrain", DistillationSettings),
        ("mine-negatives", MiningSettings),
    ],
)
def test_each_setting_has_an_option_whose_help_shows_the_default(verb: str, settings: type) -> None:
    names = {
        SavingSettings: {"minutes": "save_minutes", "steps": "save_steps", "keep": "keep_states"},
        MiningSettings: {"output_format": "format"},
        Objective: {"kind": "objective"},
    }.get(settings, {})
    actions = {action.dest: action for action in make_verb_parsers()[verb]._actions}
    for field in dataclasses.fields(settings):
        action = actions[names.get(field.name, field.name)]
        assert action.default is argparse.SUPPRESS
        (text,) = re.findall(r"\(default: (.*)\)$", str(action.help))
        if field.default is None:
            assert not re.fullmatch(r"[\d.e-]+|None", text)
        elif isinstance(field.default, bool):
            assert (text, action.nargs) == ("yes" if field.default else "no", 0)
        else:
            read = action.type or str
            assert callable(read)
            assert read(text) == field.default
            assert type(read(text)) is type(field.default)


def test_given_options_are_settings() -> None:
    arguments = "finetune x --train a --valid b --output c --no-remat --dropout 0.2 --optimizer lamb --save-steps 7"
    options = make_parser().parse_args(arguments.split())
    given = {"remat": False, "dropout": 0.2, "optimizer": "lamb"}
    assert collect_settings(options, FineTuningSettings) == given
    assert make_run_arguments(options)["saving"] == SavingSettings(steps=7)


@pytest.mark.parametrize(
    "arguments", [[], ["translate"], ["convert"], ["finetune", "x"], ["finetune", "x", "--epochs", "two"]]
)
def test_usage_errors_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert "usage: keras-bert" in capsys.readouterr().err


def test_debug_shows_the_trace(run: Callable[..., Any]) -> None:
    with pytest.raises(keras_bert_impl.errors.InputError):
        run("predict", "./absent", "text", "--debug")
    assert run("predict", "./absent", "text").code == 2


# In a process of its own, because this one has started Keras.
def test_the_message_for_a_missing_framework_says_how_to_install_it() -> None:
    program = """
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "tensorflow" else super().find_spec(name, path, target)

sys.meta_path = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
from keras_bert_impl.cli.main import main

sys.exit(main(["convert", "source", "target"]))
"""
    environment = {"PATH": "", "KERAS_BACKEND": "tensorflow"}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stdout) == (2, "")
    message = r"keras-bert: error: tensorflow is not installed\. Run: pip install 'keras_bert_impl\[tensorflow\]';.*\n"
    assert re.fullmatch(message, result.stderr)
