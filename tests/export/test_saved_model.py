"""Exports, run by TensorFlow alone."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from serving_padding import pad_like_tf_serving

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.export import export_model
from keras_bert_impl.models import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification
from keras_bert_impl.prediction import Predictor, Reranker
from keras_bert_impl.tokenization import BertTokenizer

TEXTS = ["A good film.", "", "😀", "not a good film, and far too long " * 5]


def test_the_directory_has_the_layout_of_tf_serving(sentiment_export: Path, sentiment_run: Path) -> None:
    assert {path.name for path in sentiment_export.iterdir()} == {
        "assets",
        "README.md",
        "assets.extra",
        "fingerprint.pb",
        "saved_model.pb",
        "variables",
    }
    extra = sentiment_export / "assets.extra"
    assert {path.name for path in extra.iterdir()} == {
        "config.json",
        "special_tokens_map.json",
        "tf_serving_warmup_requests",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    assert BertConfig.from_pretrained(extra) == BertConfig.from_pretrained(sentiment_run)
    assert [path.name for path in sentiment_export.parent.iterdir()] == ["1"]


def test_an_export_with_several_labels_does_not_rank(sentiment_export: Path) -> None:
    with pytest.raises(InputError, match=r"sentiment/1 has 2 labels; reranking needs a cross-encoder"):
        Reranker(sentiment_export)


def test_the_signature_over_ids_gives_the_outputs_of_the_keras_model(
    sentiment_export: Path, sentiment_run: Path
) -> None:
    loaded = tf.saved_model.load(str(sentiment_export))
    signature = loaded.signatures["ids"]
    inputs = signature.structured_input_signature[1]
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in inputs.items()} == {
        name: ([None, None], tf.int32) for name in ("input_ids", "token_type_ids", "attention_mask")
    }
    assert signature.structured_outputs.keys() == {"label", "scores", "logits"}
    model = BertForSequenceClassification.from_pretrained(sentiment_run)
    tokenizer = BertTokenizer.from_pretrained(sentiment_run)
    for texts in (TEXTS, TEXTS[:1]):
        batch = tokenizer(texts, max_length=131)
        expected = keras.ops.convert_to_numpy(model(batch)["logits"])
        found = signature(**{name: tf.constant(value) for name, value in batch.items()})["logits"].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_requests_that_tf_serving_pads(sentiment_export: Path, sentiment_run: Path) -> None:
    signature = tf.saved_model.load(str(sentiment_export)).signatures["ids"]
    tokenizer = BertTokenizer.from_pretrained(sentiment_run)
    requests = [tokenizer(text, max_length=31) for text in TEXTS]
    requests.append({name: array[:, :1] for name, array in requests[0].items()})  # [CLS] alone.
    assert len({request["input_ids"].shape[1] for request in requests}) > 3
    joined = {name: pad_like_tf_serving([request[name] for request in requests]) for name in requests[0]}
    assert joined["attention_mask"].all()
    found = signature(**{name: tf.constant(value) for name, value in joined.items()})["logits"].numpy()
    for logits, request in zip(found, requests, strict=True):
        expected = signature(**{name: tf.constant(value) for name, value in request.items()})["logits"].numpy()[0]
        np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3


# Run where Keras and its other backends are not found, as on a server that has TensorFlow and a tokenizer.
WITHOUT_KERAS = """
import json, sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in ("keras", "tf_keras", "torch", "jax", "transformers")
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
from keras_bert_impl.prediction import Predictor, Reranker

print(json.dumps(Predictor(sys.argv[1]).predict_texts(json.loads(sys.argv[2]))))
assert "keras" not in sys.modules
"""


def test_an_export_is_used_where_keras_is_missing(sentiment_export: Path, sentiment_run: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_KERAS, str(sentiment_export), json.dumps(TEXTS)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    found, expected = json.loads(result.stdout), Predictor(sentiment_run).predict_texts(TEXTS)
    assert [prediction["label"] for prediction in found] == [prediction["label"] for prediction in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["scores"] == pytest.approx(theirs["scores"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model_class", [BertForTokenClassification, BertForQuestionAnswering])
def test_a_model_and_its_export_predict_the_same(small_bert: Path, tmp_path: Path, model_class: type) -> None:
    run, export = tmp_path / "run", tmp_path / "model" / "12"
    keras.utils.set_random_seed(3)
    model_class.from_pretrained(small_bert, id2label={0: "O", 1: "B-x"}).save_pretrained(run)
    BertTokenizer.from_pretrained(small_bert).save_pretrained(run)
    assert export_model(run, export).directory == export
    pairs = TEXTS[1:] + TEXTS[:1] if model_class is BertForQuestionAnswering else None
    predictions = [Predictor(source, max_length=31).predict_texts(TEXTS, pairs) for source in (run, export)]
    assert len(predictions[0]) == len(TEXTS)
    assert _round_floats(predictions[0]) == _round_floats(predictions[1])


def _round_floats(value: object) -> object:
    """Rounds each float to four digits."""
    return json.loads(json.dumps(value), parse_float=lambda digits: round(float(digits), 4))


def test_what_cannot_be_exported_leaves_nothing(sentiment_run: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "7").write_text("a file")
    wrong = [
        (
            sentiment_run,
            tmp_path / "model",
            r"model ends in 'model', but TF Serving .* Name a directory such as .*model/1\.",
        ),
        (sentiment_run, tmp_path / "model" / "v1", "ends in 'v1'"),
        (sentiment_run, tmp_path / "kept" / "7", r"7 exists and is not a directory"),
        (tmp_path / "absent" / "run", tmp_path / "model" / "1", "absent/run: no such file or directory"),
    ]
    for run, directory, message in wrong:
        with pytest.raises(InputError, match=message):
            export_model(run, directory)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_labels_and_tokenizer_must_be_in_the_export(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(InputError, match=r"1 has a saved_model\.pb, but no assets\.extra/config.json"):
        Predictor(tmp_path / "1")
