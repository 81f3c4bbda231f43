"""`BertTokenizerLayer` in ``tf.data``, in functional models, in ``.keras`` files and in exports."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tokenizers import AddedToken

from keras_bert_impl import BertConfig, BertForSequenceClassification, BertTokenizer, BertTokenizerLayer
from keras_bert_impl.errors import InputError

TOKENS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a film book was good bad long . , ##s".split()
TEXTS = ["The films was good.", "a very long , long book", "", "[MASK] <br> book", "BAD " * 9]
PAIRS = ["a book", "", "the film was bad .", "good " * 9, "?"]
TOKENIZER = BertTokenizer(TOKENS, added_tokens=[AddedToken("<br>", normalized=False)], model_max_length=23)


def assert_equal(found: Any, expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(np.asarray(found[name]), array)


def make_text_model() -> tuple[keras.Model, BertForSequenceClassification]:
    """A classifier of strings, and the classifier of ids inside it."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 37}
    keras.utils.set_random_seed(4)
    classifier = BertForSequenceClassification(BertConfig(vocab_size=len(TOKENIZER), **sizes))
    texts = keras.Input((), dtype="string", name="text")
    return keras.Model(texts, classifier(BertTokenizerLayer(TOKENIZER, max_length=9)(texts))), classifier


def test_ids_are_those_of_the_tokenizer() -> None:
    layer = BertTokenizerLayer(TOKENIZER, max_length=9)
    expected = TOKENIZER(TEXTS, max_length=9)
    for texts in (TEXTS, np.array(TEXTS), np.array(TEXTS, object), tf.constant(TEXTS)):
        assert_equal(layer(texts), expected)
    assert_equal(layer((TEXTS, tf.constant(PAIRS))), TOKENIZER(TEXTS, PAIRS, max_length=9))
    assert_equal(BertTokenizerLayer(TOKENIZER)(TEXTS), TOKENIZER(TEXTS, max_length=23))


def test_in_a_dataset() -> None:
    layer = BertTokenizerLayer(TOKENIZER, max_length=9)
    dataset = tf.data.Dataset.from_tensor_slices((TEXTS, PAIRS)).batch(2).map(lambda *texts: layer(texts))
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == 3
    assert_equal(batches[1], TOKENIZER(TEXTS[2:4], PAIRS[2:4], max_length=9))


def test_in_a_dataset_of_single_texts() -> None:
    layer = BertTokenizerLayer(TOKENIZER, max_length=9)
    for texts in ((TEXTS,), (TEXTS, PAIRS)):
        dataset = tf.data.Dataset.from_tensor_slices(texts).map(lambda *texts: layer(texts if texts[1:] else texts[0]))
        assert dataset.element_spec["input_ids"].shape.rank == 1
        for i, row in enumerate(dataset.as_numpy_iterator()):
            expected = TOKENIZER(*([text[i]] for text in texts), max_length=9)
            assert_equal(row, {name: values[0] for name, values in expected.items()})


def test_in_a_functional_model() -> None:
    model, classifier = make_text_model()
    expected = classifier.predict(TOKENIZER(TEXTS, max_length=9), verbose=0)["logits"]
    np.testing.assert_allclose(model(tf.constant(TEXTS))["logits"], expected, atol=1e-5)


@pytest.mark.slow
def test_a_functional_model_is_trained_saved_and_exported(tmp_path: Path) -> None:
    model, classifier = make_text_model()
    model.compile("sgd", {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)})
    model.fit(tf.constant(TEXTS), {"logits": np.array([1, 0, 1, 0, 1])}, batch_size=2, verbose=0)
    expected = classifier.predict(TOKENIZER(TEXTS, max_length=9), verbose=0)["logits"]
    np.testing.assert_allclose(model.predict(tf.constant(TEXTS), verbose=0)["logits"], expected, atol=1e-5)
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, numpy as np, keras, keras_bert_impl, tensorflow as tf\n"
        "loaded = keras.saving.load_model(sys.argv[1])\n"
        "print(*loaded.predict(tf.constant(sys.argv[2:]), verbose=0)['logits'].ravel())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.keras"), *TEXTS]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose(np.array(output.split()[-10:], float), expected.ravel(), atol=1e-5)
    model.export(tmp_path / "export", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "export")
    np.testing.assert_allclose(loaded.serve(tf.constant(TEXTS))["logits"], expected, atol=1e-5)


def test_it_is_restored_from_its_configuration() -> None:
    layer = BertTokenizerLayer(TOKENIZER, max_length=9, name="words")
    other = BertTokenizerLayer.from_config(layer.get_config())
    assert (other.name, other.max_length, other.tokenizer.settings) == ("words", 9, TOKENIZER.settings)
    assert other.tokenizer.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_bad_input() -> None:
    with pytest.raises(InputError, match="the tokenizer is 'bert'; a BertTokenizer was expected"):
        BertTokenizerLayer("bert")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="max_length is 2; at least 3"):
        BertTokenizerLayer(TOKENIZER, max_length=2)
    with pytest.raises(
        InputError, match=r'dtype int32; strings \[batch\] were expected. Use keras.Input\(\(\), dtype="s'
    ):
        BertTokenizerLayer(TOKENIZER)(keras.Input((), dtype="int32"))


@pytest.mark.slow
def test_other_backends_are_refused() -> None:
    code = (
        "from keras_bert_impl import BertTokenizer, BertTokenizerLayer\n"
        "words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']\n"
        "try:\n    BertTokenizerLayer(BertTokenizer(words))\nexcept ValueError as error:\n    print(error)"
    )
    command, environment = [sys.executable, "-c", code], {**os.environ, "KERAS_BACKEND": "jax"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert output == (
        "a tokenizer inside a model is made of operations on strings, which need TensorFlow, but Keras uses the "
        "backend jax. Set KERAS_BACKEND=tensorflow.\n"
    )
