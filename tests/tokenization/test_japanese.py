"""Japanese tokenizers compared with transformers: ids, files; offsets in the original text; invalid settings."""

import pickle
import sys
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from languages import JAPANESE, make_japanese_vocabulary, read_japanese_sentences
from strings import make_strings
from tokenizers import AddedToken
from torch_process import run_in_torch_process
from transformers_models import Tokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertJapaneseTokenizer, BertTokenizer
from keras_bert_impl.tokenization.alignment import AlignedText
from keras_bert_impl.tokenization.frequent_words import find_frequent_words

IPADIC: dict[str, Any] = {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "ipadic"}}
UNIDIC: dict[str, Any] = {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "unidic_lite"}}
RAW = {"mecab_dic": "ipadic", "normalize_text": False, "mecab_option": "--unk-feature 未知"}
SUDACHI: dict[str, Any] = {"sudachi_split_mode": "C", "sudachi_projection": "normalized", "trim_whitespace": True}
KINDS: dict[str, dict[str, Any]] = {
    "mecab": IPADIC,
    "mecab lower": {**IPADIC, "mecab_kwargs": RAW, "do_lower_case": True, "never_split": ["DVD", "Naïve"]},
    "mecab character": {**IPADIC, "subword_tokenizer_type": "character"},
    "mecab words": {**IPADIC, "do_subword_tokenize": False},
    "basic": {"word_tokenizer_type": "basic"},
    "basic lower": {"word_tokenizer_type": "basic", "do_lower_case": True, "never_split": ["Naïve"]},
    "character": {"do_word_tokenize": False, "subword_tokenizer_type": "character"},
    "unidic": UNIDIC,
    "sudachi": {"word_tokenizer_type": "sudachi"},
    "sudachi character": {
        "word_tokenizer_type": "sudachi",
        "sudachi_kwargs": SUDACHI,
        "subword_tokenizer_type": "character",
    },
}
# Their dictionaries are large; they are tested where they are installed.
OPTIONAL = {"unidic": "unidic_lite", "sudachi": "sudachidict_core", "sudachi character": "sudachidict_core"}


@pytest.fixture(scope="module")
def sentences(shared_data: Path) -> list[str]:
    return read_japanese_sentences(shared_data)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    tokens = make_japanese_vocabulary(sentences[:2400], words=1500)
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


@run_in_torch_process
def tokenize_by_transformers(vocabulary: Path, texts: list[str], settings: dict[str, Any]) -> list[list[int]]:
    import warnings

    import transformers

    warnings.simplefilter("ignore")  # It calls Sudachi by an old name.
    return transformers.BertJapaneseTokenizer(str(vocabulary), **settings)(texts)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_transformers_and_offsets_those_of_the_text(
    kind: str, vocabulary: Path, sentences: list[str]
) -> None:
    if kind in OPTIONAL:
        pytest.importorskip(OPTIONAL[kind], reason="needs the dictionary")
    tokenizer = BertJapaneseTokenizer(read(vocabulary), **KINDS[kind])
    expected = tokenize_by_transformers(vocabulary, sentences, KINDS[kind])
    found = tokenizer(sentences, padding=False, truncation=False)
    assert [row.tolist() for row in found["input_ids"]] == expected
    rows = tokenizer(sentences, padding=False, truncation=False, return_offsets=True)
    assert [row.tolist() for row in rows["input_ids"]] == expected
    known = sum(_check_offsets(tokenizer, kind, *row) for row in zip(sentences, *map(rows.get, COLUMNS), strict=True))
    assert known > 2 * len(sentences)


@pytest.mark.parametrize("kind", ["mecab", "mecab lower"])
def test_new_words_are_those_of_a_longer_vocabulary(
    kind: str, vocabulary: Path, sentences: list[str], tmp_path: Path
) -> None:
    tokenizer = BertJapaneseTokenizer(read(vocabulary), **KINDS[kind])
    texts = sentences[:300]
    known = set(tokenizer.vocabulary)
    words = dict.fromkeys(word for text in texts for word in tokenizer.split_words(text) if word.isalpha())
    words = [word for word in words if word not in known and word == word.lower()][:25]
    assert tokenizer.add_words(words) == 25
    longer = tmp_path / "vocab.txt"
    longer.write_text("\n".join([*read(vocabulary), *words]) + "\n", encoding="utf-8")
    expected = tokenize_by_transformers(longer, texts, KINDS[kind])
    assert [row.tolist() for row in tokenizer(texts, padding=False)["input_ids"]] == expected
    assert sum(id >= len(read(vocabulary)) for row in expected for id in row) >= 25
    tokenizer.save_pretrained(tmp_path / "saved")
    again = BertTokenizer.from_pretrained(tmp_path / "saved")
    assert [row.tolist() for row in again(texts, padding=False)["input_ids"]] == expected


