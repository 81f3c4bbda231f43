"""``AutoTokenizer``: the tokenizer of a checkpoint, whatever its class."""

from pathlib import Path
from typing import Any

from keras_bert_impl.sources import Source
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer


class AutoTokenizer:
    """Opens the tokenizer of a checkpoint with the class that its files ask for.

    >>> AutoTokenizer.from_pretrained("bert-tiny-novels").tokenize("She went in.")
    ['she', 'went', 'in', '.']
    """

    @staticmethod
    def from_pretrained(source: str | Path | Source, **options: Any) -> BertTokenizer:
        """Reads the tokenizer of a checkpoint.

        Args:
            source: a directory, the name of a bundled model, a hub name, or an opened source.
            **options: see `BertTokenizer.from_pretrained`.

        Raises:
            InputError: the source has no tokenizer, or one that cannot be used.
        """
        return BertTokenizer.from_pretrained(source, **options)
