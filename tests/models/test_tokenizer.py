"""The tokenizer of a model: that of its checkpoint, read when it is first used."""

import shutil
from pathlib import Path

import pytest

from keras_bert_impl import BertConfig, BertModel, BertTokenizer
from keras_bert_impl.errors import InputError


def test_the_tokenizer_of_the_checkpoint(small_bert: Path) -> None:
    model = BertModel.from_pretrained(small_bert)
    tokenizer = model.tokenizer
    assert tokenizer is model.tokenizer
    text = "A great film, really."
    assert tokenizer.tokenize(text) == BertTokenizer.from_pretrained(small_bert).tokenize(text)
    model.tokenizer = other = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    assert model.tokenizer is other


def test_it_is_read_when_it_is_used(small_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading and saving do not read it, although Keras reads all attributes that ``dir`` lists when it saves."""
    read = []
    monkeypatch.setattr(BertTokenizer, "from_pretrained", lambda source: read.append(source.name))
    model = BertModel.from_pretrained(small_bert)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    model.save_pretrained(tmp_path / "saved")
    assert not read
    assert model.tokenizer is None
    assert read == [str(small_bert)]


def test_a_checkpoint_without_tokenizer(small_bert: Path, tmp_path: Path) -> None:
    directory = tmp_path / "bert"
    shutil.copytree(small_bert, directory, ignore=shutil.ignore_patterns("vocab.txt"))
    model = BertModel.from_pretrained(directory)
    with pytest.raises(InputError, match=r"bert has neither tokenizer\.json nor vocab\.txt"):
        assert model.tokenizer


def test_a_new_model_has_none() -> None:
    assert BertModel(BertConfig.preset("tiny", vocab_size=99)).tokenizer is None
