"""SavedModels in TF Serving's layout ``NAME/VERSION/``: the graph contains tokenizer, model and decoding."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError, make_missing_error
from keras_bert_impl.export.contents import ExportContents
from keras_bert_impl.export.formats import EXTRA
from keras_bert_impl.files import to_json, write_text
from keras_bert_impl.tasks.base import PredictFunction

_PAGE = """# {name}

Made by keras_bert_impl. A TensorFlow SavedModel that takes {takes}; TensorFlow 2 and TF Serving 2 can run it{where}.
In the directory that contains the versions:

    docker run -p 8500:8500 -p 8501:8501 \\
        --mount type=bind,source="$PWD",target=/models/{name} \\
        -e MODEL_NAME={name} -e TF_ENABLE_ONEDNN_OPTS=1 -e TF_ONEDNN_ASSUME_FROZEN_WEIGHTS=1 \\
        tensorflow/serving

`TF_ENABLE_ONEDNN_OPTS=1` turns on oneDNN, TensorFlow's library for x86 processors, which otherwise is on with AVX-512
only. `TF_ONEDNN_ASSUME_FROZEN_WEIGHTS=1` makes short requests faster: oneDNN arranges the weights once, not in each
request.

## REST

    curl -X POST http://localhost:8501/v1/models/{name}:predict -d {body}

The response is

```json
{response}
```

## gRPC

```python
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

request = predict_pb2.PredictRequest()
request.model_spec.name = {name!r}
{inputs}
channel = grpc.insecure_channel("localhost:8500")
response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
print({{name: tf.make_ndarray(tensor).tolist() for name, tensor in response.outputs.items()}})
```

## Signatures

| signature | inputs | outputs |
|---|---|---|
{signatures}
{prompts}"""

# The file with the error of each dense layer of an export in int8.
INT8_RECORD = "int8.json"
# The operations of `keras_bert_impl.ops.onednn` that an export may have.
ONEDNN = ("_FusedMatMul", "_MklLayerNorm", "_QuantizedMatMul")
_REQUIREMENT = (
    " on x86 processors\nwith `TF_ENABLE_ONEDNN_OPTS=1` (for others, export it with `--no-fused`, but not in int8)"
)
ONEDNN_ADVICE = (
    "The export has operations of oneDNN, for TensorFlow on x86 processors with TF_ENABLE_ONEDNN_OPTS=1. For others, "
    "export the model with --no-fused; in place of int8 choose int8-weights."
)

# What an export takes, in its README.
_TAKES = {
    "text": "raw text",
    "words": "text that is split into words, with a space between them (`BertJapaneseTokenizer.split_words`)",
    "ids": "the ids of the tokenizer in `assets.extra`",
}

# Longer lists are vectors, of which the README shows the beginning.
_MAX_SHOWN = 24


def check_version(directory: Path) -> None:
    """Raises ``InputError`` unless a directory is called ``NAME/VERSION``."""
    if not (directory.name.isascii() and directory.name.isdecimal()):
        raise InputError(
            f"{directory} ends in {directory.name!r}, but TF Serving expects an integer, the version. "
            f"Name a directory such as {directory / '1'}."
        )


def write(contents: ExportContents, path: Path) -> None:
    """Writes a SavedModel, with the tokenizer unless it takes ids, which runs on TensorFlow without Keras and TF Text.

    The signatures are those of `keras_bert_impl.export.signatures`. ``assets.extra`` contains the requests that TF
    Serving runs before a version receives traffic.
    """
    import tensorflow as tf

    from keras_bert_impl.export.signatures import make_signatures
    from keras_bert_impl.export.warmup import NAME, write_warmup

    directory = path.parent
    module = tf.Module()
    functions, module.variables_of_signatures, record = make_signatures(contents)
    try:
        tf.saved_model.save(module, str(directory), signatures=functions)
    except tf.errors.OpError as error:
        # TensorFlow reports a full disk, for example, with names of its operations around the message.
        reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*?\]", "", error.message)
        raise OSError(f"{directory} cannot be written: {reason}") from error
    (directory / EXTRA).mkdir()
    write_warmup(directory / EXTRA / NAME, contents.name, functions)
    if record:
        write_text(directory / EXTRA / INT8_RECORD, to_json(record))


def open(path: Path) -> PredictFunction:
    """Opens a SavedModel without Keras, and returns its signature over ids.

    Raises:
        InputError: TensorFlow is not installed; or, when the signature is called, lacks an operation.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise make_missing_error(error, "tensorflow", user="a SavedModel") from error
    loaded = tf.saved_model.load(str(path.parent))

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        try:
            # Uses `loaded`, because the signature alone does not keep a reference to the variables.
            outputs = loaded.signatures["ids"](**tensors)
        except (tf.errors.UnimplementedError, tf.errors.NotFoundError) as error:
            raise InputError(f"{path.parent}: {describe_missing_kernel(error)}. {ONEDNN_ADVICE}") from error
        return {name: value.numpy() for name, value in outputs.items()}

    return run


