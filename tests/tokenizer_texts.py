"""Fixtures for tests of tokenizers: texts and a vocabulary."""

import random
from pathlib import Path

import pytest
import tokenizers

TRICKY = [
    "",
    "   ",
    "\n",
    "Café naïve Ångström ǰ",
    "e\u0301 \u0301 \u0327o",
    "ﬁne ﬀ Straße İstanbul ı ẞ",
    "日本語 中文abc 㐀𠀀 한국어",
    "😀 emoji 👨‍👩‍👧‍👦 x🇩🇪",
    "a\x00b\x85c\u200bd\ufeffe\x7ff\ufffdg\xadh",
    "[MASK] [mask] x[SEP]y [CLS][PAD] [UNK] [unused0]",
    "don't can't U.S.A. $5.00 100% `a^b~c| <x>=y+z",
    "ﷺ ℵ ½ ²",
    "a" * 101,
    "b" * 100,
    "\u2028x\u2029y\u3000全角\xa0z",
    "“quotes” — dash… ¿qué?",
    "x\ud7ffy\ue000z\U0010ffff\U000e0041",
    "\t tab\r\nCRLF\x0bvertical\x0cform",
]


@pytest.fixture(scope="session")
def texts(data_dir: Path) -> list[str]:
    """A few hundred film snippets, strings that are difficult for tokenizers, and random ones."""
    lines = (data_dir / "train.tsv").read_text(encoding="utf-8").split("\n")[1:301]
    ranges = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x600, 0x700), (0x2000, 0x2100), (0x4E00, 0x4F00)]
    generator = random.Random(7)
    random_texts = ["".join(chr(generator.randrange(*generator.choice(ranges))) for _ in range(29)) for _ in range(200)]
    return [line.rsplit("\t", 1)[0] for line in lines] + TRICKY + random_texts


@pytest.fixture(scope="session")
def cased_vocabulary(data_dir: Path) -> list[str]:
    """A cased vocabulary of 1,987 tokens, with its special tokens at unusual ids."""
    trainer = tokenizers.BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    lines = (data_dir / "train.tsv").read_text(encoding="utf-8").split("\n")
    trainer.train_from_iterator([*lines, *TRICKY], vocab_size=1987, min_frequency=1, show_progress=False)
    vocabulary = sorted(trainer.get_vocab(), key=trainer.get_vocab().__getitem__)
    assert vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = vocabulary[5:]
    for index, token in [(3, "[SEP]"), (17, "[UNK]"), (101, "[MASK]"), (1111, "[CLS]"), (1986, "[PAD]")]:
        words.insert(index, token)
    return words
