"""Runs the package without the modules and functions that Python has only on POSIX systems, as on Windows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch_process import TORCH_MODULES

# Only imports by this package fail: libraries also try these modules, and have alternatives on Windows.
WITHOUT_POSIX = """
import builtins, os, signal

import_module = builtins.__import__
missing = {"fcntl", "grp", "pwd", "resource", "select", "termios"}

def import_without_posix(name, importer=None, *arguments, **options):
    if name in missing and (importer or {}).get("__name__", "").startswith("keras_bert_impl"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return import_module(name, importer, *arguments, **options)

builtins.__import__ = import_without_posix
for name in ("sched_getaffinity", "posix_fadvise", "getuid"):
    delattr(os, name)
for name in ("SIGPIPE", "SIGKILL"):
    delattr(signal, name)
"""

IMPORT_ALL = """
import importlib, pkgutil, sys
import keras_bert_impl

modules = pkgutil.walk_packages(keras_bert_impl.__path__, "keras_bert_impl.")
for name in sorted({module.name for module in modules} - set(sys.argv[1:])):
    importlib.import_module(name)
    print(name)
"""

FINETUNE = """
import sys
from keras_bert_impl.cli.main import main

sys.exit(main(sys.argv[1:]))
"""


def run(code: str, *arguments: object) -> str:
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", WITHOUT_POSIX + code, *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_module_is_imported() -> None:
    assert len(run(IMPORT_ALL, *TORCH_MODULES).split()) > 100


@pytest.mark.slow
def test_a_small_model_is_fine_tuned(tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text("text\tlabel\n" + "good film\tyes\nbad film\tno\n" * 4, encoding="utf-8")
    data = [part for name in ("train", "valid") for part in (f"--{name}", tmp_path / "data.tsv")]
    options = ["--output", tmp_path / "run", "--epochs", "1", "--max-length", "9", "--save-steps", "1"]
    run(FINETUNE, "finetune", "bert-tiny-novels", *data, *options)
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert not list(tmp_path.glob(".*"))
