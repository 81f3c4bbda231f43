"""What the encoders of all tasks share: checks against the model, and tokenizer rows as features."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.features import Ragged
from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertTokenizer

# More names than this in a message help nobody.
_LISTED = 20


def check_fit(tokenizer: BertTokenizer, config: BertConfig, *, max_length: int, pairs: bool) -> None:
    """Raises ``InputError`` if rows of this length, or pairs, or this vocabulary do not fit the model."""
    if max_length > config.max_position_embeddings:
        raise InputError(
            f"max_length is {max_length}, but the model has {config.max_position_embeddings} positions. "
            f"Choose at most {config.max_position_embeddings}."
        )
    if pairs and config.type_vocab_size < 2:
        raise InputError("these are pairs of texts, but the model knows one segment only (type_vocab_size is 1).")
    check_vocabulary(tokenizer, config)


def check_vocabulary(tokenizer: BertTokenizer, config: BertConfig) -> None:
    """Raises ``InputError`` if the tokenizer has tokens that the model has not."""
    if tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, but the model's vocabulary has {config.vocab_size}. "
            "Use the tokenizer that belongs to the model."
        )


def model_inputs(rows: Mapping[str, Sequence[np.ndarray]], tokenizer: BertTokenizer) -> dict[str, Ragged]:
    """The model's inputs from the tokenizer's unpadded rows."""
    ids = Ragged.from_rows(rows["input_ids"], dtype=np.int32, pad=tokenizer.pad_token_id)
    return {
        "input_ids": ids,
        "token_type_ids": Ragged.from_rows(rows["token_type_ids"], dtype=np.int32),
        # Ones that take no memory: every token that is not padding counts.
        "attention_mask": Ragged(np.broadcast_to(np.int32(1), ids.flat.shape), ids.offsets),
    }


def label_id(name: str, known: Mapping[str, int], *, place: str) -> int:
    """The number of a label; ``place`` begins the message if the model does not know it."""
    if name not in known:
        names = ", ".join(map(repr, list(known)[:_LISTED])) + (", …" if len(known) > _LISTED else "")
        raise InputError(
            f"{place}: the label {name!r} was not in the training data; the model knows {names}. "
            "Correct or remove this row, or train with examples of this label."
        )
    return known[name]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in float64."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
