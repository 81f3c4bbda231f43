"""OpenVINO's intermediate representation."""

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import make_missing_error
from keras_bert_impl.export.contents import ExportContents
from keras_bert_impl.export.runtime import convert, import_library, make_runtime_guide, select_inputs, suppress_messages
from keras_bert_impl.python_process import PythonProcess
from keras_bert_impl.tasks.base import PredictFunction

# Where a model in bfloat16 says so: OpenVINO takes the precision of its arithmetic from who compiles the model.
_PRECISION = ["keras_bert_impl", "precision"]


def write(contents: ExportContents, path: Path) -> None:
    """Writes one file with the graph and one with the weights.

    It converts a temporary SavedModel: on Python 3.13, OpenVINO 2026.4 cannot convert TensorFlow functions in memory.
    Weights for bfloat16 are stored in float16, which has more digits. Weights of 8 bits are made by NNCF.
    """
    openvino = import_library("openvino", "openvino")
    in_integers = contents.precision == "int8-weights"
    if in_integers:
        try:
            # NNCF imports torch, which must not share a process with TensorFlow: here it is looked up only.
            importlib.metadata.version("nncf")
        except ImportError as error:
            raise make_missing_error(error, "nncf", user="OpenVINO in int8-weights") from error
    with tempfile.TemporaryDirectory() as directory, suppress_messages():
        convert(contents, Path(directory) / "saved_model", "tf_saved_model")
        model = openvino.convert_model(Path(directory) / "saved_model")
        if contents.precision == "bfloat16":
            model.set_rt_info(contents.precision, _PRECISION)
        written = Path(directory) / path.name if in_integers else path
        openvino.save_model(model, written, compress_to_fp16=contents.precision == "bfloat16")
        if in_integers:
            with PythonProcess() as process:
                process.call(__name__, "compress_weights", str(written), str(path))


def compress_weights(source: str, target: str) -> None:
    """Writes a model with weights of 8 bits, with a scale for each output."""
    import nncf
    import openvino

    openvino.save_model(nncf.compress_weights(openvino.Core().read_model(source)), target, compress_to_fp16=False)


def open(path: Path) -> PredictFunction:
    """Loads the model into OpenVINO in its precision, whatever OpenVINO's default for the processor is."""
    openvino = import_library("openvino", "openvino")
    model = openvino.Core().read_model(str(path))
    hint = "bf16" if model.has_rt_info(_PRECISION) else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    names = {name for entry in compiled.inputs for name in entry.get_names()}

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = compiled(select_inputs(inputs, names))
        return {output.get_any_name(): values for output, values in outputs.items()}

    return run


def make_guide(contents: ExportContents, path: Path) -> str:
    """Returns the README of an export."""
    hint = "bf16" if contents.precision == "bfloat16" else "f32"
    return make_runtime_guide(
        contents,
        title="OpenVINO",
        package="openvino",
        imports="import openvino",
        code=f"""settings = {{"INFERENCE_PRECISION_HINT": "{hint}"}}
compiled = openvino.Core().compile_model("model.xml", "CPU", settings)
outputs = {{output.get_any_name(): values for output, values in compiled(inputs).items()}}""",
    )
