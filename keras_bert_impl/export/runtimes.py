"""Exports for other runtimes than TensorFlow. They take ids: of strings these formats know nothing."""

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.export.parts import INPUTS, Parts
from keras_bert_impl.machine import count_cores
from keras_bert_impl.tasks.run import Run


def library(name: str, extra: str) -> Any:
    """A module that an optional extra brings.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f'{name} is missing ({error}): pip install "keras_bert_impl[{extra}]".') from error


def write_onnx(parts: Parts, path: Path) -> None:
    """ONNX, through tf2onnx; int8 by ONNX Runtime's dynamic quantization."""
    library("tf2onnx", "onnx")
    library("onnxruntime", "onnx")
    _export(parts, path, "onnx")
    if parts.precision == "int8":
        quantization = library("onnxruntime.quantization", "onnx")
        with _quiet():
            quantization.quantize_dynamic(path, path, per_channel=True, weight_type=quantization.QuantType.QInt8)


def open_onnx(path: Path) -> Run:
    """The model in ONNX Runtime."""
    runtime = library("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = count_cores()
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, _taken(inputs)), strict=True))


def write_openvino(parts: Parts, path: Path) -> None:
    """OpenVINO's intermediate representation: a file of the graph and one of the weights."""
    library("openvino", "openvino")
    _export(parts, path, "openvino")


def open_openvino(path: Path) -> Run:
    """The model in OpenVINO, in float32: by itself it computes in bfloat16 where the processor can."""
    openvino = library("openvino", "openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = compiled(_taken(inputs))
        return {output.get_any_name(): values for output, values in outputs.items()}

    return run


def write_litert(parts: Parts, path: Path) -> None:
    """LiteRT, once TensorFlow Lite; int8 by its dynamic range quantization."""
    library("ai_edge_litert", "litert")
    tensorflow = library("tensorflow", "tensorflow")
    quantized = {"optimizations": [tensorflow.lite.Optimize.DEFAULT]} if parts.precision == "int8" else {}
    _export(parts, path, "litert", **quantized)


def open_litert(path: Path) -> Run:
    """The model in LiteRT's interpreter."""
    interpreter = library("ai_edge_litert.interpreter", "litert").Interpreter(str(path), num_threads=count_cores())
    runner = interpreter.get_signature_runner()
    return lambda inputs: runner(**_taken(inputs))


def _taken(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: inputs[name] for name in INPUTS}


def _export(parts: Parts, path: Path, name: str, **settings: Any) -> None:
    """Keras' own export, with the layers in forms that converters know."""
    import tensorflow as tf

    from keras_bert_impl.ops.variants import use_variants

    specs = {key: tf.TensorSpec([None, None], tf.int32, name=key) for key in INPUTS}
    with use_variants("portable"), _quiet():
        parts.model.export(str(path), format=name, input_signature=[specs], verbose=False, **settings)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what converters say of themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
