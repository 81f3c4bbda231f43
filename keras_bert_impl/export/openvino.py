"""OpenVINO's intermediate representation."""

import tempfile
from pathlib import Path
from typing import Any

from keras_bert_impl.export.contents import ExportContents
from keras_bert_impl.export.runtime import convert, import_library, make_runtime_guide, select_inputs, suppress_messages
from keras_bert_impl.tasks.base import PredictFunction


def write(contents: ExportContents, path: Path) -> None:
    """Writes one file with the graph and one with the weights.

    It converts a temporary SavedModel: on Python 3.13, OpenVINO 2026.4 cannot convert TensorFlow functions in memory.
    """
    openvino = import_library("openvino", "openvino")
    with tempfile.TemporaryDirectory() as directory, suppress_messages():
        convert(contents, Path(directory) / "saved_model", "tf_saved_model")
        model = openvino.convert_model(Path(directory) / "saved_model")
        openvino.save_model(model, path, compress_to_fp16=False)


def open(path: Path) -> PredictFunction:
    """Loads the model into OpenVINO in float32: its default is bfloat16 where the processor supports it."""
    openvino = import_library("openvino", "openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    names = {name for entry in compiled.inputs for name in entry.get_names()}

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = compiled(select_inputs(inputs, names))
        return {output.get_any_name(): values for output, values in outputs.items()}

    return run


def make_guide(contents: ExportContents, path: Path) -> str:
    """Returns the README of an export."""
    return make_runtime_guide(
        contents,
        title="OpenVINO",
        package="openvino",
        imports="import openvino",
        code="""compiled = openvino.Core().compile_model("model.xml", "CPU")
outputs = {output.get_any_name(): values for output, values in compiled(inputs).items()}""",
    )
