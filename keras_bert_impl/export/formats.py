"""The table of export formats. Each format is a module with functions that write, open and document an export."""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError


@dataclass(frozen=True)
class Format:
    """One export format.

    Attributes:
        module: its module in this package, with the functions ``write``, ``open`` and ``make_guide``.
        file: the file that identifies an export of this format.
        precisions: the supported precisions.
        dtypes: the dtype of the model that is converted, for the precisions where it is not float32.
        takes_text: whether the tokenizer is part of the exported graph.
        framework: the module with the operations of the framework that ``open`` uses, ``tensorflow`` or
            ``keras.ops``, so that a command can start the framework without its messages; empty: it uses none.
        extra: the folder for configuration and tokenizer inside the export; empty: the export's own directory.
    """

    module: str
    file: str
    precisions: tuple[str, ...]
    dtypes: Mapping[str, str] = field(default_factory=dict)
    takes_text: bool = False
    framework: str = ""
    extra: str = ""

    def write(self, contents: Any, path: Path) -> None:
        """Writes the model of some ``ExportContents`` to the path of the file."""
        self._import().write(contents, path)

    def open(self, path: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Opens a file of this format: the model as a function of ids."""
        return self._import().open(path)

    def make_guide(self, contents: Any, path: Path) -> str:
        """Returns the README of the export at ``path``."""
        return self._import().make_guide(contents, path)

    def _import(self) -> Any:
        # The table is read for the command line's help, which must not start a framework.
        return importlib.import_module(f"keras_bert_impl.export.{self.module}")

    def find_files(self, export: Path) -> Path:
        """Returns the folder of an export with its configuration and tokenizer.

        Raises:
            InputError: there is no configuration.
        """
        if not (export / self.extra / "config.json").is_file():
            raise InputError(
                f"{export} has a {self.file}, but no {Path(self.extra) / 'config.json'} with the labels. "
                "Make the export with 'keras-bert export'."
            )
        return export / self.extra


# TF Serving and TensorFlow ignore this folder of a SavedModel, which is for files that belong to the model.
EXTRA = "assets.extra"

FORMATS = {
    "saved_model": Format(
        "saved_model",
        "saved_model.pb",
        ("float32", "bfloat16", "int8", "int8-bfloat16", "int8-weights"),
        # The integers are made from the weights in float32.
        dtypes={"bfloat16": "bfloat16", "int8-bfloat16": "mixed_bfloat16"},
        takes_text=True,
        framework="tensorflow",
        extra=EXTRA,
    ),
    "onnx": Format("onnx", "model.onnx", ("float32", "float16", "int8")),
    "openvino": Format("openvino", "model.xml", ("float32", "bfloat16", "int8-weights")),
    "litert": Format("litert", "model.tflite", ("float32", "int8")),
}
PRECISIONS = ("float32", "bfloat16", "float16", "int8", "int8-bfloat16", "int8-weights")
# Those of a SavedModel whose products are computed in integers.
INT8_PRODUCTS = ("int8", "int8-bfloat16")
# What a SavedModel takes; the other formats take ids.
INPUTS = ("text", "words", "ids")

# The maximum decrease of the task's metric that is accepted without force.
MAX_DECREASE = 0.005


def find_format(path: str | os.PathLike[str]) -> Format | None:
    """Returns the format of the export in a directory; None if the directory is not an export."""
    return next((format for format in FORMATS.values() if (Path(path) / format.file).is_file()), None)


def get_format(name: str, precision: str) -> Format:
    """Returns the format of that name.

    Raises:
        InputError: there is none, or it does not support the precision.
    """
    if name not in FORMATS:
        raise InputError(f"No format is named {name!r}; the formats are {', '.join(FORMATS)}.")
    if precision not in FORMATS[name].precisions:
        others = ", ".join(key for key, format in FORMATS.items() if precision in format.precisions)
        raise InputError(
            f"the format {name} supports {' and '.join(FORMATS[name].precisions)}, not {precision}"
            f"{f', which is supported by {others}' if others else ''}."
        )
    return FORMATS[name]
