"""The short ``README.md`` beside an export: how to serve it, what to send, and what it answered when it was made."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

_PAGE = """# {name}

Made by keras_bert_impl. A TensorFlow SavedModel that takes raw text; any TensorFlow or TF Serving of version 2 runs it.
In the directory that holds the versions:

    docker run -p 8500:8500 -p 8501:8501 \\
        --mount type=bind,source="$PWD",target=/models/{name} \\
        -e MODEL_NAME={name} -e TF_ONEDNN_ASSUME_FROZEN_WEIGHTS=1 tensorflow/serving

The second setting lets oneDNN arrange the weights once instead of for each request, which a single sentence notices.

## REST

    curl -X POST http://localhost:8501/v1/models/{name}:predict -d {body}

answers

```json
{answer}
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

| signature | takes | gives |
|---|---|---|
{signatures}
"""

_EXAMPLES = {
    "text": "It was a great movie.",
    "question": "What was great?",
    "context": "The book was dull. The movie was great.",
}
# Longer lists are vectors.
_SHOWN = 24
_MASKED = "The [MASK] crossed the river."


def guide(name: str, signatures: Mapping[str, Any]) -> str:
    """The page for an export of that name.

    Args:
        name: the model's name, that of the directory above the version.
        signatures: the loaded export's; ``serving_default`` takes strings.
    """
    default = signatures["serving_default"]
    example = {key: _EXAMPLES[key] for key in default.structured_input_signature[1]}
    # Only the signature of masked words gives lists of lists of strings.
    if "tokens" in default.structured_outputs and len(default.structured_outputs["tokens"].shape) == 3:
        example = {"text": _MASKED}
    outputs = default(**{key: tf.constant([value]) for key, value in example.items()})
    answer = {key: _plain(outputs[key].numpy()[0]) for key in sorted(outputs)}
    return _PAGE.format(
        name=name,
        body=shlex.quote(json.dumps({"instances": [example]}, ensure_ascii=False)),
        answer=_shown(answer),
        inputs="\n".join(
            f'request.inputs["{key}"].CopyFrom(tf.make_tensor_proto([{value!r}]))' for key, value in example.items()
        ),
        signatures="\n".join(
            f"| `{key}` | {_named(function.structured_input_signature[1])} | {_named(function.structured_outputs)} |"
            for key, function in sorted(signatures.items())
        ),
    )


def _shown(answer: Mapping[str, Any]) -> str:
    """The body of an answer, an output a line; of vectors only the beginning."""
    lines = []
    for name, value in answer.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and len(value) > _SHOWN:
            text = f"{json.dumps(value[:4], ensure_ascii=False)[:-1]}, …]"
        lines.append(f"  {json.dumps(name)}: {text}")
    return '{"predictions": [{\n' + ",\n".join(lines) + "\n}]}"


def _named(specs: Mapping[str, Any]) -> str:
    """Names with types and shapes."""
    shown = []
    for name, spec in specs.items():
        shape = ", ".join("?" if size is None else str(size) for size in spec.shape)
        shown.append(f"`{name}` {spec.dtype.name} [{shape}]")
    return ", ".join(shown)


def _plain(value: Any) -> Any:
    """Arrays and bytes as JSON has them, floats with the digits that float32 holds for sure."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if hasattr(value, "ndim") and value.ndim:
        return [_plain(entry) for entry in value]
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.6g}") if isinstance(value, float) else value
