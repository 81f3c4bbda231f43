"""Encoded rows compared with transformers: pairs, truncation, padding, windows, offsets, words; invalid calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_process import run_in_torch_process
from transformers_models import Tokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertTokenizer


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> BertTokenizer:
    return BertTokenizer.from_pretrained(minilm)


@pytest.fixture(scope="module")
def reference(minilm: Path) -> Callable[..., dict[str, Any]]:
    found = Tokenizer(minilm)

    def call(*args: Any, **options: Any) -> dict[str, Any]:
        return found(*args, **{"padding": True, "truncation": True, "return_tensors": "np"} | options)

    return call


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values.dtype == np.int32
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize("max_length", [2, 3, 4, 7, 8, 19, 50, None])
def test_truncation_of_single_texts(tokenizer, reference, texts: list[str], max_length: int | None) -> None:
    assert_same(tokenizer(texts, max_length=max_length), reference(texts, max_length=max_length))


@pytest.mark.parametrize("max_length", [3, 4, 5, 6, 7, 30, 41, None])
def test_longest_first_truncates_pairs_as_the_reference_does(
    tokenizer, reference, texts: list[str], max_length: int | None
) -> None:
    pairs = texts[::5], texts[::-5]
    found = tokenizer(*pairs, max_length=max_length, return_offsets=True)
    assert_same(found, reference(*pairs, max_length=max_length, return_offsets_mapping=True))


@pytest.mark.parametrize("strategy", ["only_first", "only_second"])
def test_one_text_of_a_pair_is_truncated(tokenizer, reference, texts: list[str], strategy: str) -> None:
    pairs = texts[:200], texts[100:300]
    found = tokenizer(*pairs, truncation=strategy, max_length=64)
    assert_same(found, reference(*pairs, truncation=strategy, max_length=64))
    assert (found["attention_mask"].sum(axis=1) == 64).any()


def test_without_truncation_nothing_is_removed(tokenizer, reference, texts: list[str]) -> None:
    long = [" ".join(texts[:60]), texts[1]]
    found = tokenizer(long, truncation=False)
    assert found["input_ids"].shape[1] > tokenizer.model_max_length
    assert_same(found, reference(long, truncation=False))
    assert tokenizer(long)["input_ids"].shape == (2, 512)


@pytest.mark.parametrize(("max_length", "stride"), [(3, 0), (9, 6), (16, 5), (31, 0), (512, 128)])
def test_windows_over_single_texts(tokenizer, reference, texts: list[str], max_length: int, stride: int) -> None:
    found = tokenizer(texts, max_length=max_length, stride=stride, return_overflowing=True, return_offsets=True)
    options = {"return_overflowing_tokens": True, "return_offsets_mapping": True}
    assert_same(found, reference(texts, max_length=max_length, stride=stride, **options))


@pytest.mark.parametrize(("strategy", "stride"), [("only_first", 0), ("only_second", 11)])
def test_windows_over_questions_and_contexts(
    tokenizer, reference, texts: list[str], strategy: str, stride: int
) -> None:
    contexts = [" ".join(texts[start : start + 1 + start % 19]) for start in range(40)]
    pairs = (texts[100:140], contexts) if strategy == "only_second" else (contexts, texts[100:140])
    found = tokenizer(
        *pairs, truncation=strategy, max_length=101, stride=stride, return_overflowing=True, return_offsets=True
    )
    options = {"return_overflowing_tokens": True, "return_offsets_mapping": True}
    assert_same(found, reference(*pairs, truncation=strategy, max_length=101, stride=stride, **options))
    assert found["overflow_to_sample_mapping"][-1] == 39
    assert len(found["input_ids"]) > 100


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "max_length", "max_length": 37},
        {"padding": "longest", "pad_to_multiple_of": 8},
        {"padding": "max_length", "max_length": 48, "pad_to_multiple_of": 16},
    ],
)
def test_padding(tokenizer, reference, texts: list[str], options: dict) -> None:
    assert_same(tokenizer(texts, **options), reference(texts, **options))


def test_unpadded_rows_and_the_fast_path(tokenizer, reference, texts: list[str]) -> None:
    expected = reference(texts, texts[::-1], padding=False, max_length=23, return_tensors=None)
    found = tokenizer(texts, texts[::-1], padding=False, max_length=23)
    ragged = tokenizer.encode_ragged(texts, texts[::-1], max_length=23)
    assert set(ragged) == {"input_ids", "token_type_ids"}
    assert {name: [row.tolist() for row in rows] for name, rows in found.items()} == expected
    assert {name: [row.tolist() for row in rows] for name, rows in ragged.items()} == {k: expected[k] for k in ragged}
    assert all(row.dtype == np.int32 for row in ragged["input_ids"])


@run_in_torch_process
def encode_words(directory: Path, *words: list[list[str]], max_length: int) -> dict[str, list[Any]]:
    """The output of transformers for texts that are split into words, with offsets and the words' numbers."""
    import transformers

    encoded = transformers.AutoTokenizer.from_pretrained(directory)(
        *words, is_split_into_words=True, truncation=True, max_length=max_length, return_offsets_mapping=True
    )
    return {**encoded, "word_ids": [encoded.word_ids(row) for row in range(len(words[0]))]}


