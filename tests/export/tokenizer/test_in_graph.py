"""`InGraphTokenizer` gives the ids of `BertTokenizer`, which other tests compare with the Rust library."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strings
import tensorflow as tf
from tokenizers import AddedToken

from keras_bert_impl.errors import InputError
from keras_bert_impl.export.tokenizer import piece_table, wordpiece
from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer
from keras_bert_impl.tokenization import BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = tf.TensorSpec([None], tf.string)


def trace_tokenizer(tokenizer: BertTokenizer, *, max_length: int = 64, pairs: bool = False) -> Any:
    """The tokenizer as one traced graph, as in an export."""
    tables = InGraphTokenizer(tokenizer)
    if pairs:
        return tf.function(lambda a, b: tables(a, b, max_length=max_length), input_signature=[TEXT, TEXT])
    return tf.function(lambda texts: tables(texts, max_length=max_length), input_signature=[TEXT])


def is_equal(inputs: dict[str, Any], expected: dict[str, np.ndarray]) -> bool:
    assert set(inputs) == set(expected)
    return all(np.array_equal(inputs[name].numpy(), expected[name]) for name in expected)


def find_differences(tokenizer: BertTokenizer, texts: list[Any], *, max_length: int = 64) -> list[Any]:
    """The texts (or UTF-8 bytes) whose ids differ from those of `BertTokenizer`, in a batch and also alone."""
    tokenize = trace_tokenizer(tokenizer, max_length=max_length)
    batches = [texts[i : i + 251] for i in range(0, len(texts), 251)]

    def differs(batch: list[Any]) -> bool:
        decoded = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in batch]
        return not is_equal(tokenize(tf.constant(batch)), tokenizer(decoded, max_length=max_length))

    return [text for batch in batches if differs(batch) for text in batch if differs([text])]


# The first two are those of most uncased and cased models.
SETTINGS = [(True, None, True), (False, None, True), *itertools.product([True, False], [True, False], [True, False])]
SETTINGS += [(True, None, False), (False, None, False)]


@pytest.mark.parametrize(
    ("lower", "accents", "chinese"),
    [*SETTINGS[:2], *(pytest.param(*settings, marks=pytest.mark.slow) for settings in SETTINGS[2:])],
)
def test_every_setting(
    cased_vocabulary: list[str], texts: list[str], lower: bool, accents: bool | None, chinese: bool
) -> None:
    settings = {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": chinese}
    tokenizer = BertTokenizer(cased_vocabulary, **settings)
    made = list(strings.make_strings(600, seed=11, special=SPECIAL))
    assert find_differences(tokenizer, [*texts, *made]) == []


@pytest.mark.parametrize("fixture", ["minilm", pytest.param("tiny_cassette", marks=pytest.mark.slow), "rxn"])
def test_real_vocabularies(fixture: str, texts: list[str], request: pytest.FixtureRequest) -> None:
    directory = request.getfixturevalue(fixture)
    if fixture == "rxn":
        tokenizer = BertTokenizer.from_pretrained(directory / "bert_pretrained", do_lower_case=False)
    else:
        tokenizer = BertTokenizer.from_pretrained(directory)
    assert find_differences(tokenizer, [*texts, *strings.make_strings(2000, seed=5, special=SPECIAL)]) == []


def test_bytes_that_are_not_utf_8(minilm: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    assert find_differences(tokenizer, list(strings.make_invalid_utf8(2000, seed=3))) == []


@pytest.mark.slow
@pytest.mark.parametrize("lower", [True, False])
def test_every_character_alone_and_in_a_word(minilm: Path, lower: bool) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm, do_lower_case=lower)
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    texts = [" ".join(f"{c} a{c}b" for c in map(chr, points[i : i + 64])) for i in range(0, len(points), 64)]
    assert find_differences(tokenizer, texts, max_length=512) == []


@pytest.mark.parametrize("max_length", [2, *(pytest.param(length, marks=pytest.mark.slow) for length in (3, 7, 512))])
def test_truncation(minilm: Path, texts: list[str], max_length: int) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    assert find_differences(tokenizer, ["the unaffable film " * 40, *texts], max_length=max_length) == []


@pytest.mark.parametrize(
    "max_length", [3, *(pytest.param(length, marks=pytest.mark.slow) for length in (4, 9, 30, 512))]
)
def test_pairs(minilm: Path, texts: list[str], max_length: int) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    others = [*texts]
    random.Random(1).shuffle(others)
    found = trace_tokenizer(tokenizer, max_length=max_length, pairs=True)(tf.constant(texts), tf.constant(others))
    assert is_equal(found, tokenizer(texts, others, max_length=max_length))


def test_empty_batches(minilm: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    empty = tf.constant([], tf.string)
    for found in (trace_tokenizer(tokenizer)(empty), trace_tokenizer(tokenizer, pairs=True)(empty, empty)):
        assert {name: values.shape[0] for name, values in found.items()} == dict.fromkeys(found, 0)


@pytest.mark.slow
def test_a_megabyte(minilm: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    long = ["the unaffable film " * 55_000, "é" * 500_000, "[" * 1_000_000, "[MASK]" * 170_000, "x\u0301" * 300_000]
    assert find_differences(tokenizer, long, max_length=128) == []


@pytest.mark.parametrize(
    "added",
    [
        pytest.param(["<ent>", "<ent1>", "t><"], marks=pytest.mark.slow),
        ["Ünder", "ÜnderGround", "new york", "中国"],
        [AddedToken("Ünder", normalized=True), AddedToken("derg", normalized=True), "中国"],
        pytest.param([AddedToken(text, normalized=True) for text in ("New York", "中国", "é")], marks=pytest.mark.slow),
        [AddedToken("<s>", lstrip=True, rstrip=True), AddedToken("ab", normalized=False), AddedToken("abab")],
    ],
)
def test_added_tokens(minilm: Path, added: list[Any]) -> None:
    vocabulary = BertTokenizer.from_pretrained(minilm).vocabulary
    tokenizer = BertTokenizer(vocabulary, added_tokens=added)
    spelled = [token if isinstance(token, str) else token.content for token in added]
    texts = [
        *("Under ünder ÜNDERGROUND undergrounder", "new york New  York NEW YORK newyork", "中国 中 国 x中国y 中国中国"),
        *("<ent><ent1> <ent>1 t>< <ent><x", "a <s> b<s>c  <s>", "ababab abab aba", "É e\u0301 café", "new york"),
        *strings.make_strings(400, seed=2, special=[*SPECIAL, *spelled]),
    ]
    assert find_differences(tokenizer, texts) == []


def test_more_words(minilm: Path, texts: list[str]) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    tokenizer.add_words(["filmmak", "tollywood", "chloroquine", "ꜳ"])
    tokenizer.add_tokens(["New York", "tolly", "<e1>"])
    more = ["Filmmaking in New  York, NEW YORK: Tollywood, tollywoods <e1>chloroquine <E1> ꜳ xꜳ tolly", *texts]
    assert find_differences(tokenizer, more) == []


def test_special_tokens_at_any_id_and_of_any_spelling() -> None:
    words = ["film", "<pad>", "##s", "good", "<s>", "?", "unk", "</s>", "<mask>"]
    names = {"pad_token": "<pad>", "unk_token": "unk", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    tokenizer = BertTokenizer(words, **names)
    texts = ["Good films?", "<mask> film unk UNK", "</s><s>", "", "nothing known", "<pad>film"]
    assert find_differences(tokenizer, texts) == []


def test_offsets(minilm: Path, texts: list[str]) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    tables = InGraphTokenizer(tokenizer)
    plain = [text for text in texts if not any(mark in text for mark in "\u0301\u0327\u0308\u0300")]
    found = tables.tokenize(tf.constant(plain), with_offsets=True)
    expected = tokenizer.backend_tokenizer.encode_batch(plain, add_special_tokens=False)
    assert np.diff(found.splits).tolist() == [len(encoding.ids) for encoding in expected]
    spans = np.stack([found.begin, found.end], axis=1)
    assert spans.tolist() == [list(span) for encoding in expected for span in encoding.offsets]
    first = [
        i == 0 or ids[i] != ids[i - 1] for encoding in expected for ids in [encoding.word_ids] for i in range(len(ids))
    ]
    assert np.asarray(found.is_first).tolist() == first


def test_operations_are_those_of_a_plain_tensorflow(minilm: Path) -> None:
    graph = trace_tokenizer(BertTokenizer.from_pretrained(minilm)).get_concrete_function().graph.as_graph_def()
    operations = {node.op for function in graph.library.function for node in function.node_def}
    operations |= {node.op for node in graph.node}
    assert "UnicodeDecode" in operations
    assert not {op for op in operations if "Py" in op or "Table" in op or not hasattr(tf.raw_ops, op)} - {
        "Placeholder",
        "StatelessIf",
        "StatelessWhile",
    }


def test_tokens_that_must_be_single_words_are_refused(minilm: Path) -> None:
    vocabulary = BertTokenizer.from_pretrained(minilm).vocabulary
    with pytest.raises(InputError, match="'film' match single words only"):
        InGraphTokenizer(BertTokenizer(vocabulary, added_tokens=[AddedToken("film", single_word=True)]))


def test_combining_characters_whose_order_matters_are_refused() -> None:
    with pytest.raises(InputError, match=r"U\+302E, U\+16FF0"):
        InGraphTokenizer(BertTokenizer([*SPECIAL, "a\u302e", "b\U00016ff0"]))


@pytest.mark.parametrize("collide", [True, False])
def test_characters_that_share_the_sum_of_a_piece(monkeypatch: pytest.MonkeyPatch, collide: bool) -> None:
    """With weights so small that other strings have a piece's sum, all pieces are compared; otherwise those used."""
    if collide:
        for module in (wordpiece, piece_table):
            monkeypatch.setattr(module, "find_hash_bits", lambda slots, buckets: (0, 3))
        # One letter per integer, with a small weight.
        monkeypatch.setattr(piece_table, "_PACK_BITS", 8)
        monkeypatch.setattr(piece_table, "_WEIGHT_BITS", 6)
    letters = "abcdefgh"
    pieces = [*letters, *(f"##{letter}" for letter in letters), "ab", "##cd", "##efg", "bad", "##head", "dead", "##ce"]
    tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])
    tables = InGraphTokenizer(tokenizer)
    calls, find_pieces = [], wordpiece.WordPiece._find_pieces

    def spy(*arguments: Any, compare_all: bool) -> Any:
        calls.append(compare_all)
        return find_pieces(*arguments, compare_all=compare_all)

    monkeypatch.setattr(wordpiece.WordPiece, "_find_pieces", spy)
    generator = random.Random(5)
    for _ in range(40):
        words = ["".join(generator.choices(letters, k=generator.randint(1, 12))) for _ in range(9)]
        found = tables(tf.constant([" ".join(words)]), max_length=128)["input_ids"].numpy()
        np.testing.assert_array_equal(found, tokenizer([" ".join(words)], max_length=128)["input_ids"])
    assert set(calls) == {False, collide}
