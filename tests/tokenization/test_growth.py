"""More tokens for a tokenizer: compared with transformers and the Rust library, saved, read again, refused."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken
from transformers_models import Tokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.frequent_words import find_frequent_words

SMALL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fi", "##lm", "##s", "##ed", "good"]
CASES = ["A good Film", "<e1> filmed films; New  York, New York's COVIDIOT", "covid-19 [MASK] <E1> [e2]", "新 covid"]
WORDS = ["film", "covid", "chloroquine", "ß", "新"]


def encode(tokenizer: BertTokenizer, texts: list[str]) -> list[list[int]]:
    return [row.tolist() for row in tokenizer(texts, padding=False)["input_ids"]]


def check_saved(tokenizer: BertTokenizer, texts: list[str], directory: Path) -> None:
    """Compares the ids with those of a tokenizer here, in transformers and in the Rust library from the saved files."""
    tokenizer.save_pretrained(directory)
    (directory / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    expected = encode(tokenizer, texts)
    again = BertTokenizer.from_pretrained(directory)
    assert (again.vocabulary, encode(again, texts)) == (tokenizer.vocabulary, expected)
    assert again.extends(tokenizer)
    assert tokenizer.extends(again)
    reference = Tokenizer(directory)
    assert reference(texts)["input_ids"] == expected
    assert len(reference) == len(tokenizer)
    alone = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert [row.ids for row in alone.encode_batch(texts)] == expected


def test_added_tokens_are_those_of_transformers(texts: list[str], tmp_path: Path) -> None:
    added = ["<e1>", "New York", "covid", AddedToken("[e2]", single_word=True, lstrip=True)]
    tokenizer = BertTokenizer(SMALL)
    (tmp_path / "vocab.txt").write_text("\n".join(SMALL) + "\n", encoding="utf-8")
    reference = Tokenizer(tmp_path, kind="BertTokenizer", added_tokens=added)
    assert tokenizer.add_tokens(added) == 4
    assert encode(tokenizer, [*CASES, *texts]) == reference([*CASES, *texts])["input_ids"]
    assert tokenizer.convert_tokens_to_ids(["<e1>", "covid"]) == reference.convert_tokens_to_ids(["<e1>", "covid"])
    assert tokenizer.add_tokens("<special>", special_tokens=True) == 1
    assert tokenizer.special_token_ids == [0, 1, 2, 3, 4, 15]
    assert tokenizer.find_pieces(14) == {14: [], 15: []}
    check_saved(tokenizer, [*CASES, "<special>", *texts], tmp_path / "saved")


def test_added_words(texts: list[str], tmp_path: Path) -> None:
    tokenizer = BertTokenizer(SMALL)
    before = encode(tokenizer, [*CASES, *texts])
    assert (tokenizer.add_words(WORDS[0]), tokenizer.add_words(WORDS[1:])) == (1, 4)
    assert tokenizer.tokenize("Filmed film, COVID covids") == ["film", "##ed", "film", "[UNK]", "covid", "covid", "##s"]
    assert tokenizer.find_pieces(11) == {11: [6, 7], 12: [], 13: [], 14: [], 15: []}
    old = BertTokenizer(SMALL)
    assert (tokenizer.extends(old), old.extends(tokenizer)) == (True, False)
    assert not tokenizer.extends(BertTokenizer(SMALL, do_lower_case=False))
    # The ids of all texts without a word that begins with one of the words are the same.
    after = encode(tokenizer, [*CASES, *texts])
    same = [a == b for a, b in zip(before, after, strict=True)]
    assert same == [max(ids) < 11 for ids in after]
    assert 0 < same.count(False) < len(same)
    check_saved(tokenizer, [*CASES, *texts], tmp_path / "words")
    assert (tmp_path / "words" / "vocab.txt").read_text(encoding="utf-8").split("\n")[11:-1] == WORDS
    tokenizer.add_tokens(["<e1>"])
    check_saved(tokenizer, [*CASES, *texts], tmp_path / "tokens")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["new", ""], "the added token '' is empty"),
        ([" \t"], "is empty; characters other than spaces were expected"),
        (["new", "good"], "'good' is already in the vocabulary, with the id 10. Omit it"),
        (["[MASK]"], r"'\[MASK\]' is already a special token, with the id 4"),
        (["new", "new"], "'new' is added twice"),
        ([], "there are no tokens to add"),
    ],
)
def test_tokens_that_cannot_be_added(tokens: list[str], message: str) -> None:
    tokenizer = BertTokenizer(SMALL)
    for add in (tokenizer.add_tokens, tokenizer.add_words):
        with pytest.raises(InputError, match=message):
            add(tokens)
    assert tokenizer.vocabulary == SMALL


def test_words_that_cannot_be_added() -> None:
    tokenizer = BertTokenizer(SMALL)
    with pytest.raises(InputError, match="'Film' is not a word of this tokenizer, which reads it as 'film'"):
        tokenizer.add_words(["Film"])
    with pytest.raises(InputError, match="'new york' is not a word of this tokenizer, which reads it as 'new york'"):
        tokenizer.add_words(["new york"])
    tokenizer.add_tokens(["<e1>"])
    with pytest.raises(InputError, match="has 1 token after its vocabulary, such as '<e1>', whose id would change"):
        tokenizer.add_words(["film"])
    assert tokenizer.vocabulary == [*SMALL, "<e1>"]


def test_the_words_that_save_the_most_tokens(film_texts: list[str]) -> None:
    """Compared with counts of words by Python, and of pieces by the Rust library."""
    texts = film_texts[:2000]
    tokenizer = BertTokenizer.from_pretrained("bert-tiny-novels")
    plain = (unicodedata.normalize("NFD", text.lower()).encode("ascii", "ignore").decode() for text in texts)
    words = Counter(word for text in plain for word in re.findall(r"[a-z0-9]+", text))
    found = find_frequent_words(texts, tokenizer, size=50, min_count=4)
    saved = {
        word: count * (len(tokenizer.backend_tokenizer.encode(word, add_special_tokens=False).ids) - 1)
        for word, count in words.items()
        if word.isalpha() and count >= 4
    }
    expected = sorted(saved.values(), reverse=True)[:50]
    assert [word.count * (len(word.pieces) - 1) for word in found] == expected
    assert all(saved[word.word] == word.count * (len(word.pieces) - 1) for word in found)
    assert find_frequent_words(texts, tokenizer, size=7, min_count=4) == found[:7]


def test_unknown_words_count_as_two_pieces() -> None:
    found = find_frequent_words(["x film film 2fi fi a"] * 3, BertTokenizer(SMALL), size=9, min_count=2)
    assert [(word.word, word.count, word.pieces) for word in found] == [
        ("film", 6, ("fi", "##lm")),
        ("x", 3, ("[UNK]",)),
    ]
    with pytest.raises(InputError, match="no word occurs at least 7 times in the texts and has several pieces"):
        find_frequent_words(["film"] * 6, BertTokenizer(SMALL), size=9, min_count=7)
    with pytest.raises(InputError, match="size is 0; an integer above 0 was expected"):
        find_frequent_words(["film"], BertTokenizer(SMALL), size=0)