def test_words_keep_their_numbers(tokenizer, minilm: Path, texts: list[str]) -> None:
    words = [text.split(" ") for text in texts]
    found = tokenizer(words, words[::-1], is_split_into_words=True, max_length=29, return_offsets=True, padding=False)
    expected = encode_words(minilm, words, words[::-1], max_length=29)
    for row in range(len(texts)):
        assert found["input_ids"][row].tolist() == expected["input_ids"][row]
        assert found["offset_mapping"][row].tolist() == [list(pair) for pair in expected["offset_mapping"][row]]
        assert found["word_ids"][row].tolist() == [-1 if id is None else id for id in expected["word_ids"][row]]
    padded = tokenizer([["a", "film"], ["films"]], is_split_into_words=True)
    assert padded["word_ids"].tolist() == [[-1, 0, 1, -1], [-1, 0, -1, -1]]


def test_offsets_refer_to_the_original_text(tokenizer) -> None:
    text = "😀 Ein Café, naïvely [MASK]"
    found = tokenizer(text, return_offsets=True)
    pieces = [text[begin:end] for begin, end in found["offset_mapping"][0].tolist()]
    assert pieces == ["", "😀", "Ein", "Café", ",", "naïve", "ly", "[MASK]", ""]


def test_single_texts_empty_texts_and_no_texts(tokenizer) -> None:
    assert tokenizer("")["input_ids"].tolist() == [[101, 102]]
    assert tokenizer("", "")["token_type_ids"].tolist() == [[0, 0, 1]]
    assert tokenizer([[]], is_split_into_words=True)["word_ids"].tolist() == [[-1, -1]]
    assert tokenizer(["a", "film"], is_split_into_words=True)["input_ids"].shape == (1, 4)
    assert tokenizer(np.array(["a", "film"]))["input_ids"].shape == (2, 3)
    for texts in ([], ([], [])):
        nothing = tokenizer(*(texts or [[]]), return_offsets=True, return_overflowing=not texts)
        assert nothing["input_ids"].shape == (0, 0)
        assert nothing["offset_mapping"].shape == (0, 0, 2)
    assert tokenizer([], padding="max_length", max_length=13)["input_ids"].shape == (0, 13)
    assert tokenizer([], padding=False)["input_ids"] == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ((["a", None, 3],), r"text\[1\] is None \(NoneType\); a string was expected"),
        ((["a", float("nan")],), r"text\[1\] is nan \(float\)"),
        ((["a"], [b"b"]), r"text_pair\[0\] is b'b' \(bytes\)"),
        (([("a", "b")],), r"text\[0\] is \('a', 'b'\) \(tuple\)"),
        ((5,), r"text is 5 \(int\); a string or a list of strings was expected"),
        (({"text": "a"},), r"text is \{'text': 'a'\} \(dict\)"),
        ((["a", "b"], ["c"]), "2 texts but 1 in text_pair"),
        (("a", ["b", "c"]), "1 texts but 2 in text_pair"),
        ((["ok", "x\ud83d"],), r"text\[1\] contains half of a surrogate pair \('\\ud83d'\) at position 1"),
    ],
)
def test_arguments_that_are_not_texts(tokenizer, call: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer(*call)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a film", r"text is 'a film' \(str\); a list of words or a list of such lists was expected"),
        ([["a"], "film"], r"text\[1\] is 'film' \(str\); a list of words was expected"),
        ([["a"], ["b", 7]], r"text\[1\]\[1\] is 7 \(int\)"),
        (["a", ["film"]], r"text\[1\] is \['film'\] \(list\); a string was expected"),
    ],
)
def test_arguments_that_are_not_lists_of_words(tokenizer, words: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer(words, is_split_into_words=True)


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        (["a"], {"max_length": 1}, "max_length=1 has no space for the 2 special tokens"),
        (["a", "b"], {"max_length": 2}, "max_length=2 has no space for the 3 special tokens"),
        (["a"], {"padding": "left"}, "padding='left' is unknown"),
        (["a"], {"truncation": "longest"}, "truncation='longest' is unknown"),
        (["a"], {"truncation": "only_second"}, "needs pairs"),
        (
            ["a", "a b c d e"],
            {"truncation": "only_first", "max_length": 8},
            "no token .* in pair 0: the other text has 5",
        ),
        (["a b c"], {"return_overflowing": True, "stride": 2, "max_length": 4}, "stride=2 leaves no new tokens"),
        (["a b c"], {"return_overflowing": True, "max_length": 2}, "stride=0 leaves no new tokens .* space for 0"),
        (["a b c"], {"return_overflowing": True, "stride": -1}, "stride=-1 is negative"),
        (["a", "b"], {"return_overflowing": True}, "need truncation='only_first' or 'only_second'"),
        (["a"], {"pad_to_multiple_of": 0}, "pad_to_multiple_of=0"),
        (["a"], {"pad_to_multiple_of": 7}, "pad_to_multiple_of=7 does not divide max_length=512"),
    ],
)
def test_invalid_options(tokenizer, call: list[str], options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer(*call, **options)
