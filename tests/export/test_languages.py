"""Exports of models whose tokenizers are not TensorFlow operations: they take ids, or words."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from languages import JAPANESE, make_japanese_vocabulary
from page_code import extract_blocks

from keras_bert_impl.cli.main import main
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.export import export_model
from keras_bert_impl.export.check import check_export
from keras_bert_impl.export.tokenizer.in_graph import InGraphTokenizer
from keras_bert_impl.export.tokenizer.layer import BertTokenizerLayer
from keras_bert_impl.models import BertForSequenceClassification
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tokenization import BertJapaneseTokenizer

TEXTS = [*JAPANESE, "", "[MASK]と東京タワー abc"]


@pytest.fixture(scope="module")
def tokenizer() -> BertJapaneseTokenizer:
    vocabulary = make_japanese_vocabulary(JAPANESE, words=60)
    return BertJapaneseTokenizer(
        [*vocabulary, "abc", "new"],
        word_tokenizer_type="mecab",
        do_lower_case=True,
        added_tokens=["東京タワー"],
        never_split=["ABC"],
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: BertJapaneseTokenizer) -> Path:
    directory = tmp_path_factory.mktemp("japanese") / "model"
    keras.utils.set_random_seed(3)
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17}
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=61,
        initializer_range=0.5,
        id2label={0: "bad", 1: "good"},
        **sizes,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def test_text_is_refused_and_ids_and_words_are_served(
    model: Path, tokenizer: BertJapaneseTokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tmp_path / "japanese"
    assert main(["export", str(model), str(export / "1")]) == 2
    reason = "MeCab, Sudachi and the rules of this class are not TensorFlow operations. Export with --inputs words or"
    assert reason in capsys.readouterr().err
    assert not export.exists()
    with pytest.raises(InputError, match="inputs is 'tokens'; text, words or ids was expected"):
        export_model(model, export / "1", inputs="tokens")
    with pytest.raises(InputError, match="attention maps are those of texts"):
        export_model(model, export / "1", inputs="ids", attentions=True)

    expected = Predictor(model).predict_texts(TEXTS)
    scores = [list(prediction["scores"].values()) for prediction in expected]
    batch = {name: tf.constant(values) for name, values in tokenizer(TEXTS, max_length=61).items()}
    words = [" ".join(tokenizer.split_words(text)) for text in TEXTS]
    for version, (inputs, request) in enumerate({"ids": batch, "words": {"text": tf.constant(words)}}.items(), 1):
        directory = export_model(model, export / str(version), inputs=inputs).directory
        assert all(check.passed for check in check_export(directory))
        served = tf.saved_model.load(str(directory)).signatures["serving_default"](**request)
        np.testing.assert_allclose(served["scores"], scores, atol=1e-5)
        predictions = Predictor(directory).predict_texts(TEXTS)
        assert [each["label"] for each in predictions] == [each["label"] for each in expected]
        readme = (directory / "README.md").read_text(encoding="utf-8")
        assert '"input_ids": [2, ' in readme if inputs == "ids" else "split into words" in readme


def test_the_graph_computes_the_ids_of_words(tokenizer: BertJapaneseTokenizer) -> None:
    texts = [tokenizer.make_graph_text(text) for text in TEXTS]
    found = InGraphTokenizer(tokenizer)(tf.constant(texts), max_length=31)["input_ids"].numpy()
    np.testing.assert_array_equal(found, tokenizer(TEXTS, max_length=31)["input_ids"])
    with pytest.raises(InputError, match="A BertJapaneseTokenizer cannot be part of a TensorFlow graph"):
        BertTokenizerLayer(tokenizer)
    characters = BertJapaneseTokenizer(
        tokenizer.vocabulary, word_tokenizer_type="mecab", subword_tokenizer_type="character"
    )
    with pytest.raises(InputError, match="Export with --inputs ids, and tokenize"):
        InGraphTokenizer(characters)


@pytest.mark.slow
def test_the_guide_of_another_format_makes_ids(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")
    directory = export_model(model, tmp_path / "onnx", format="onnx").directory
    (code,) = extract_blocks((directory / "README.md").read_text(encoding="utf-8"))
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["logits", "(2,", "2)"]
