"""`BertTokenizer` compared with transformers and the tokenizers library: tokens, ids, decoding, look-ups."""

import copy
import doctest
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from transformers_models import Tokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertTokenizer, bert_tokenizer

SMALL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "##s", "?"]


@pytest.mark.parametrize("chinese", [True, False])
@pytest.mark.parametrize("accents", [None, True, False])
@pytest.mark.parametrize("lower", [True, False])
def test_every_setting_gives_the_ids_of_both_references(
    cased_vocabulary: list[str], texts: list[str], lower: bool, accents: bool | None, chinese: bool
) -> None:
    settings = {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": chinese}
    tokenizer = BertTokenizer(cased_vocabulary, **settings)
    ids = {token: id for id, token in enumerate(cased_vocabulary)}
    rust = tokenizers.BertWordPieceTokenizer(ids, lowercase=lower, strip_accents=accents, handle_chinese_chars=chinese)
    hugging_face = Tokenizer(kind="BertTokenizer", vocab=ids, **settings)

    found = tokenizer(texts, padding=False, truncation=False)

    assert [row.tolist() for row in found["input_ids"]] == [encoding.ids for encoding in rust.encode_batch(texts)]
    assert [row.tolist() for row in found["input_ids"]] == hugging_face(texts)["input_ids"]


@pytest.mark.parametrize("fixture", ["minilm", "tiny_cassette"])
def test_real_checkpoints_give_the_ids_of_transformers(
    fixture: str, texts: list[str], request: pytest.FixtureRequest
) -> None:
    directory = request.getfixturevalue(fixture)
    tokenizer = BertTokenizer.from_pretrained(directory)
    reference = Tokenizer(directory)
    expected = reference(texts, texts[::-1], padding=True, truncation=True, return_tensors="np")
    found = tokenizer(texts, texts[::-1])
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values.dtype == np.int32
        np.testing.assert_array_equal(values, expected[name])


def test_the_special_tokens_of_the_chemistry_vocabulary(rxn: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(rxn / "bert_ft", do_lower_case=False)
    reference = Tokenizer(rxn / "bert_ft", kind="BertTokenizer", do_lower_case=False)
    smiles = ["C C O . Cl >> C C Cl", "c 1 c c c c c 1 Br", "[nH] unknown!"]
    assert tokenizer("")["input_ids"].tolist() == [[12, 13]]
    assert tokenizer(smiles, padding=False)["input_ids"][2].tolist() == reference(smiles)["input_ids"][2]
    for name in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(tokenizer, f"{name}_token_id") == getattr(reference, f"{name}_token_id")
    assert tokenizer.special_token_ids == sorted(reference.all_special_ids) == [0, 11, 12, 13, 14]
    assert len(tokenizer) == tokenizer.vocab_size == len(reference) == 591


def test_tokens_and_decoded_text_are_those_of_transformers(minilm: Path, texts: list[str]) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    reference = Tokenizer(minilm)
    for text, ids in zip(texts, tokenizer(texts, padding=False)["input_ids"], strict=True):
        assert tokenizer.tokenize(text) == reference.tokenize(text)
        assert tokenizer.decode(ids) == reference.decode(ids, skip_special_tokens=True)
        assert tokenizer.decode(ids, skip_special_tokens=False) == reference.decode(ids)
        assert tokenizer.convert_ids_to_tokens(ids) == reference.convert_ids_to_tokens(ids)


def test_look_ups_both_ways() -> None:
    tokenizer = BertTokenizer({token: id for id, token in enumerate(SMALL)})
    assert tokenizer.vocabulary == SMALL
    assert tokenizer.convert_tokens_to_ids("film") == 7
    assert tokenizer.convert_tokens_to_ids(["good", "bad"]) == [6, tokenizer.unk_token_id]
    assert tokenizer.convert_ids_to_tokens(8) == tokenizer.convert_ids_to_tokens(np.int64(8)) == "##s"
    assert tokenizer.convert_ids_to_tokens(np.array([4, 9], np.int32)) == ["[MASK]", "?"]
    assert tokenizer.decode([]) == ""
    assert "10 tokens" in repr(tokenizer)
    assert "do_lower_case=True" in repr(tokenizer)


@pytest.mark.parametrize("ids", [[10], [-100], [[1, 2]], [1.0], ["a"], [True]])
def test_ids_outside_the_vocabulary_are_refused(ids: list) -> None:
    with pytest.raises(InputError, match="is not an id; integers from 0 to 9 were expected"):
        BertTokenizer(SMALL).decode(ids)


def test_special_and_added_tokens_of_any_spelling(texts: list[str]) -> None:
    spelled = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "M!"}
    vocabulary = ["a", "good", "</s>", "film", "##s", "M!", "<s>", "<pad>", "?", "<unk>"]
    added = [tokenizers.AddedToken("<e1>", special=True, normalized=False), tokenizers.AddedToken("New York"), "film"]
    tokenizer = BertTokenizer(vocabulary, **spelled, added_tokens=added)
    ids = {token: id for id, token in enumerate(vocabulary)}
    reference = Tokenizer(kind="BertTokenizer", added_tokens=added, vocab=ids, **spelled)
    cases = ["a <e1>good new york films", "A M! film <s>? [MASK]", "NEW YORKfilms<E1>", *texts]

    found = tokenizer(cases, padding=False)["input_ids"]

    assert [row.tolist() for row in found] == reference(cases)["input_ids"]
    assert found[0].tolist() == [6, 0, 10, 1, 11, 3, 9, 2]
    assert tokenizer.vocabulary == [*vocabulary, "<e1>", "New York"]
    assert len(tokenizer) == len(reference) == 12
    assert tokenizer.special_token_ids == [2, 5, 6, 7, 9, 10]
    assert tokenizer.decode(found[0]) == reference.decode(found[0], skip_special_tokens=True)


def test_threads_copies_and_pickles_give_the_same(minilm: Path, texts: list[str]) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    lengths = [5, 9, 17, 33] * 6
    expected = [tokenizer(texts, max_length=length)["input_ids"] for length in lengths]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda length: tokenizer(texts, max_length=length)["input_ids"], lengths))
    found.append(copy.deepcopy(tokenizer)(texts, max_length=5)["input_ids"])
    found.append(pickle.loads(pickle.dumps(tokenizer))(texts, max_length=5)["input_ids"])
    for one, other in zip(found, [*expected, expected[0], expected[0]], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_examples_in_the_docstrings_run() -> None:
    found = doctest.testmod(bert_tokenizer)
    assert (found.failed, found.attempted > 5) == (0, True)


def test_importing_starts_no_framework() -> None:
    code = "import sys, keras_bert_impl.tokenization; print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


@pytest.mark.parametrize(
    ("vocabulary", "options", "message"),
    [
        ([*SMALL, "film"], {}, "has 'film' as id 7 and as id 10"),
        ({"[PAD]": 0, "[UNK]": 2}, {}, "2 tokens need the ids 0 to 1, each once, but '.UNK.' has 2 instead of 1"),
        ({"[PAD]": 0, "[UNK]": 0}, {}, "each once, but '.UNK.' has 0 instead of 1"),
        (
            ["[PAD]", "[CLS]", "a"],
            {},
            r"3 tokens lacks unk_token '\[UNK\]', sep_token '\[SEP\]', mask_token '\[MASK\]'",
        ),
        (SMALL, {"cls_token": "<s>"}, "lacks cls_token '<s>'.*cls_token=…"),
        ([], {}, "vocabulary of 0 tokens lacks"),
        (SMALL[1:], {"added_tokens": ["[PAD]"], "unk_token": "[PAD]"}, r"lacks unk_token '\[PAD\]'"),
        (SMALL, {"do_lower_case": "no"}, r"do_lower_case is 'no' \(str\); bool was expected"),
        (SMALL, {"strip_accents": 0}, r"strip_accents is 0 \(int\); bool \| None was expected"),
        (SMALL, {"mask_token": None}, r"mask_token is None \(NoneType\); str was expected"),
        (SMALL, {"model_max_length": 1e30}, r"model_max_length is 1e\+30 \(float\); int was expected"),
    ],
)
def test_invalid_vocabularies_and_settings(vocabulary: list[str], options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BertTokenizer(vocabulary, **options)
