"""Signatures of exports that take text, compared with `Predictor` on the Keras model, and with transformers."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import transformers_models
from scipy.special import softmax

from keras_bert_impl import models
from keras_bert_impl.errors import InputError
from keras_bert_impl.export import export_model
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tokenization import BertTokenizer

TEXTS = ["A good film.", "", "Naïve, not good – and far too long " * 9, "bad 日本", "\ufffd x\x00y"]
# The bytes that a client sends, invalid UTF-8 included.
SENT = tf.constant([*(text.encode() for text in TEXTS[:-1]), b"\xff x\x00y"])


def make_export(
    small_bert: Path, root: Path, name: str, *, attentions: bool = False, **changes: Any
) -> tuple[Path, Any]:
    """A model with random heads: its directory and its loaded export, with rows of 31 tokens at most."""
    keras.utils.set_random_seed(7)
    run = root / name
    model = getattr(models, name).from_pretrained(small_bert, **changes)
    # Heads are initialized so small that all answers would be alike.
    for weight in model.trainable_weights[-2:]:
        weight.assign(keras.random.normal(weight.shape, seed=3))
    model.save_pretrained(run)
    BertTokenizer.from_pretrained(small_bert).save_pretrained(run)
    directory = export_model(run, root / "saved" / name / "1", max_length=31, attentions=attentions).directory
    return run, tf.saved_model.load(str(directory))


def call_signature(loaded: Any, signature: str = "serving_default", **texts: Any) -> dict[str, np.ndarray]:
    """What a signature answers, as NumPy arrays."""
    found = loaded.signatures[signature](**{name: tf.constant(value) for name, value in texts.items()})
    return {name: value.numpy() for name, value in found.items()}


def decode_bytes(array: np.ndarray) -> Any:
    """Bytes as text."""
    return np.vectorize(bytes.decode, otypes=[object])(array).tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
def test_classification(small_bert: Path, tmp_path: Path) -> None:
    labels = {0: "dull", 1: "fine", 2: "größer"}
    run, loaded = make_export(small_bert, tmp_path, "BertForSequenceClassification", id2label=labels)
    predictor = Predictor(run, max_length=31)
    found = call_signature(loaded, text=SENT)
    assert found.keys() == {"label", "scores"}
    expected = predictor.predict_texts(TEXTS)
    assert decode_bytes(found["label"]) == [prediction["label"] for prediction in expected]
    np.testing.assert_allclose(found["scores"], [list(p["scores"].values()) for p in expected], atol=1e-6)
    pairs = call_signature(loaded, "pair", text=SENT, text_pair=SENT[::-1])
    expected = predictor.predict_texts(TEXTS, TEXTS[::-1])
    np.testing.assert_allclose(pairs["scores"], [list(p["scores"].values()) for p in expected], atol=1e-6)
    assert call_signature(loaded, text=tf.constant([], tf.string))["scores"].shape == (0, 3)


@pytest.mark.filterwarnings("ignore:.* texts are longer than:UserWarning")
@pytest.mark.slow
def test_regression(small_bert: Path, tmp_path: Path) -> None:
    changes = {"id2label": {0: "value"}, "problem_type": "regression"}
    run, loaded = make_export(small_bert, tmp_path, "BertForSequenceClassification", **changes)
    found = call_signature(loaded, text=SENT)
    np.testing.assert_allclose(
        found["scores"][:, 0], [p["value"] for p in Predictor(run, max_length=31).predict_texts(TEXTS)], atol=1e-5
    )


@pytest.mark.slow
def test_tagging(small_bert: Path, tmp_path: Path) -> None:
    run, loaded = make_export(small_bert, tmp_path, "BertForTokenClassification", id2label={0: "O", 1: "B-x", 2: "I-x"})
    texts = [text for text in TEXTS if "日" not in text and "\x00" not in text]
    found = call_signature(loaded, text=texts)
    for i, (text, expected) in enumerate(zip(texts, Predictor(run, max_length=31).predict_texts(texts), strict=True)):
        count = len(expected["words"])
        assert decode_bytes(found["tokens"][i]) == expected["words"] + [""] * (found["tokens"].shape[1] - count)
        assert decode_bytes(found["labels"][i][:count]) == expected["tags"]
        np.testing.assert_allclose(found["scores"][i][:count], expected["scores"], atol=1e-6)
        spans = zip(found["start"][i][:count], found["end"][i][:count], strict=True)
        assert [text[start:end] for start, end in spans] == expected["words"]
        assert set(found["start"][i][count:].tolist()) <= {-1}
    assert len({tag for tags in found["labels"][2] for tag in tags}) > 1
    assert call_signature(loaded, text=tf.constant([], tf.string))["tokens"].shape == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("extra", [{}, {"version_2_with_negative": True}])
def test_question_answering(small_bert: Path, tmp_path: Path, extra: dict[str, bool]) -> None:
    run, loaded = make_export(small_bert, tmp_path, "BertForQuestionAnswering", extra=extra)
    questions = ["Who is good?", "What is long, and why is it so far too long for a film?" * 3, "", "bad?", "?"]
    found = call_signature(loaded, question=questions, context=SENT)
    for i, expected in enumerate(Predictor(run, max_length=31).predict_texts(questions, TEXTS)):
        assert found["answer"][i].decode() == expected["answer"]
        span = [None if value < 0 else value for value in (int(found["start"][i]), int(found["end"][i]))]
        assert span == [expected["start"], expected["end"]]
        assert found["score"][i] == pytest.approx(expected["score"], abs=1e-5)
    nothing = tf.constant([], tf.string)
    assert call_signature(loaded, question=nothing, context=nothing)["answer"].shape == (0,)


@pytest.mark.parametrize("name", ["BertForMaskedLM", pytest.param("BertForPreTraining", marks=pytest.mark.slow)])
def test_masked_words(small_bert: Path, tmp_path: Path, name: str) -> None:
    run, loaded = make_export(small_bert, tmp_path, name)
    texts = ["A [MASK] film is [MASK].", "no mask", "[MASK]"]
    found = call_signature(loaded, text=texts)
    assert found["tokens"].shape == found["scores"].shape == (3, 2, 5)
    assert [(row != b"").any(axis=1).tolist() for row in found["tokens"]] == [[True, True], [False] * 2, [True, False]]

    tokenizer = transformers_models.Tokenizer(run)
    inputs = tokenizer(texts, padding=True, return_tensors="np")
    theirs = transformers_models.compute_outputs("BertForMaskedLM", run, inputs, allow_extra=True)
    probabilities = softmax(theirs["logits"][inputs["input_ids"] == tokenizer.mask_token_id], axis=-1)
    best = np.argsort(-probabilities, axis=-1)[:, :5]
    is_mask = found["tokens"] != b""
    expected = np.take_along_axis(probabilities, best, axis=-1)
    np.testing.assert_allclose(found["scores"][is_mask].reshape(-1, 5), expected, atol=1e-6)
    assert decode_bytes(found["tokens"][is_mask].reshape(-1, 5)) == [
        tokenizer.convert_ids_to_tokens(ids) for ids in best.tolist()
    ]


@pytest.mark.slow
def test_attentions(small_bert: Path, tmp_path: Path) -> None:
    run, loaded = make_export(small_bert, tmp_path, "BertForSequenceClassification", attentions=True)
    found = call_signature(loaded, "attentions", text=SENT[:1])
    tokenizer = transformers_models.Tokenizer(run)
    inputs = tokenizer(TEXTS[:1], return_tensors="np")
    theirs = transformers_models.compute_outputs("BertModel", run, inputs, allow_extra=True, output_attentions=True)
    np.testing.assert_allclose(found["attentions"], np.stack(theirs["attentions"], 1), atol=1e-6)
    assert decode_bytes(found["tokens"][0]) == ["[CLS]", *tokenizer.tokenize(TEXTS[0]), "[SEP]"]


@pytest.mark.slow
def test_anything_can_be_sent(small_bert: Path, tmp_path: Path) -> None:
    """Long, broken and hostile texts: an answer each, and no crash."""
    _, loaded = make_export(small_bert, tmp_path, "BertForQuestionAnswering")
    sent = [b"good " * 200_000, b"\xc3" * 100_000, b"[MASK][SEP]" * 9_000, bytes(range(256)), "é".encode() * 500_000]
    found = call_signature(loaded, question=sent, context=sent[::-1])
    assert found["answer"].shape == (5,)
    assert np.isfinite(found["score"]).all()


def test_models_that_are_not_served(small_bert: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    models.BertModel.from_pretrained(small_bert).save_pretrained(run)
    BertTokenizer.from_pretrained(small_bert).save_pretrained(run)
    config = json.loads((small_bert / "config.json").read_text(encoding="utf-8"))
    for name, message in {"GPT2Model": "fits no task .architectures GPT2Model", "BertForMaskedLM": "lacks cls"}.items():
        (run / "config.json").write_text(json.dumps(config | {"architectures": [name]}), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            export_model(run, tmp_path / "saved" / "1")
    assert not (tmp_path / "saved").exists()
