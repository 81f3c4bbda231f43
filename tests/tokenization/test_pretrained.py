"""A tokenizer's files: read in every published form, written as transformers reads them; invalid files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import normalizers
from transformers_models import Tokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertTokenizer

SMALL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "##s", "Film"]
ODD = ["a", "good", "</s>", "film", "##s", "M!", "<s>", "<pad>", "Film", "<unk>"]
SPELLED = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "M!"}
CASES = ["A good Film", "<e1> filmsé [MASK] M! <s>", "新 New York's  <E1>x"]


def write(directory: Path, **files: Any) -> Path:
    """Writes ``name=content`` as ``name.json``, and ``vocab=tokens`` as ``vocab.txt``."""
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        if name == "vocab":
            (directory / "vocab.txt").write_bytes("".join(f"{token}\n" for token in content).encode())
        else:
            (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def make_json(vocabulary: list[str] = SMALL, **options: Any) -> dict[str, Any]:
    """A ``tokenizer.json`` as the tokenizers library itself writes it."""
    ids = {token: id for id, token in enumerate(vocabulary)}
    return json.loads(tokenizers.BertWordPieceTokenizer(ids, **options).to_str())


def encode(tokenizer: BertTokenizer, texts: list[str]) -> list[list[int]]:
    return [row.tolist() for row in tokenizer(texts, padding=False)["input_ids"]]


ADDED = [tokenizers.AddedToken("<e1>", special=True, normalized=False), tokenizers.AddedToken("New York", lstrip=True)]


@pytest.mark.parametrize(
    "options",
    [
        {"vocabulary": SMALL},
        {"vocabulary": SMALL, "do_lower_case": False, "strip_accents": True, "model_max_length": 77},
        {"vocabulary": SMALL, "strip_accents": False, "tokenize_chinese_chars": False, "added_tokens": ADDED},
        {"vocabulary": ODD, "added_tokens": ADDED, **SPELLED},
        {"vocabulary": [*SMALL, "\u2028", "\x85", "\u3000", " ", "é"]},
    ],
)
def test_saved_files_are_read_here_and_in_transformers(
    options: dict[str, Any], texts: list[str], tmp_path: Path
) -> None:
    saved = BertTokenizer(**options)
    saved.save_pretrained(tmp_path / "new" / "directory")
    directory = write(tmp_path / "new" / "directory", config={"model_type": "bert"})
    expected = encode(saved, [*CASES, *texts])

    read = BertTokenizer.from_pretrained(directory)
    assert (read.vocabulary, read.settings) == (saved.vocabulary, saved.settings)
    assert read.backend_tokenizer.to_str() == saved.backend_tokenizer.to_str()
    assert encode(read, [*CASES, *texts]) == expected

    reference = Tokenizer(directory)
    assert reference([*CASES, *texts])["input_ids"] == expected
    assert set(reference.all_special_ids) <= set(saved.special_token_ids)
    assert reference.get_vocab() == {token: id for id, token in enumerate(saved.vocabulary)}
    assert reference.model_max_length == saved.model_max_length
    assert reference.mask_token == saved.mask_token
    assert reference.decode(expected[0]) == saved.decode(expected[0], skip_special_tokens=False)

    alone = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert [found.ids for found in alone.encode_batch([*CASES, *texts])] == expected
    written = {"vocab", "tokenizer", "tokenizer_config", "special_tokens_map"}
    assert {path.stem for path in directory.iterdir()} == {"config", *written}


def test_vocab_txt_alone_gives_the_same(tmp_path: Path) -> None:
    BertTokenizer(ODD, do_lower_case=False, **SPELLED).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    read = BertTokenizer.from_pretrained(tmp_path)
    assert (read.vocabulary, read.do_lower_case, read.cls_token_id) == (ODD, False, 6)


def test_files_that_transformers_saved(texts: list[str], tmp_path: Path) -> None:
    settings = {"vocab": {token: id for id, token in enumerate(ODD)}, "do_lower_case": False, "model_max_length": 99}
    saved = Tokenizer(kind="BertTokenizer", added_tokens=ADDED, **settings, **SPELLED)
    saved.save_pretrained(tmp_path)
    read = BertTokenizer.from_pretrained(tmp_path)
    assert encode(read, [*CASES, *texts]) == saved([*CASES, *texts], truncation=True)["input_ids"]
    assert (read.model_max_length, read.do_lower_case, len(read)) == (99, False, 12)


def test_padding_and_truncation_in_files_are_ignored(minilm: Path) -> None:
    stored = json.loads((minilm / "tokenizer.json").read_text())
    assert (stored["padding"]["strategy"], stored["truncation"]["max_length"]) == ({"Fixed": 128}, 128)
    tokenizer = BertTokenizer.from_pretrained(minilm)
    assert tokenizer("a film")["input_ids"].shape == (1, 4)
    assert tokenizer("a film " * 300)["input_ids"].shape == (1, 512)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_settings_of_tokenizer_json_are_used_without_others(lower: bool, wrapped: bool, tmp_path: Path) -> None:
    content = make_json(lowercase=lower, strip_accents=False, handle_chinese_chars=False)
    if wrapped:
        content["normalizer"] = {"type": "Sequence", "normalizers": [content["normalizer"]]}
    read = BertTokenizer.from_pretrained(write(tmp_path, tokenizer=content))
    assert read.settings["do_lower_case"] is lower
    assert read.tokenize("Film") == (["film"] if lower else ["Film"])
    assert (read.strip_accents, read.tokenize_chinese_chars) == (False, False)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False, None])
def test_lower_case_before_the_normalizer(
    lower: bool, strip_accents: bool | None, cased_vocabulary: list[str], texts: list[str], tmp_path: Path
) -> None:
    """As sentence-transformers writes ``do_lower_case``; compared with the Rust tokenizer of the file."""
    cased = BertTokenizer(cased_vocabulary, do_lower_case=lower, strip_accents=strip_accents)
    content = json.loads(cased.backend_tokenizer.to_str())
    content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, content["normalizer"]]}
    read = BertTokenizer.from_pretrained(write(tmp_path, tokenizer=content))
    reference = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    expected = [encoding.ids for encoding in reference.encode_batch(texts)]
    assert [ids.tolist() for ids in read(texts, padding=False, truncation=False)["input_ids"]] == expected
    assert read.tokenize("Film") == read.tokenize("film")


def test_the_order_of_precedence_is_that_of_transformers(tmp_path: Path) -> None:
    directory = write(
        tmp_path,
        vocab=ODD,
        tokenizer=make_json(lowercase=True),
        tokenizer_config={"do_lower_case": False, "tokenizer_class": "BertTokenizer"},
        config={"model_type": "bert"},
    )
    assert BertTokenizer.from_pretrained(directory).tokenize("Film") == ["Film"]
    assert Tokenizer(directory).tokenize("Film") == ["Film"]
    overridden = BertTokenizer.from_pretrained(directory, do_lower_case=True, model_max_length=9)
    assert (overridden.tokenize("Film"), overridden.model_max_length) == (["film"], 9)


def test_spellings_come_from_any_of_the_files(tmp_path: Path) -> None:
    content = json.loads(BertTokenizer(ODD, **SPELLED).backend_tokenizer.to_str())
    partly = {"pad_token": {"content": "<pad>", "lstrip": False}, "mask_token": None}
    directory = write(tmp_path, tokenizer=content, special_tokens_map=partly, tokenizer_config={"mask_token": "M!"})
    read = BertTokenizer.from_pretrained(directory)
    assert {name: read.settings[name] for name in SPELLED} == SPELLED
    template = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 6), ("</s>", 2)]
    )
    content["post_processor"] = json.loads(template.__getstate__())
    read = BertTokenizer.from_pretrained(write(tmp_path, tokenizer=content))
    assert (read.cls_token, read.sep_token, read.unk_token) == ("<s>", "</s>", "<unk>")


@pytest.mark.parametrize("decoder", [True, False])
def test_tokens_that_transformers_4_added_to_vocab_txt(decoder: bool, tmp_path: Path) -> None:
    flags = {"lstrip": False, "rstrip": False, "single_word": False}
    entries = {
        str(id): {"content": token, "normalized": not special, "special": special, **flags}
        for id, token, special in [(1, "[UNK]", True), (11, "<e1>", True), (10, "New York", False)]
    }
    directory = write(
        tmp_path,
        vocab=SMALL,
        added_tokens={"<e1>": 11, "New York": 10},
        special_tokens_map={"additional_special_tokens": ["<e1>"], "mask_token": "[MASK]"},
        tokenizer_config={"do_lower_case": True, **({"added_tokens_decoder": entries} if decoder else {})},
        config={"model_type": "bert"},
    )
    read = BertTokenizer.from_pretrained(directory)
    # Without the flags, transformers 5 takes <e1> for an ordinary token, which is found as <E1> too.
    cases = CASES if decoder else CASES[:2]
    assert encode(read, cases) == Tokenizer(directory)(cases)["input_ids"]
    assert read.vocabulary == [*SMALL, "New York", "<e1>"]
    assert read.special_token_ids == [0, 1, 2, 3, 4, 11]


def test_the_longest_input_is_the_files_or_the_models_or_512(tmp_path: Path) -> None:
    directory = write(tmp_path, vocab=SMALL[:-1])
    assert BertTokenizer.from_pretrained(directory).model_max_length == 512
    write(directory, bert_config={"max_position_embeddings": 256})
    assert BertTokenizer.from_pretrained(directory).model_max_length == 256
    write(directory, config={"max_position_embeddings": 128}, tokenizer_config={"model_max_length": int(1e30)})
    assert BertTokenizer.from_pretrained(directory).model_max_length == 128
    write(directory, tokenizer_config={"max_len": 64})
    assert BertTokenizer.from_pretrained(directory).model_max_length == 64


def test_a_warning_if_a_vocabulary_looks_cased_and_nothing_says_so(rxn: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"bert_ft does not say whether it is cased.*Pass do_lower_case=False"):
        assert BertTokenizer.from_pretrained(rxn / "bert_ft").do_lower_case
    assert not BertTokenizer.from_pretrained(rxn / "bert_ft", do_lower_case=False).do_lower_case
    shutil.copy(rxn / "bert_ft" / "vocab.txt", tmp_path)
    write(tmp_path, tokenizer_config={"do_lower_case": False})
    assert BertTokenizer.from_pretrained(tmp_path).tokenize("C c") == ["C", "c"]


def test_only_line_feeds_end_a_token(tmp_path: Path) -> None:
    lines = [*SMALL[:-1], "\u2028", "\x85", "\x0b", "\u3000", "", "x\ty"]
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(lines).encode())
    assert BertTokenizer.from_pretrained(tmp_path).vocabulary == lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"vocab\.txt is empty"),
        (b"\n", r"vocab\.txt is empty"),
        (b"[PAD]\n[UNK]\nthe\nof\nthe\n", r"vocab\.txt has 'the' on line 3 and on line 5"),
        (b"[PAD]\n[UNK]\ncaf\xe9\n", r"vocab\.txt is not UTF-8.*line 3"),
        (b"[PAD]\nthe\n[CLS]\n", r"lacks unk_token '\[UNK\]', sep_token '\[SEP\]', mask_token '\[MASK\]'"),
    ],
)
def test_bad_vocab_txt(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        BertTokenizer.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


def change_json(**parts: Any) -> dict[str, Any]:
    """A good ``tokenizer.json`` with some parts changed; dictionaries are merged."""
    content = make_json()
    for name, value in parts.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    return content


BERT_NORMALIZER = json.loads(normalizers.BertNormalizer().__getstate__())
NFC = {"type": "NFC"}
ADDED_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
VOCABULARY = {token: id for id, token in enumerate(SMALL)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"type": "BPE"}}, "not a file that the tokenizers library can read"),
        ({}, "not a file that the tokenizers library can read"),
        (
            change_json(model={"type": "WordLevel"}),
            r"does not describe a BERT tokenizer: model\.type is 'WordLevel'; 'WordPiece' was expected",
        ),
        (
            change_json(model={"continuing_subword_prefix": "@@"}),
            r"continuing_subword_prefix is '@@'; '##' was expected",
        ),
        (change_json(model={"max_input_chars_per_word": 50}), "max_input_chars_per_word is 50; 100 was expected"),
        (change_json(normalizer=None), "normalizer.type is None; 'BertNormalizer' was expected"),
        (change_json(normalizer={"clean_text": False}), "normalizer.clean_text is False"),
        (
            change_json(normalizer={"type": "Sequence", "normalizers": [BERT_NORMALIZER, NFC]}),
            "normalizer.type is 'Sequence'; 'BertNormalizer' was expected",
        ),
        (change_json(pre_tokenizer={"type": "Whitespace"}), "pre_tokenizer.type is 'Whitespace'"),
        (
            change_json(post_processor={"type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": True}),
            r"post_processor \(RobertaProcessing\) does not make \[CLS\] a \[SEP\] b \[SEP\]",
        ),
        (change_json(model={"vocab": {**VOCABULARY, "x": 77}}), "'x' has 77 instead of 10"),
        (change_json(model={"vocab": {**VOCABULARY, "x": 9}}), "has 9 instead of 10"),
        (change_json(added_tokens=[{"id": 12, "content": "<e1>", **ADDED_FLAGS}]), "'<e1>' has 12 instead of 10"),
        (
            change_json(added_tokens=[{"id": 5, "content": "[PAD]", **ADDED_FLAGS}]),
            r"'\[PAD\]' has id 5, .* its id in the vocabulary is 0",
        ),
        (change_json(model={"vocab": {"[UNK]": 0}}, added_tokens=[]), r"lacks pad_token '\[PAD\]', cls_token"),
    ],
)
def test_other_kinds_of_tokenizer_json(content: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        BertTokenizer.from_pretrained(write(tmp_path, tokenizer=content))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has neither tokenizer\.json nor vocab\.txt; .* Copy the files"),
        (
            {"vocab": SMALL, "tokenizer_config": {"do_lower_case": "false"}},
            r"do_lower_case is 'false' \(str\); bool was",
        ),
        (
            {"vocab": SMALL, "tokenizer_config": {"cls_token": ["x"]}},
            r"cls_token is \['x'\] \(list\); str was expected",
        ),
        ({"vocab": SMALL, "tokenizer_config": {"model_max_length": "512"}}, "model_max_length is '512'"),
        ({"vocab": SMALL, "tokenizer_config": []}, r"tokenizer_config\.json contains a JSON list"),
        (
            {"vocab": SMALL, "tokenizer_config": {"tokenizer_class": "RoFormerTokenizer"}},
            r"tokenizer_class 'RoFormerTokenizer', whose rules .* are not BERT's",
        ),
        ({"vocab": SMALL, "added_tokens": {"x": 99}}, "added tokens in .* 'x' has 99 instead of 10"),
        ({"vocab": SMALL, "added_tokens": {"x": "10"}}, "added tokens in .* cannot be used"),
        ({"vocab": SMALL, "tokenizer_config": {"added_tokens_decoder": {"10": "x"}}}, "added tokens in .* cannot be"),
    ],
)
def test_bad_directories(files: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        BertTokenizer.from_pretrained(write(tmp_path, **files))
    assert str(tmp_path) in str(caught.value)


def test_invalid_json(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(InputError, match=r"tokenizer\.json is not JSON: line 1"):
        BertTokenizer.from_pretrained(tmp_path)
