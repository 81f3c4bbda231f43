"""``keras-bert serve-check`` on an export that TensorFlow Serving accepts, and on others."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from keras_bert_impl.cli.main import main
from keras_bert_impl.errors import InputError
from keras_bert_impl.export.check import check_export
from keras_bert_impl.export.warmup import make_prediction_log
from keras_bert_impl.tokenization import BertTokenizer


def test_an_export_passes(sentiment_export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve-check", str(sentiment_export)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("location", "operations", "oneDNN", "signatures", "warm-up", "tokenizer")
    ]
    assert max(map(len, lines)) <= 80


def find_failures(directory: Path) -> dict[str, str]:
    return {check.name: check.details for check in check_export(directory) if not check.passed}


def test_problems_are_named(sentiment_export: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other" / "v1"
    shutil.copytree(sentiment_export, copy)
    # The same vocabulary with two words swapped.
    tokenizer = BertTokenizer.from_pretrained(copy / "assets.extra")
    words = [*tokenizer.vocabulary]
    first, second = words.index("great"), words.index("movie")
    words[first], words[second] = words[second], words[first]
    BertTokenizer(words, model_max_length=tokenizer.model_max_length).save_pretrained(copy / "assets.extra")
    found = find_failures(copy)
    assert found.keys() == {"location", "warm-up", "tokenizer"}
    assert found["location"] == "not a version number"
    assert found["warm-up"] == "6 requests, not the expected ones for other"
    (copy / "assets.extra" / "tf_serving_warmup_requests").unlink()
    assert find_failures(copy)["warm-up"] == "assets.extra/tf_serving_warmup_requests is missing"


def test_operations_that_tensorflow_lacks(tmp_path: Path) -> None:
    module = tf.Module()
    module.answer = tf.function(
        lambda text: {"label": tf.numpy_function(lambda value: value, [text], tf.string)},
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    tf.saved_model.save(module, str(tmp_path / "1"))
    path = tmp_path / "1" / "saved_model.pb"
    path.write_bytes(path.read_bytes().replace(b"PyFunc", b"XyFunc"))
    checks = check_export(tmp_path / "1")
    assert next(checks).passed
    second = next(checks)
    assert (second.name, second.passed, second.details) == ("operations", False, "not in TensorFlow: XyFunc")


def test_no_export(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"has no saved_model\.pb; a SavedModel was expected\. Make one with 'keras-bert export'"
    ):
        list(check_export(tmp_path))


def test_a_warm_up_request_does_not_depend_on_the_order_of_inputs() -> None:
    inputs = {name: tf.ones([2, 3], tf.int32) for name in ("input_ids", "token_type_ids", "attention_mask")}
    backwards = dict(reversed(inputs.items()))
    assert list(backwards) != list(inputs)
    assert make_prediction_log("x", "ids", backwards) == make_prediction_log("x", "ids", inputs)
