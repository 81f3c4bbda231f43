"""ONNX, for ONNX Runtime."""

from pathlib import Path
from typing import Any

from keras_bert_impl.export.contents import ExportContents
from keras_bert_impl.export.runtime import convert, import_library, make_runtime_guide, select_inputs, suppress_messages
from keras_bert_impl.machine import count_cores
from keras_bert_impl.tasks.base import PredictFunction


def write(contents: ExportContents, path: Path) -> None:
    """Converts with tf2onnx; float16 and int8, which is dynamic quantization, with the tools of ONNX Runtime.

    In float16 the inputs and outputs keep their types.
    """
    import_library("tf2onnx", "onnx")
    import_library("onnxruntime", "onnx")
    convert(contents, path, "onnx")
    if contents.precision == "float16":
        float16: Any = import_library("onnxruntime.transformers.float16", "onnx")
        onnx: Any = import_library("onnx", "onnx")
        with suppress_messages():
            onnx.save(float16.convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
    if contents.precision == "int8":
        quantization: Any = import_library("onnxruntime.quantization", "onnx")
        # Weights of 7 bits: the sums of 8-bit products overflow on x86 processors without VNNI.
        options = {"per_channel": True, "reduce_range": True, "weight_type": quantization.QuantType.QInt8}
        with suppress_messages():
            quantization.quantize_dynamic(path, path, **options)


def open(path: Path) -> PredictFunction:
    """Loads the model into ONNX Runtime."""
    runtime = import_library("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = count_cores()
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    input_names = {entry.name for entry in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, select_inputs(inputs, input_names)), strict=True))


def make_guide(contents: ExportContents, path: Path) -> str:
    """Returns the README of an export."""
    return make_runtime_guide(
        contents,
        title="ONNX Runtime",
        package="onnxruntime",
        imports="import onnxruntime",
        code="""session = onnxruntime.InferenceSession("model.onnx")
names = [output.name for output in session.get_outputs()]
outputs = dict(zip(names, session.run(names, inputs)))""",
    )
