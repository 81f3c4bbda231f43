"""The formats of exports: how each is written, checked and run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keras_bert_impl.errors import InputError
from keras_bert_impl.export import runtimes
from keras_bert_impl.export.parts import Parts
from keras_bert_impl.export.saved_model import EXTRA, open_saved_model, write_saved_model
from keras_bert_impl.tasks.run import Run


@dataclass(frozen=True)
class Format:
    """One kind of export.

    Attributes:
        file: the file by which an export of this kind is known.
        precisions: which it has.
        write: writes the model there.
        open: the model over ids, for a file.
        takes_text: whether the tokenizer is in it.
        extra: the folder in the export for configuration and tokenizer; empty for the export itself.
    """

    file: str
    precisions: tuple[str, ...]
    write: Callable[[Parts, Path], None]
    open: Callable[[Path], Run]
    takes_text: bool = False
    extra: str = ""


FORMATS = {
    "saved_model": Format(
        "saved_model.pb",
        ("float32", "bfloat16", "int8"),
        write_saved_model,
        open_saved_model,
        takes_text=True,
        extra=EXTRA,
    ),
    "onnx": Format("model.onnx", ("float32", "int8"), runtimes.write_onnx, runtimes.open_onnx),
    "openvino": Format("model.xml", ("float32",), runtimes.write_openvino, runtimes.open_openvino),
    "litert": Format("model.tflite", ("float32", "int8"), runtimes.write_litert, runtimes.open_litert),
}


def format_of(path: str | Path) -> Format | None:
    """The format of the export in a directory; None if it holds none."""
    return next((known for known in FORMATS.values() if (Path(path) / known.file).is_file()), None)


def format_named(name: str, precision: str) -> Format:
    """A row of `FORMATS`.

    Raises:
        InputError: there is none of that name, or it does not have that precision.
    """
    if name not in FORMATS:
        raise InputError(f"there is no format {name!r}; there are {', '.join(FORMATS)}.")
    if precision not in FORMATS[name].precisions:
        others = ", ".join(key for key, known in FORMATS.items() if precision in known.precisions)
        raise InputError(
            f"the format {name} is written in {' or '.join(FORMATS[name].precisions)}, not in {precision}"
            f"{f', which {others} can have' if others else ''}."
        )
    return FORMATS[name]
