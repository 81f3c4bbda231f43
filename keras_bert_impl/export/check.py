"""Checks whether a server can run an export."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_bert_impl.errors import InputError
from keras_bert_impl.export.formats import EXTRA
from keras_bert_impl.export.warmup import NAME, make_prediction_log, make_warmup_inputs
from keras_bert_impl.tokenization import BertTokenizer

_SENTENCES = [
    "It was a great movie.",
    "",
    "Naïve İstanbul ﬁ 日本語 한국어 👍🏽 [MASK] e\u0301",
    "a" * 120,
    "so\x00 far\u200d " * 300,
]
_BUFFER = 1 << 18
# The maximum difference that rounding can cause.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """The result of one check: its name, whether it passed, and the details."""

    name: str
    passed: bool
    details: str


def check_export(directory: str | Path) -> Iterator[Check]:
    """Checks an export as a server would run it, without Keras.

    Args:
        directory: ``NAME/VERSION``.

    Yields:
        one `Check` each: location; operations; signatures (runs all warm-up requests); warm-up file; and, if the
        signature over ids has the same outputs, the tokenizer in the graph compared with the one in the files.

    Raises:
        InputError: there is no SavedModel.

    >>> for check in check_export("saved_models/sentiment/1"):  # doctest: +SKIP
    ...     print(check)
    """
    directory = Path(directory)
    path = directory / "saved_model.pb"
    if not path.is_file():
        raise InputError(
            f"{directory} has no saved_model.pb; a SavedModel was expected. Make one with 'keras-bert export'."
        )
    is_version = directory.absolute().name.isdecimal()
    yield Check(
        "location", is_version, f"version {directory.absolute().name}" if is_version else "not a version number"
    )
    unknown, count = _find_unknown_operations(path)
    details = f"not in TensorFlow: {', '.join(unknown)}" if unknown else f"{count} kinds, all in TensorFlow"
    yield Check("operations", not unknown, details)
    loaded = tf.saved_model.load(str(directory))
    names = ", ".join(sorted(loaded.signatures))
    requests = list(make_warmup_inputs(loaded.signatures))
    for signature, inputs in requests:
        loaded.signatures[signature](**inputs)
    yield Check("signatures", "serving_default" in loaded.signatures, f"{names}: {len(requests)} requests were run")
    yield _check_warmup(directory / EXTRA / NAME, directory.absolute().parent.name, requests)
    if check := _check_tokenizer(directory, loaded):
        yield check


def _find_unknown_operations(path: Path) -> tuple[list[str], int]:
    """Returns the graph's operations that are not in TensorFlow, and the number of kinds of operations."""
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    used: set[str] = set()
    for graph in (meta.graph_def for meta in content.meta_graphs):
        own = {function.signature.name for function in graph.library.function}
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        used |= {node.op for node in nodes} - own
    return sorted(operation for operation in used if not hasattr(tf.raw_ops, operation)), len(used)


def _check_warmup(path: Path, model: str, requests: list[tuple[str, dict[str, Any]]]) -> Check:
    if not path.is_file():
        return Check("warm-up", False, f"{EXTRA}/{NAME} is missing")
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path), buffer_size=_BUFFER)]
    expected = [make_prediction_log(model, signature, inputs) for signature, inputs in requests]
    same = sorted(records) == sorted(expected)
    return Check("warm-up", same, f"{len(records)} requests" + ("" if same else f", not the expected ones for {model}"))


def _check_tokenizer(directory: Path, loaded: Any) -> Check | None:
    """Compares the scores for texts with those for the ids of the host's tokenizer."""
    text, ids = loaded.signatures["serving_default"], loaded.signatures.get("ids")
    has_text = set(text.structured_input_signature[1]) == {"text"}
    if ids is None or not has_text or "scores" not in text.structured_outputs.keys() & ids.structured_outputs.keys():
        return None
    tokenizer = BertTokenizer.from_pretrained(directory / EXTRA)
    batch = tokenizer(_SENTENCES)
    expected = ids(**{name: tf.constant(value) for name, value in batch.items()})["scores"].numpy()
    difference = float(np.abs(text(text=tf.constant(_SENTENCES))["scores"].numpy() - expected).max())
    return Check(
        "tokenizer", difference < _TOLERANCE, f"scores for texts and for the host's ids differ by {difference:.1e}"
    )
