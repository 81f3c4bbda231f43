"""Common encoding functions of tasks: checks against the model, truncation, and model inputs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Ragged
from keras_bert_impl.data.labels import make_key, make_label
from keras_bert_impl.data.tables import Columns, check_weight, location
from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertTokenizer

# The input of embedding models that excludes tokens of a prompt from the pooling.
POOLING_MASK = "pooling_mask"

# Messages list at most this number of labels.
_MAX_LISTED = 20


def check_fit(tokenizer: BertTokenizer, config: BertConfig, *, max_length: int, pairs: bool) -> None:
    """Raises ``InputError`` if rows of this length, pairs of texts, or this vocabulary do not fit the model."""
    if max_length > config.max_position_embeddings:
        raise InputError(
            f"max_length is {max_length}, but the model has {config.max_position_embeddings} positions. "
            f"Choose at most {config.max_position_embeddings}."
        )
    if pairs and config.type_vocab_size < 2:
        raise InputError(
            "pairs of texts need two segments, but the model has one (type_vocab_size is 1). Use single texts, or "
            "another model."
        )
    config.check_tokenizer(tokenizer.vocab_size)


def truncate(
    tokenizer: BertTokenizer, texts: Sequence[str], pairs: Sequence[str] | None, *, max_length: int
) -> tuple[dict[str, Any], int]:
    """Tokenizes texts or pairs without padding; returns the rows, and the number of those that were truncated."""
    rows = tokenizer(list(texts), None if pairs is None else list(pairs), padding=False, truncation=False)
    # A second call truncates, because only complete rows show which ones are too long.
    long = [i for i, row in enumerate(rows["input_ids"]) if len(row) > max_length]
    if long:
        long_pairs = None if pairs is None else [pairs[i] for i in long]
        cut = tokenizer([texts[i] for i in long], long_pairs, padding=False, truncation=True, max_length=max_length)
        for name, shorter in cut.items():
            for i, row in zip(long, shorter, strict=True):
                rows[name][i] = row
    return rows, len(long)


def cut_texts(texts: Sequence[str], tokenizer: BertTokenizer, *, max_tokens: int) -> tuple[list[str], list[int]]:
    """Cuts texts after ``max_tokens`` tokens; returns them, and the numbers of those that were longer."""
    cut = list(texts)
    ids = tokenizer.encode_ragged(cut, truncation=False)["input_ids"]
    long = [i for i, row in enumerate(ids) if len(row) > max_tokens + 2]
    rows = tokenizer([texts[i] for i in long], padding=False, max_length=max_tokens + 2, return_offsets=True)
    for i, spans in zip(long, rows["offset_mapping"], strict=True):
        cut[i] = texts[i][: spans[-2, 1]]
    return cut, long


def make_model_inputs(rows: Mapping[str, Sequence[np.ndarray]], tokenizer: BertTokenizer) -> dict[str, Ragged]:
    """Returns the model's inputs from the tokenizer's unpadded rows."""
    ids = Ragged.from_rows(rows["input_ids"], dtype=np.int32, pad=tokenizer.pad_token_id)
    return {
        "input_ids": ids,
        "token_type_ids": Ragged.from_rows(rows["token_type_ids"], dtype=np.int32),
        # Ones for all tokens, as a view that takes no memory; padding gets zeros.
        "attention_mask": Ragged(np.broadcast_to(np.int32(1), ids.flat.shape), ids.offsets),
    }


def count_prompt_tokens(tokenizer: BertTokenizer, prompt: str, max_length: int) -> int:
    """Returns the number of tokens at the start of a text that belong to the prompt, ``[CLS]`` included."""
    if not prompt:
        return 0
    (ids,) = tokenizer.encode_ragged([prompt], max_length=max_length)["input_ids"]
    return len(ids) - 1  # Without [SEP].


def make_pooling_mask(ids: Ragged, excluded: Any) -> Ragged:
    """Returns 0 for the first ``excluded`` tokens of each row of token ids, and 1 for the others.

    Args:
        ids: the token ids.
        excluded: a number for all rows, or one for each row.
    """
    positions = np.arange(len(ids.flat)) - np.repeat(ids.offsets[:-1], ids.lengths)
    first = np.repeat(np.broadcast_to(excluded, len(ids)), ids.lengths)
    return Ragged((positions >= first).astype(np.int32), ids.offsets)


def check_finite(is_finite: Any, *, name: str = "text", first: int = 0) -> None:
    """Checks that all vectors are finite.

    Args:
        is_finite: whether each vector has finite numbers only.
        name: what a vector is computed for, for the message.
        first: the number of vectors before these, for the message.

    Raises:
        InputError: a vector is not finite.
    """
    if not np.all(is_finite):
        raise InputError(
            f"the vector of {name} {first + int(np.argmin(is_finite)) + 1} is not finite: the weights of the model are "
            "damaged, or too large for its dtype. Check the weights, or use float32."
        )


def list_labels(columns: Columns) -> list[str]:
    """Returns the name of the label of each example; see `make_label`.

    Raises:
        InputError: a label is missing.
    """
    return [make_label(label, location=location(columns, i)) for i, label in enumerate(columns["label"])]


def find_label_id(label: Any, label2id: Mapping[str, int], *, location: str) -> int:
    """Returns the id of a label. Labels with the same key are the same; see `make_key`.

    Raises:
        InputError: the label is missing, or the model does not know it; ``location`` begins the message.

    >>> find_label_id(1.0, {"0": 0, "1": 1}, location="example 1")
    1
    """
    name = make_label(label, location=location)
    if name in label2id:
        return label2id[name]
    by_key = {make_key(known): number for known, number in label2id.items()}
    if make_key(name) not in by_key:
        raise InputError(
            f"{location}: the label {name!r} was not in the training data; the model knows {format_names(label2id)}. "
            "Correct or remove this row, or train with examples of this label."
        )
    return by_key[make_key(name)]


def read_weights(columns: Columns) -> np.ndarray:
    """Returns the weight of each example in the loss: float32 ``[examples]``.

    Raises:
        InputError: a weight is negative or not a finite number, or all are 0.
    """
    weights = [
        check_weight(weight, name="weight", location=location(columns, i)) for i, weight in enumerate(columns["weight"])
    ]
    if not any(weights):
        raise InputError(
            f"{location(columns, 0)}: the weight of this example and of all after it is 0; a weight above 0 was "
            "expected."
        )
    return np.array(weights, np.float32)


def find_label_name(label: Any, names: Sequence[str], *, location: str) -> str:
    """Returns the name of a label that is given by its id or its name.

    Raises:
        InputError: the model does not know the label; ``location`` begins the message.

    >>> find_label_name(1, ["bad", "good"], location="example 1")
    'good'
    """
    if isinstance(label, str) and label in names:
        return label
    if isinstance(label, int | float) and label in range(len(names)):
        return names[int(label)]
    raise InputError(
        f"{location}: the label is {label!r:.50}; an id from 0 to {len(names) - 1} or a name was expected, and the "
        f"names are {format_names(names)}. Correct it, or load the model with id2label={{0: …, 1: …}} for your labels."
    )


def format_names(names: Iterable[str]) -> str:
    """Returns the names of labels for a message, which lists at most 20 of them."""
    listed = list(names)
    return ", ".join(map(repr, listed[:_MAX_LISTED])) + (", …" if len(listed) > _MAX_LISTED else "")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probability of each label on its own, in float64."""
    return np.exp(-np.logaddexp(0, -logits.astype(np.float64)))


def choose_label(names: Sequence[str], probabilities: Sequence[float]) -> dict[str, Any]:
    """Returns the most likely ``label``, its ``score`` (probability), and the ``scores`` of all labels by name."""
    scores = dict(zip(names, probabilities, strict=True))
    label = max(scores, key=scores.__getitem__)
    return {"label": label, "score": scores[label], "scores": scores}
