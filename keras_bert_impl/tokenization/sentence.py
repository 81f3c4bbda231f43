"""The tokenizer of an embedding model."""

from pathlib import Path
from typing import Any

from keras_bert_impl.sources import Source
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer


def open_sentence_tokenizer(source: str | Path | Source, *, do_lower_case: bool) -> BertTokenizer:
    """Reads the tokenizer of an embedding model.

    Args:
        source: a directory, the name of a bundled model, a hub name, or an opened source.
        do_lower_case: whether a cased tokenizer lower-cases text, too; it keeps accents as before.

    Raises:
        InputError: the source has no tokenizer, or one that cannot be used.
    """
    tokenizer = BertTokenizer.from_pretrained(source)
    if tokenizer.do_lower_case or not do_lower_case:
        return tokenizer
    # With None, a tokenizer that lower-cases removes accents.
    accents: dict[str, Any] = (
        {"strip_accents": bool(tokenizer.strip_accents)} if "strip_accents" in tokenizer.settings else {}
    )
    return BertTokenizer.from_pretrained(source, do_lower_case=True, **accents)