def describe_missing_kernel(error: Any) -> str:
    """Returns the part of TensorFlow's message that says which operation it lacks."""
    lines = [line.strip().rstrip(".") for line in error.message.splitlines()]
    return next((line for line in lines if "not implemented" in line or "OpKernel" in line), lines[0])[:200]


def list_operations(path: Path) -> set[str]:
    """Returns the names of the operations in a ``saved_model.pb``."""
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    used: set[str] = set()
    for graph in (meta.graph_def for meta in content.meta_graphs):
        defined = {function.signature.name for function in graph.library.function}
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        used |= {node.op for node in nodes} - defined
    return used


def make_guide(contents: ExportContents, path: Path) -> str:
    """Returns the README: how to serve the export, with an example request and its response."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path.parent))
    default = loaded.signatures["serving_default"]
    example = _make_example(contents)
    outputs = default(**{key: tf.constant([value]) for key, value in example.items()})
    response = {key: _to_plain(outputs[key].numpy()[0]) for key in sorted(outputs)}
    return _PAGE.format(
        name=contents.name,
        where=_REQUIREMENT if list_operations(path) & set(ONEDNN) else "",
        takes=_TAKES[contents.inputs],
        body=shlex.quote(json.dumps({"instances": [example]}, ensure_ascii=False)),
        response=_format_response(response),
        inputs="\n".join(
            f'request.inputs["{key}"].CopyFrom(tf.make_tensor_proto([{value!r}]))' for key, value in example.items()
        ),
        signatures="\n".join(
            f"| `{key}` | {_format_specs(function.structured_input_signature[1])} | "
            f"{_format_specs(function.structured_outputs)} |"
            for key, function in sorted(loaded.signatures.items())
        ),
        prompts=_format_prompts(contents),
    )


def _make_example(contents: ExportContents) -> dict[str, Any]:
    """Returns an example for the README, by argument of ``serving_default``."""
    from keras_bert_impl.export.signatures import find_graph

    example = find_graph(contents).EXAMPLE
    if not contents.task.needs_pair:
        example = {name: text for name, text in example.items() if name != "text_pair"}
    if contents.inputs == "ids":
        rows = contents.tokenizer(next(iter(example.values())))
        return {name: array[0].tolist() for name, array in contents.shape_inputs(rows).items()}
    join = contents.tokenizer.make_graph_text if contents.inputs == "words" else str
    return {name: join(text) if isinstance(text, str) else list(map(join, text)) for name, text in example.items()}


def _format_prompts(contents: ExportContents) -> str:
    """Returns the sentence about the prompts of the signatures; empty for a model without prompts."""
    default = contents.settings.default_prompt_name
    prompts = [f"`{name}` {text!r}" for name, text in contents.prompts.items()]
    if not prompts:
        return ""
    others = f"that of `{default}`" if default in contents.prompts else "no prompt"
    return f"\nPrompts before each text: {', '.join(prompts)}; `serving_default` and `embed` have {others}.\n"


def _format_response(response: Mapping[str, Any]) -> str:
    """Formats the body of a response, one output per line; vectors are abbreviated."""
    lines = []
    for name, value in response.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and len(value) > _MAX_SHOWN:
            text = f"{json.dumps(value[:4], ensure_ascii=False)[:-1]}, …]"
        lines.append(f"  {json.dumps(name)}: {text}")
    return '{"predictions": [{\n' + ",\n".join(lines) + "\n}]}"


def _format_specs(specs: Mapping[str, Any]) -> str:
    """Names with types and shapes."""
    parts = []
    for name, spec in specs.items():
        shape = ", ".join("?" if size is None else str(size) for size in spec.shape)
        parts.append(f"`{name}` {spec.dtype.name} [{shape}]")
    return ", ".join(parts)


def _to_plain(value: Any) -> Any:
    """Arrays and bytes as JSON values, floats with the digits that float32 always preserves."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if hasattr(value, "ndim") and value.ndim:
        return [_to_plain(entry) for entry in value]
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.6g}") if isinstance(value, float) else value
