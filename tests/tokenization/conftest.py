"""Fixtures of the tests of `BertTokenizer`."""

from tokenizer_texts import cased_vocabulary, texts

__all__ = ["cased_vocabulary", "texts"]
