"""Fixtures of the tests of the exported tokenizer."""

from tokenizer_texts import cased_vocabulary, texts

__all__ = ["cased_vocabulary", "texts"]