def test_frequent_words_are_those_of_mecab(vocabulary: Path, sentences: list[str]) -> None:
    tokenizer = BertJapaneseTokenizer(read(vocabulary), **IPADIC)
    counts = Counter(word for text in sentences for word in tokenizer.split_words(text))
    found = find_frequent_words(sentences, tokenizer, size=40, min_count=3)
    assert len(found) == 40
    assert all(counts[word.word] == word.count for word in found)
    tokenizer.add_words([word.word for word in found])
    ids = Counter(id for row in tokenizer(sentences, padding=False)["input_ids"] for id in row.tolist())
    # A longer word may begin with one of them.
    assert all(ids[tokenizer.convert_tokens_to_ids(word.word)] >= word.count for word in found)


def test_characters_and_other_spellings_are_no_new_words(vocabulary: Path) -> None:
    characters = BertJapaneseTokenizer(read(vocabulary), **KINDS["mecab character"])
    for add in (characters.add_words, lambda words: find_frequent_words(words, characters, size=9)):
        with pytest.raises(InputError, match=r"are characters .* Use add_tokens"):
            add(["東京タワー"])
    lower = BertJapaneseTokenizer(read(vocabulary), **KINDS["basic lower"])
    with pytest.raises(InputError, match=r"'Film' is not a word of this tokenizer, which reads it as 'film'"):
        lower.add_words(["Film"])


COLUMNS = ("input_ids", "offset_mapping")


def _check_offsets(tokenizer: BertTokenizer, kind: str, text: str, ids: np.ndarray, offsets: np.ndarray) -> int:
    """Compares tokens with the parts of the text; returns the number of those that are equal after normalization."""
    assert offsets[[0, -1]].tolist() == [[0, 0], [0, 0]]
    spans = offsets[1:-1].tolist()
    assert all(0 <= begin < end <= len(text) for begin, end in spans)
    assert spans == sorted(spans)
    known = 0
    for id, (begin, end) in zip(ids[1:-1], spans, strict=True):
        token = tokenizer.convert_ids_to_tokens(id)
        if token == "[UNK]" or "projection" in str(KINDS[kind]):
            continue
        part = unicodedata.normalize("NFKC", text[begin:end])
        token = unicodedata.normalize("NFKC", token.removeprefix("##"))
        if "lower" in kind:
            part, token = (_remove_accents(each.lower()) for each in (part, token))
        # Several tokens of one character, such as 平成 of ㍻, have the same part.
        assert token == part or (token in part and end - begin < 4), (text, token, part)
        known += token == part
    return known if "projection" not in str(KINDS[kind]) else sys.maxsize


