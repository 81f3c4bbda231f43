"""Training vocabularies: special tokens at BERT's ids, and files that other libraries read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.train import train_vocabulary

TEXTS = ["Good films are rare.", "A good film, and a better one: the best film.", "Café films, rarely good"] * 9


def test_special_tokens_have_the_ids_of_bert(tmp_path: Path) -> None:
    tokenizer = train_vocabulary(TEXTS, tmp_path / "vocabulary", size=170)
    vocabulary = (tmp_path / "vocabulary" / "vocab.txt").read_text("utf-8").split("\n")[:-1]
    assert vocabulary == tokenizer.vocabulary
    assert vocabulary[0] == "[PAD]"
    assert vocabulary[100:104] == ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert (vocabulary[1], vocabulary[99]) == ("[unused0]", "[unused98]")
    assert len(vocabulary) == len(set(vocabulary)) <= 170
    assert "film" in vocabulary
    assert {"c", "##a", "##f", "##e"} < set(vocabulary)
    assert "é" not in "".join(vocabulary)


def test_the_files_are_read_by_others(tmp_path: Path) -> None:
    train_vocabulary(TEXTS, tmp_path / "vocabulary", size=170)
    reference = BertWordPieceTokenizer(str(tmp_path / "vocabulary" / "vocab.txt"))
    for text in TEXTS[:3]:
        ours = BertTokenizer.from_pretrained(tmp_path / "vocabulary")([text])["input_ids"][0].tolist()
        assert ours == reference.encode(text).ids
        assert 100 not in ours


def test_a_cased_vocabulary(tmp_path: Path) -> None:
    train_vocabulary(TEXTS, tmp_path / "vocabulary", size=190, do_lower_case=False)
    tokenizer = BertTokenizer.from_pretrained(tmp_path / "vocabulary")
    assert not tokenizer.do_lower_case
    assert tokenizer.decode(tokenizer("Good Café")["input_ids"][0]) == "Good Café"


TRAIN = """
import sys
from keras_bert_impl.tokenization.train import train_vocabulary
lines = open(sys.argv[1], encoding="utf-8").read().split("\\n")
print("\\n".join(train_vocabulary(lines, sys.argv[2], size=700).vocabulary))
"""


def test_the_same_texts_give_the_same_vocabulary(tmp_path: Path, data_dir: Path) -> None:
    """Also in other processes, in which hash tables have another order."""
    found = [
        subprocess.run(
            [sys.executable, "-c", TRAIN, data_dir / "valid.tsv", tmp_path / str(run)], capture_output=True, check=True
        ).stdout
        for run in range(3)
    ]
    assert len(set(found)) == 1
    assert found[0].count(b"\n") == 700


def test_chinese_characters_fill_the_vocabulary(tmp_path: Path) -> None:
    """They are words by themselves and cannot be merged: each needs a token."""
    draw = np.random.default_rng(1)
    characters = [chr(0x4E00 + number) for number in range(3500)]
    probabilities = 1 / np.arange(20, 3520)
    texts = ["".join(draw.choice(characters, 300, p=probabilities / probabilities.sum())) for _ in range(400)]
    tokenizer = train_vocabulary(texts, tmp_path / "vocabulary", size=8000)
    ids = np.concatenate([tokenizer(text, max_length=512)["input_ids"][0] for text in texts[:50]])
    assert (ids == tokenizer.unk_token_id).mean() < 0.01


def test_very_long_words_are_skipped(tmp_path: Path) -> None:
    texts = ["x" * 3_000_000, *TEXTS]
    assert "film" in train_vocabulary(texts, tmp_path / "vocabulary", size=170).vocabulary


def test_invalid_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size is 104; more than 104 was expected"):
        train_vocabulary(TEXTS, tmp_path / "vocabulary", size=104)
    with pytest.raises(InputError, match="The texts contain no words"):
        train_vocabulary([" ", ""], tmp_path / "vocabulary", size=200)
    with pytest.raises(InputError, match="texts is an iterator, which can be read only once"):
        train_vocabulary((text for text in TEXTS), tmp_path / "vocabulary", size=200)
    assert not list(tmp_path.iterdir())
