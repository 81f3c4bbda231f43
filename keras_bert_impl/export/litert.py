"""LiteRT, formerly TensorFlow Lite."""

from pathlib import Path

from keras_bert_impl.export.contents import ExportContents
from keras_bert_impl.export.runtime import convert, import_library, make_runtime_guide, select_inputs
from keras_bert_impl.machine import count_cores
from keras_bert_impl.tasks.base import PredictFunction


def write(contents: ExportContents, path: Path) -> None:
    """Converts with LiteRT's converter; int8 by its dynamic range quantization."""
    import_library("ai_edge_litert", "litert")
    tensorflow = import_library("tensorflow", "tensorflow")
    settings = {"optimizations": [tensorflow.lite.Optimize.DEFAULT]} if contents.precision == "int8" else {}
    convert(contents, path, "litert", **settings)


def open(path: Path) -> PredictFunction:
    """Loads the model into LiteRT's interpreter."""
    interpreter = import_library("ai_edge_litert.interpreter", "litert").Interpreter(
        str(path), num_threads=count_cores()
    )
    runner = interpreter.get_signature_runner()
    names = runner.get_input_details()
    return lambda inputs: runner(**select_inputs(inputs, names))


def make_guide(contents: ExportContents, path: Path) -> str:
    """Returns the README of an export."""
    return make_runtime_guide(
        contents,
        title="LiteRT",
        package="ai-edge-litert",
        imports="from ai_edge_litert.interpreter import Interpreter",
        code="""runner = Interpreter("model.tflite").get_signature_runner()
outputs = runner(**inputs)""",
    )