def _remove_accents(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFD", text) if unicodedata.category(each) != "Mn")


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_normalization_and_where_each_character_comes_from(form: Any) -> None:
    for text in [*JAPANESE, *make_strings(500, seed=5, special=["가", "각", "ㄱ", "ะ", "ﷺ", "ো", "\u0344"])]:
        aligned = AlignedText.from_original(text).normalize(form)
        assert aligned.text == unicodedata.normalize(form, text)
        spans = list(zip(aligned.begins, aligned.ends, strict=True))
        assert spans == sorted(spans)
        assert len(spans) == len(aligned.text)
        # Parts do not overlap, and each becomes its characters.
        for begin, end in set(spans):
            letters = [letter for letter, span in zip(aligned.text, spans, strict=True) if span == (begin, end)]
            assert "".join(letters) == unicodedata.normalize(form, text[begin:end])


@pytest.fixture
def tokenizer() -> BertJapaneseTokenizer:
    added = [AddedToken("東京タワー"), AddedToken("<e1>", special=True, lstrip=True)]
    return BertJapaneseTokenizer(
        make_japanese_vocabulary(JAPANESE, words=60),
        added_tokens=added,
        model_max_length=77,
        never_split=["ABC"],
        **IPADIC,
    )


TEXTS = [*JAPANESE, "東京タワーへ <e1>いった", "[SEP]か", "", "abc <e1> 東京"]


def test_transformers_opens_what_is_saved(tokenizer: BertJapaneseTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    reference = Tokenizer(tmp_path)
    expected = tokenizer(TEXTS, padding=False)["input_ids"]
    assert reference(TEXTS)["input_ids"] == [row.tolist() for row in expected]
    pairs = TEXTS[:6], TEXTS[2:8]
    options = {"padding": True, "truncation": True, "max_length": 23, "return_tensors": "np"}
    rows = reference(*pairs, **options, return_token_type_ids=True)
    for name, values in tokenizer(*pairs, max_length=23).items():
        np.testing.assert_array_equal(values, rows[name])
    assert reference.model_max_length == 77
    assert set(reference.all_special_ids) <= set(tokenizer.special_token_ids)
    for row in expected[:5]:
        assert reference.decode(row.tolist(), skip_special_tokens=True) == tokenizer.decode(row)

    again = BertTokenizer.from_pretrained(tmp_path)
    assert isinstance(again, BertJapaneseTokenizer)
    assert (again.vocabulary, again.settings) == (tokenizer.vocabulary, tokenizer.settings)
    assert again(TEXTS)["input_ids"].tolist() == tokenizer(TEXTS)["input_ids"].tolist()


def test_what_transformers_saved_is_opened(tokenizer: BertJapaneseTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(tokenizer.vocabulary[:-2]) + "\n", encoding="utf-8")
    added = ["<e1>", "東京タワー"]
    saved = Tokenizer(kind="BertJapaneseTokenizer", vocab_file=str(path), added_tokens=added, **KINDS["mecab lower"])
    saved.save_pretrained(tmp_path / "saved")
    opened = BertTokenizer.from_pretrained(tmp_path / "saved")
    assert [row.tolist() for row in opened(TEXTS, padding=False)["input_ids"]] == saved(TEXTS)["input_ids"]


def test_old_files_name_the_class_in_the_configuration(tmp_path: Path) -> None:
    """The first Japanese BERTs have no dictionary in their files: they were trained with ipadic."""
    (tmp_path / "vocab.txt").write_text("\n".join(make_japanese_vocabulary(JAPANESE)), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "word_tokenizer_type": "mecab"}')
    (tmp_path / "config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer", "max_position_embeddings": 31}')
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    assert isinstance(tokenizer, BertJapaneseTokenizer)
    assert (tokenizer.mecab_kwargs, tokenizer.model_max_length) == ({"mecab_dic": "ipadic"}, 31)


def test_a_missing_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')
    with pytest.raises(InputError, match=r"has no vocab\.txt, which a BertJapaneseTokenizer needs"):
        BertTokenizer.from_pretrained(tmp_path)


def test_words_pairs_windows_and_special_tokens(tokenizer: BertJapaneseTokenizer) -> None:
    words = [["吾輩", "ＤＶＤ", "", "見た。"], ["猫である"]]
    rows = tokenizer(words, is_split_into_words=True, return_offsets=True)
    separate = [[tokenizer.tokenize(word) for word in text] for text in words]
    for row, texts in enumerate(separate):
        tokens = [token for word in texts for token in word]
        numbers = [number for number, word in enumerate(texts) for _ in word]
        assert tokenizer.convert_ids_to_tokens(rows["input_ids"][row])[1 : len(tokens) + 1] == tokens
        assert rows["word_ids"][row].tolist()[1 : len(tokens) + 1] == numbers
    pair = tokenizer(JAPANESE[0], JAPANESE[1], return_text_ids=True)
    first = len(tokenizer.tokenize(JAPANESE[0]))
    assert pair["text_ids"][0, [0, 1, first, first + 1, first + 2]].tolist() == [-1, 0, 0, -1, 1]
    windows = tokenizer(JAPANESE[5], max_length=9, stride=2, return_overflowing=True, padding=False)["input_ids"]
    inner = [windows[0][1:-1], *(row[3:-1] for row in windows[1:])]
    assert np.concatenate(inner).tolist() == tokenizer(JAPANESE[5])["input_ids"][0, 1:-1].tolist()
    plain = tokenizer.ignore_special_tokens()
    assert tokenizer.tokenize("[SEP]か") == ["[SEP]", "か"]
    assert plain.tokenize("[SEP]か")[-1] == "か"
    assert "[SEP]" not in plain.tokenize("[SEP]か")


def test_processes_and_threads_get_the_same(tokenizer: BertJapaneseTokenizer) -> None:
    expected = tokenizer(TEXTS * 3)["input_ids"].tolist()
    assert pickle.loads(pickle.dumps(tokenizer))(TEXTS * 3)["input_ids"].tolist() == expected
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: tokenizer(TEXTS * 3)["input_ids"].tolist(), range(16)):
            assert found == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"word_tokenizer_type": "jumanpp"}, "word_tokenizer_type is 'jumanpp'; mecab, sudachi or basic was expected"),
        ({"subword_tokenizer_type": "sentencepiece"}, "is 'sentencepiece'; wordpiece or character was expected"),
        ({**IPADIC, "mecab_kwargs": {"mecab_dic": "naist"}}, "the dictionary 'naist'; ipadic, unidic_lite or unidic"),
        ({**IPADIC, "mecab_kwargs": {"lang": "ja"}}, "mecab_kwargs has 'lang'; one of normalize_text, mecab_dic or"),
        ({**IPADIC, "mecab_kwargs": {"mecab_option": "-d /absent"}}, "MeCab cannot be started with the options"),
        ({**IPADIC, "mecab_kwargs": ["ipadic"]}, r"mecab_kwargs is \['ipadic'\] \(list\)"),
        ({**IPADIC, "never_split": "ABC"}, r"never_split is 'ABC' \(str\)"),
        ({"do_lower_case": "no"}, r"do_lower_case is 'no' \(str\); bool was expected"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BertJapaneseTokenizer(make_japanese_vocabulary(JAPANESE), **settings)


@pytest.mark.parametrize(
    ("module", "settings", "extra"),
    [
        ("fugashi", IPADIC, "japanese"),
        ("ipadic", IPADIC, "japanese"),
        ("unidic_lite", UNIDIC, "japanese"),
        ("sudachipy", {"word_tokenizer_type": "sudachi"}, "sudachi"),
    ],
)
def test_a_missing_library_names_the_extra(
    module: str, settings: dict[str, Any], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"pip install 'keras_bert_impl\[{extra}\]'"):
        BertJapaneseTokenizer(make_japanese_vocabulary(JAPANESE), **settings)
