"""Texts as words, compared with the word numbers of the Rust library."""

import numpy as np
import pytest

from keras_bert_impl import BertConfig, BertTokenizer
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.words import encode_row

CONFIG = BertConfig.preset("tiny", max_position_embeddings=61)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("A wonderfully unbelievable movie, isn't it?", None),
        ("Café Zürich 東京 xyzzyx 😀!", "Second — text, unbelievably."),
        ("[MASK] of the river", "  and\tback  "),
    ],
)
def test_words(tokenizer: BertTokenizer, text: str, pair: str | None) -> None:
    row = encode_row(tokenizer, CONFIG, text, pair)
    assert [word.first for word in row.words[1:]] == [word.last for word in row.words[:-1]]
    assert (row.words[0].first, row.words[-1].last) == (0, len(row))
    for segment, given in enumerate([text] if pair is None else [text, pair]):
        encoding = tokenizer.backend_tokenizer.encode(given, add_special_tokens=False)
        expected: dict[int, list[tuple[int, int]]] = {}
        for number, span in zip(encoding.word_ids, encoding.offsets, strict=True):
            expected.setdefault(-len(expected) if number is None else number, []).append(span)
        spans = [(places[0][0], places[-1][1]) for places in expected.values()]
        found = [word for word in row.words if word.segment == segment and not word.is_special]
        assert [(word.begin, word.end) for word in found] == spans
        assert [word.text for word in found] == [given[begin:end] for begin, end in spans]
        assert [word.last - word.first for word in found] == [len(places) for places in expected.values()]
    values = np.arange(3 * len(row)).reshape(3, -1) ** 2
    expected_sums = np.stack([values[:, word.first : word.last].sum(axis=1) for word in row.words], axis=1)
    np.testing.assert_array_equal(row.sum_per_word(values), expected_sums)


def test_find(tokenizer: BertTokenizer) -> None:
    row = encode_row(tokenizer, CONFIG, "The Bank's bankrupt bank, the bank of Embankment.", "A bank")
    found = [[word.text for word in words] for words in row.find("bank")]
    assert found == [["Bank"], ["bank"], ["bank"], ["bank"]]
    assert [words[0].segment for words in row.find("bank")] == [0, 0, 0, 1]
    assert [[word.text for word in words] for words in row.find("the bank of ")] == [["the", "bank", "of"]]
    assert row.find("ban") == row.find("") == row.find("shore") == []
    chinese = encode_row(tokenizer, CONFIG, "我去银行")
    assert [[word.text for word in words] for words in chinese.find("银行")] == [["银", "行"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word " * 60, "has 62 tokens, special ones included; the model has 61 positions"),
        (" \n", "has no words"),
        (7, "a string"),
    ],
)
def test_texts_that_cannot_be_used(tokenizer: BertTokenizer, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_row(tokenizer, CONFIG, text)


def test_another_models_tokenizer(tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match=r"the tokenizer has \d+ tokens, but the model's vocabulary has 99"):
        encode_row(tokenizer, BertConfig.preset("tiny", vocab_size=99), "A word")
