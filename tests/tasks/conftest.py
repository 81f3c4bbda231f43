"""A small vocabulary for texts whose tokens are easy to see, and the real one."""

from pathlib import Path

import pytest

from keras_bert_impl.config import BertConfig
from keras_bert_impl.tokenization import BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def letters() -> BertTokenizer:
    """Every letter, digit and point is a token of its own: 'abc' is a, ##b, ##c."""
    signs = "abcdefghijklmnopqrstuvwxyz0123456789.,?"
    return BertTokenizer([*SPECIAL, *signs, *(f"##{sign}" for sign in signs)])


@pytest.fixture(scope="session")
def minilm_tokenizer(minilm: Path) -> BertTokenizer:
    return BertTokenizer.from_pretrained(minilm)


@pytest.fixture
def config() -> BertConfig:
    """Fits either tokenizer; labels are set by the tests."""
    return BertConfig.preset("tiny", vocab_size=30522, max_position_embeddings=384)


@pytest.fixture(scope="session")
def tokenizer(small_bert: Path) -> BertTokenizer:
    """A vocabulary of film snippets, uncased."""
    return BertTokenizer.from_pretrained(small_bert, do_lower_case=True)
