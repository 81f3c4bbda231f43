"""Requests that TF Serving runs before a version takes traffic, so that the first user does not wait.

The file is a TFRecord of ``PredictionLog`` messages (tensorflow_serving/apis/prediction_log.proto). Of these only the
few fields that a request needs are written, which takes less than the package that defines them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

NAME = "tf_serving_warmup_requests"

# TF Serving reads no more than a thousand; a short and a longer batch reach every branch of the graphs.
_SENTENCES = (
    ["It was a great movie."],
    ["It was a great movie.", "Nobody [MASK] unaffable naïveté – 日本語 👍!", "", "so " * 40, "A", "b", "c", "d"],
)

# Field numbers of the messages.
_LOG_PREDICT, _PREDICT_REQUEST, _REQUEST_SPEC, _REQUEST_INPUTS = 6, 1, 1, 2
_SPEC_NAME, _SPEC_SIGNATURE, _ENTRY_KEY, _ENTRY_VALUE = 1, 3, 1, 2


def warmup_inputs(signatures: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of signatures, and inputs for them.

    Args:
        signatures: concrete functions whose inputs are named and are strings ``[batch]`` or ids ``[batch, length]``.
    """
    for name, function in signatures.items():
        specs = function.structured_input_signature[1]
        for sentences in _SENTENCES:
            yield (
                name,
                {
                    key: tf.constant(sentences)
                    if spec.dtype == tf.string
                    else tf.ones([len(sentences), 16], spec.dtype)
                    for key, spec in specs.items()
                },
            )


def write_warmup(path: Path, model: str, signatures: Mapping[str, Any]) -> None:
    """Writes the requests for a model of that name."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in warmup_inputs(signatures):
            writer.write(prediction_log(model, signature, inputs))


def prediction_log(model: str, signature: str, inputs: Mapping[str, Any]) -> bytes:
    """A serialized ``PredictionLog`` with one request."""
    spec = _field(_SPEC_NAME, model.encode()) + _field(_SPEC_SIGNATURE, signature.encode())
    request = _field(_REQUEST_SPEC, spec)
    # A loaded signature has its inputs in an order that differs from process to process.
    for name, value in sorted(inputs.items()):
        tensor = tf.make_tensor_proto(value).SerializeToString(deterministic=True)
        request += _field(_REQUEST_INPUTS, _field(_ENTRY_KEY, name.encode()) + _field(_ENTRY_VALUE, tensor))
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field in protocol buffers' encoding."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
