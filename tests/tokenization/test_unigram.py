"""Unigram tokenizers compared with transformers and sentence-transformers; Chinese and Korean WordPiece."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_models
import small
from languages import CHINESE, JAPANESE, KOREAN, SPECIAL
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers_models import Tokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForSentenceEmbedding
from keras_bert_impl.sources import open_source
from keras_bert_impl.tokenization import BertTokenizer, UnigramTokenizer
from keras_bert_impl.tokenization.classes import find_tokenizer_class
from keras_bert_impl.tokenization.frequent_words import find_frequent_words

XLM_R = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
NAMES = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
# The order of KoBERT's special tokens: the unknown token is the first, padding the second.
KOBERT = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ODD = ["", " ", "  two  spaces ", "<mask> and </s><s>", "A film[MASK] 😀 İstanbul ﬁ", "　全角　空白 ", "ｶﾞ㋿"]


@pytest.fixture(scope="module")
def texts(film_texts: list[str]) -> list[str]:
    return [*ODD, *JAPANESE, *CHINESE, *KOREAN, *film_texts[:200]]


@pytest.fixture(scope="module")
def learned(film_texts: list[str]) -> list[tuple[str, float]]:
    """The pieces of a Unigram model of several languages, with their logarithmic probabilities."""
    learner = RustTokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=1500, special_tokens=["?"], unk_token="?", show_progress=False)
    learner.train_from_iterator([*JAPANESE, *CHINESE, *KOREAN, *film_texts[:1000]], trainer)
    return [(token, score) for token, score in json.loads(learner.to_str())["model"]["vocab"] if token != "?"]


def make_backend(learned: list[tuple[str, float]], special: list[str], post_processor: Any) -> RustTokenizer:
    vocabulary = [*((token, 0.0) for token in special), *learned]
    backend = RustTokenizer(
        models.Unigram(vocabulary, unk_id=next(i for i, t in enumerate(special) if "nk" in t.lower()))
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.decoder = decoders.Metaspace()
    backend.post_processor = post_processor
    return backend


def make_xlm_r(learned: list[tuple[str, float]]) -> RustTokenizer:
    post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return make_backend(learned, XLM_R, post_processor)


def write(directory: Path, backend: RustTokenizer, **config: Any) -> Path:
    directory.mkdir(exist_ok=True)
    backend.enable_padding(length=9)  # Settings that must not count.
    backend.enable_truncation(8)
    backend.save(str(directory / "tokenizer.json"))
    spellings = dict(zip(NAMES, XLM_R, strict=True))
    values = {"model_max_length": 128, "bos_token": "<s>", "eos_token": "</s>", **spellings, **config}
    (directory / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    return directory


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "XLMRobertaTokenizerFast"])
def test_ids_offsets_and_files_are_those_of_transformers(
    kind: str, learned: list[tuple[str, float]], texts: list[str], tmp_path: Path
) -> None:
    backend = make_xlm_r(learned)
    if kind == "PreTrainedTokenizerFast":  # The other class replaces the normalizer.
        backend.normalizer = normalizers.NFKC()
    directory = write(tmp_path / "model", backend, tokenizer_class=kind)
    reference = Tokenizer(directory)
    options = {"padding": True, "truncation": True, "return_tensors": "np"}
    expected = reference(texts, return_offsets_mapping=True, **options)
    tokenizer = BertTokenizer.from_pretrained(directory)
    assert isinstance(tokenizer, UnigramTokenizer)
    found = tokenizer(texts, return_offsets=True)
    for name in ("input_ids", "attention_mask", "offset_mapping"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert not found["token_type_ids"].any()
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id, tokenizer.model_max_length) == (1, 4, 128)
    pairs = texts[:60], texts[7:67]
    for length in (5, 8, 31):
        expected = reference(*pairs, max_length=length, **options)
        np.testing.assert_array_equal(tokenizer(*pairs, max_length=length)["input_ids"], expected["input_ids"])
    found = tokenizer(*pairs, truncation=False, return_text_ids=True)
    first = [len(tokenizer.tokenize(text)) for text in pairs[0]]
    assert (found["text_ids"] == 0).sum(axis=1).tolist() == first
    assert [int((row == 1).argmax()) for row in found["text_ids"]][3] == first[3] + 3
    for text, ids in zip(texts[7:], tokenizer(texts[7:], padding=False)["input_ids"], strict=True):
        assert tokenizer.decode(ids) == reference.decode(ids.tolist(), skip_special_tokens=True), text

    tokenizer.save_pretrained(tmp_path / "saved")
    again = Tokenizer(tmp_path / "saved")
    np.testing.assert_array_equal(again(texts, **options)["input_ids"], tokenizer(texts)["input_ids"])
    assert BertTokenizer.from_pretrained(tmp_path / "saved").settings == tokenizer.settings


def test_special_tokens_and_segments_of_bert(
    learned: list[tuple[str, float]], texts: list[str], tmp_path: Path
) -> None:
    special = list(KOBERT.values())
    backend = make_backend(learned, special, processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)))
    directory = write(tmp_path, backend, **KOBERT, bos_token="[CLS]", eos_token="[SEP]")
    options = {"padding": True, "truncation": True, "return_tensors": "np", "return_token_type_ids": True}
    expected = Tokenizer(directory)(texts[:40], texts[40:80], **options)
    tokenizer = BertTokenizer.from_pretrained(directory)
    found = tokenizer(texts[:40], texts[40:80])
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert (tokenizer.unk_token_id, tokenizer.pad_token_id) == (0, 1)
    assert found["token_type_ids"].max() == 1


@pytest.mark.parametrize("lower", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_vectors_of_a_multilingual_model(
    lower: bool, learned: list[tuple[str, float]], texts: list[str], tmp_path: Path
) -> None:
    """A `BertModel` with the tokenizer of XLM-R, as in paraphrase-multilingual-MiniLM-L12-v2."""
    bert = small.write_checkpoint(tmp_path / "bert", ["a"], vocab_size=len(learned) + 5, pad_token_id=0)
    (bert / "vocab.txt").unlink()
    kind = sentence_models.Kind(
        sentence_models.make_flags("mean_tokens"), ("Normalize",), {"max_seq_length": 29, "do_lower_case": lower}
    )
    directory = sentence_models.make_directory(kind, tmp_path / "embedder", bert=bert)
    write(directory, make_xlm_r(learned), tokenizer_class="PreTrainedTokenizerFast")
    expected = sentence_models.encode(directory, texts[:80])
    model = BertForSentenceEmbedding.from_pretrained(directory)
    np.testing.assert_allclose(model.encode(texts[:80]), expected, atol=1e-5)
    model.save_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(sentence_models.encode(tmp_path / "saved", texts[:80]), expected, atol=1e-5)


@pytest.mark.parametrize("language", ["Chinese", "Korean"])
def test_chinese_and_korean_wordpiece(language: str, tmp_path: Path) -> None:
    texts = {"Chinese": CHINESE, "Korean": KOREAN}[language]
    parts = {text[i : i + size] for text in texts for size in (1, 2, 3) for i in range(len(text) - 2)}
    # Korean models are cased: lower-casing removes accents, which would split syllables into letters.
    words = sorted(part for part in parts if part.isalnum() and sum(map(ord, part)) % 3)
    tokens = [*SPECIAL, *words, *(f"##{word}" for word in words), *"，。、；,."]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    lower = language == "Chinese"
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower, "model_max_length": 512}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    expected = Tokenizer(tmp_path)(texts, return_offsets_mapping=True)
    found = tokenizer(texts, padding=False, return_offsets=True)
    assert [row.tolist() for row in found["input_ids"]] == expected["input_ids"]
    assert [[tuple(span) for span in row.tolist()] for row in found["offset_mapping"]] == expected["offset_mapping"]
    known = sum(int((row != tokenizer.unk_token_id).sum()) for row in found["input_ids"])
    assert known > 60


def test_what_cannot_be_opened(learned: list[tuple[str, float]], tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"a model")
    assert find_tokenizer_class(open_source(tmp_path)) is UnigramTokenizer
    with pytest.raises(
        InputError, match=r"has spiece\.model, but no tokenizer\.json.* with transformers: AutoTokenizer"
    ):
        BertTokenizer.from_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"nothing has no tokenizer\.json, which is read"):
        UnigramTokenizer.from_pretrained((tmp_path / "nothing").mkdir() or tmp_path / "nothing")
    backend = make_xlm_r(learned)
    with pytest.raises(InputError, match=r"lacks mask_token 'M!'\. If it has other spellings, pass mask_token=…"):
        UnigramTokenizer(backend.to_str(), mask_token="M!")
    with pytest.raises(InputError, match=r"tokenizer\.json has a WordPiece model; Unigram was expected"):
        UnigramTokenizer(RustTokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]")).to_str())
    with pytest.raises(InputError, match=r"tokenizer\.json is not a file that the tokenizers library can read"):
        UnigramTokenizer("{}")
    backend.post_processor = processors.BertProcessing(("<s>", 0), ("</s>", 2))
    with pytest.raises(InputError, match=r"gives the tokens </s> ▁a <s> ▁a <s> .* <s> a </s> a </s> was expected"):
        UnigramTokenizer(backend.to_str())


def test_new_tokens_are_refused(learned: list[tuple[str, float]]) -> None:
    tokenizer = UnigramTokenizer(make_xlm_r(learned).to_str())
    for add in (tokenizer.add_tokens, tokenizer.add_words):
        with pytest.raises(InputError, match="a UnigramTokenizer cannot get new tokens"):
            add(["quokka"])
    with pytest.raises(InputError, match="a UnigramTokenizer cannot get new tokens"):
        find_frequent_words((pytest.fail(text) for text in ["It read a text."]), tokenizer, size=9)
