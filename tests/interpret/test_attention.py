"""Attention and answers of every model class, compared with transformers; rollout compared with its definition."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers_models
from scipy.special import softmax

from keras_bert_impl import BertTokenizer
from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret import attend

CLASSES = {
    "BertForSequenceClassification": ("A wonderful film.", None),
    "BertForTokenClassification": ("A wonderful film by Ada.", None),
    "BertForMultipleChoice": ("Is it good?", "It is wonderful."),
    "BertForQuestionAnswering": ("What is good?", "The film is good, the book is not."),
    "BertForMaskedLM": ("A [MASK] film with [MASK].", None),
    "BertForNextSentencePrediction": ("It is a film.", "It is wonderful."),
    "BertForPreTraining": ("It is a film.", "It is [MASK]."),
    "BertModel": ("A wonderful film.", None),
}


@pytest.mark.parametrize("name", CLASSES)
def test_every_class(name: str, checkpoints: dict[str, Path], loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    text, pair = CLASSES[name]
    view = attend(loaded[name], tokenizer, text, pair)
    their_tokenizer = transformers_models.Tokenizer(checkpoints[name], kind="BertTokenizerFast")
    batch = their_tokenizer(text, pair, return_tensors="np")
    tokens = their_tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    inputs = {key: value[:, None] for key, value in batch.items()} if name == "BertForMultipleChoice" else batch
    outputs = transformers_models.compute_outputs(name, checkpoints[name], inputs, output_attentions=True)
    expected = np.stack(outputs["attentions"])[:, 0]
    assert view.attentions.shape == (2, 4, len(tokens), len(tokens))
    np.testing.assert_allclose(view.attentions, expected, rtol=0, atol=1e-5)
    assert view.tokens == tokens

    found = dict(view.prediction)
    assert (view.heading == "") == (not found)
    if name == "BertForSequenceClassification":
        probabilities = softmax(outputs["logits"][0]).tolist()
        assert found == pytest.approx(dict(zip(("bad", "so-so", "good"), probabilities, strict=True)), abs=1e-5)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    elif name == "BertForTokenClassification":
        tags = outputs["logits"][0].argmax(-1).tolist()[1:-1]
        assert list(found) == ["none"] if not any(tags) else all(word.endswith(": film") for word in found)
    elif name == "BertForMultipleChoice":
        ((value, probability),) = found.items()
        assert float(value) == pytest.approx(outputs["logits"].item(), abs=1e-3)
        assert probability is None
    elif name == "BertForQuestionAnswering":
        ((answer, _),) = found.items()
        assert answer in pair
    elif name == "BertForNextSentencePrediction":
        assert found["is_next"] == pytest.approx(softmax(outputs["logits"][0])[0], abs=1e-5)
    elif name in ("BertForMaskedLM", "BertForPreTraining"):
        logits = outputs["logits" if name == "BertForMaskedLM" else "prediction_logits"][0]
        scores = softmax(logits[tokens.index("[MASK]")])
        best = np.argsort(-scores)[:5]
        assert list(found) == tokenizer.convert_ids_to_tokens(best.tolist())
        np.testing.assert_allclose(list(found.values()), scores[best], atol=1e-5)
    page = view._repr_html_()
    assert "<iframe" in page


def test_next_sentence_of_pretraining(loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    view = attend(loaded["BertForPreTraining"], tokenizer, "It is a film.", "It is good.")
    assert {name for name, _ in view.prediction} == {"is_next", "not_next"}
    assert attend(loaded["BertForPreTraining"], tokenizer, "It is a film.").prediction == []


def test_rollout(loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    view = attend(loaded["BertModel"], tokenizer, "A wonderful film, isn't it?")
    first, second = (np.mean(layer, axis=0, dtype=np.float64) for layer in view.attentions)
    size = len(view.tokens)
    expected = np.zeros((2, size, size))
    for asking in range(size):
        for via in range(size):
            for token in range(size):
                step = 0.5 * second[asking, via] + 0.5 * (asking == via)
                expected[1, asking, token] += step * (0.5 * first[via, token] + 0.5 * (via == token))
                expected[0, asking, token] = 0.5 * first[asking, token] + 0.5 * (asking == token)
    np.testing.assert_allclose(view.compute_rollout(), expected, atol=1e-6)
    np.testing.assert_allclose(view.compute_rollout().sum(axis=-1), 1, atol=1e-6)


def test_saved(loaded: dict[str, Any], tokenizer: BertTokenizer, tmp_path: Path) -> None:
    view = attend(loaded["BertModel"], tokenizer, "A <script>alert(1)</script> film.")
    view.save(tmp_path / "view.html")
    page = (tmp_path / "view.html").read_text("utf-8")
    assert page.count("alert(1)") > page.count("<script>alert(1)") == 0
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        view.save(tmp_path / "file" / "view.html")


def test_a_question_without_context(loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    with pytest.raises(InputError, match="a question needs a context"):
        attend(loaded["BertForQuestionAnswering"], tokenizer, "What is good?")
