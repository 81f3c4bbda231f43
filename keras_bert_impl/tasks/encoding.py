"""Common encoding functions of tasks: checks against the model, truncation, and model inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Ragged
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


def find_label_id(name: str, label2id: Mapping[str, int], *, location: str) -> int:
    """Returns the id of a label.

    Raises:
        InputError: the model does not know the label; ``location`` begins the message.
    """
    if name not in label2id:
        names = ", ".join(map(repr, list(label2id)[:_MAX_LISTED])) + (", …" if len(label2id) > _MAX_LISTED else "")
        raise InputError(
            f"{location}: the label {name!r} was not in the training data; the model knows {names}. "
            "Correct or remove this row, or train with examples of this label."
        )
    return label2id[name]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def choose_label(names: Sequence[str], probabilities: Sequence[float]) -> dict[str, Any]:
    """Returns the most likely ``label``, its ``score`` (probability), and the ``scores`` of all labels by name."""
    scores = dict(zip(names, probabilities, strict=True))
    label = max(scores, key=scores.__getitem__)
    return {"label": label, "score": scores[label], "scores": scores}
