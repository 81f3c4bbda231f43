"""Checks whether a server can run an export."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.export.formats import EXTRA
from keras_bert_impl.export.graphs.vectors import list_prompts
from keras_bert_impl.export.saved_model import ONEDNN, ONEDNN_ADVICE, describe_missing_kernel, list_operations
from keras_bert_impl.export.warmup import NAME, make_prediction_log, make_warmup_inputs
from keras_bert_impl.tasks.encoding import POOLING_MASK, count_prompt_tokens
from keras_bert_impl.tasks.windows import count_first, get_windows
from keras_bert_impl.tokenization import BertTokenizer

_SENTENCES = [
    "It was a great movie.",
    "",
    "Naïve İstanbul ﬁ 日本語 한국어 👍🏽 [MASK] e\u0301",
    "a" * 120,
    "so\x00 far\u200d " * 300,
]
_BUFFER = 1 << 18
# The outputs that signatures over texts and over ids have in common, and what messages call them.
_OUTPUTS = {"scores": "scores", "score": "scores", "sentence_embedding": "vectors"}
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
    used = list_operations(path)
    unknown, onednn = sorted(filter(_is_unknown, used)), sorted(used & set(ONEDNN))
    details = f"not in TensorFlow: {', '.join(unknown)}" if unknown else f"{len(used)} kinds, all in TensorFlow"
    yield Check("operations", not unknown, details)
    loaded = tf.saved_model.load(str(directory))
    names = ", ".join(sorted(loaded.signatures))
    requests = list(make_warmup_inputs(loaded.signatures))
    try:
        for signature, inputs in requests:
            loaded.signatures[signature](**inputs)
    except tf.errors.OpError as error:
        if not onednn:
            raise
        yield Check("oneDNN", False, f"{describe_missing_kernel(error)}. {ONEDNN_ADVICE}")
        return
    if onednn:
        yield Check("oneDNN", True, f"{', '.join(onednn)} were run")
    yield Check("signatures", "serving_default" in loaded.signatures, f"{names}: {len(requests)} requests were run")
    yield _check_warmup(directory / EXTRA / NAME, directory.absolute().parent.name, requests)
    if check := _check_tokenizer(directory, loaded):
        yield check


def _is_unknown(operation: str) -> bool:
    return not hasattr(tf.raw_ops, operation) and operation not in ONEDNN


def _check_warmup(path: Path, model: str, requests: list[tuple[str, dict[str, Any]]]) -> Check:
    if not path.is_file():
        return Check("warm-up", False, f"{EXTRA}/{NAME} is missing")
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path), buffer_size=_BUFFER)]
    expected = [make_prediction_log(model, signature, inputs) for signature, inputs in requests]
    same = sorted(records) == sorted(expected)
    return Check("warm-up", same, f"{len(records)} requests" + ("" if same else f", not the expected ones for {model}"))


def _check_tokenizer(directory: Path, loaded: Any) -> Check | None:
    """Compares the outputs for texts with those for the ids of the host's tokenizer, for each prompt."""
    default, ids = loaded.signatures["serving_default"], loaded.signatures.get("ids")
    columns = {"text": _SENTENCES, "text_pair": _SENTENCES[::-1]}
    inputs = {name: columns[name] for name in default.structured_input_signature[1] if name in columns}
    both = default.structured_outputs.keys() & (ids.structured_outputs.keys() if ids else set()) & _OUTPUTS.keys()
    if len(inputs) != len(default.structured_input_signature[1]) or not both:
        return None
    (output,) = both
    tokenizer, config = BertTokenizer.from_pretrained(directory / EXTRA), BertConfig.from_pretrained(directory / EXTRA)
    if get_windows(config):  # The signature over ids does not pool the scores of several windows.
        inputs = _select_short_rows(inputs, tokenizer)
    differences = []
    for name, prompt in list_prompts(config).items():
        if name not in loaded.signatures:
            continue
        texts, *pairs = (inputs[column] for column in sorted(inputs))
        batch = tokenizer([prompt + text for text in texts], *pairs)
        if POOLING_MASK in ids.structured_input_signature[1]:
            excluded = count_prompt_tokens(tokenizer, prompt, tokenizer.model_max_length)
            positions = np.arange(batch["input_ids"].shape[1])
            batch[POOLING_MASK] = batch["attention_mask"] * (positions >= excluded).astype(np.int32)
        expected = ids(**{key: tf.constant(value) for key, value in batch.items()})[output].numpy()
        graph_inputs = {key: list(map(tokenizer.make_graph_text, value)) for key, value in inputs.items()}
        outputs = loaded.signatures[name](**{key: tf.constant(value) for key, value in graph_inputs.items()})[output]
        outputs = outputs.numpy()
        # The outputs for ids have all dimensions, even if the model truncates its vectors.
        expected = expected[..., : outputs.shape[-1]] if outputs.ndim > 1 else expected
        differences.append(np.abs(outputs - expected).max())
    difference = float(np.max(differences))
    details = f"{_OUTPUTS[output]} for texts and for the host's ids differ by {difference:.1e}"
    return Check("tokenizer", difference < _TOLERANCE, details)


def _select_short_rows(inputs: dict[str, list[str]], tokenizer: BertTokenizer) -> dict[str, list[str]]:
    """Returns the texts, or pairs of texts, that fit into one window."""
    rows = list(zip(*inputs.values(), strict=True))
    lengths = [sum(len(tokenizer.tokenize(text)) for text in row) for row in rows]
    limit = count_first(tokenizer.model_max_length)  # Both texts of a pair are read completely.
    short = [row for row, length in zip(rows, lengths, strict=True) if length <= limit]
    return dict(zip(inputs, map(list, zip(*short, strict=True)), strict=True))
