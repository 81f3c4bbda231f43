"""Warm-up requests: TF Serving runs them before a version receives traffic, so that the first request is fast.

The file is a TFRecord of ``PredictionLog`` messages (tensorflow_serving/apis/prediction_log.proto). This module writes
the few fields that a request needs, which avoids a dependency on the package that defines the messages.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

NAME = "tf_serving_warmup_requests"

# TF Serving reads at most 1,000 requests; one short and one longer batch run every branch of the graphs.
_SENTENCES = (
    ["It was a great movie."],
    ["It was a great movie.", "Nobody [MASK] unaffable naïveté – 日本語 👍!", "", "so " * 40, "A", "b", "c", "d"],
)

# Field numbers of the messages.
_LOG_PREDICT, _PREDICT_REQUEST, _REQUEST_SPEC, _REQUEST_INPUTS = 6, 1, 1, 2
_SPEC_NAME, _SPEC_SIGNATURE, _ENTRY_KEY, _ENTRY_VALUE = 1, 3, 1, 2


def make_warmup_inputs(signatures: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields names of signatures, and inputs for them.

    Args:
        signatures: concrete functions whose named inputs are strings ``[batch]`` or ``[batch, choices]``, or ids
            ``[batch, length]`` or ``[batch, choices, length]``.
    """
    for name, function in signatures.items():
        # The inputs of a loaded function are named, those of a function that was not saved yet are positional.
        specs = tf.nest.flatten(function.structured_input_signature)
        for sentences in _SENTENCES:
            yield name, {spec.name: _make_example(spec, sentences) for spec in specs}


def _make_example(spec: tf.TensorSpec, sentences: list[str]) -> Any:
    if spec.dtype == tf.string:
        return tf.constant(sentences if spec.shape.rank == 1 else [[text, "It was."] for text in sentences])
    return tf.ones([len(sentences), *[2] * (spec.shape.rank - 2), 16], spec.dtype)


def write_warmup(path: Path, model: str, signatures: Mapping[str, Any]) -> None:
    """Writes the requests for a model of that name."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in make_warmup_inputs(signatures):
            writer.write(make_prediction_log(model, signature, inputs))


def make_prediction_log(model: str, signature: str, inputs: Mapping[str, Any]) -> bytes:
    """Returns a serialized ``PredictionLog`` with one request."""
    spec = _encode_field(_SPEC_NAME, model.encode()) + _encode_field(_SPEC_SIGNATURE, signature.encode())
    request = _encode_field(_REQUEST_SPEC, spec)
    # The order of a loaded signature's inputs differs between processes.
    for name, value in sorted(inputs.items()):
        tensor = tf.make_tensor_proto(value).SerializeToString(deterministic=True)
        request += _encode_field(
            _REQUEST_INPUTS, _encode_field(_ENTRY_KEY, name.encode()) + _encode_field(_ENTRY_VALUE, tensor)
        )
    return _encode_field(_LOG_PREDICT, _encode_field(_PREDICT_REQUEST, request))


def _encode_field(number: int, content: bytes) -> bytes:
    """Returns a length-delimited field in protocol buffers' encoding."""
    return _encode_varint(number << 3 | 2) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
