"""Integrated gradients compared with torch in float64 on transformers' models; completeness; what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_process import run_in_torch_process

from keras_bert_impl import BertForSequenceClassification, BertTokenizer
from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret import attribute, attribute_all
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.words import encode_row

STEPS = 7
# Class: the texts, the target, and where its logits are in transformers' outputs: label, name, index.
CASES: dict[str, tuple[tuple[str, str | None], str | None, list[tuple[str, str, Any]]]] = {
    "BertForSequenceClassification": (
        ("A wonderfully bad film.", None),
        "so-so",
        [("logit of 'so-so'", "logits", (0, 1))],
    ),
    "BertForTokenClassification": (("A film by Ada.", None), "film", [("at 'film'", "logits", (0, 2, "max"))]),
    "BertForQuestionAnswering": (
        ("What is it?", "It is a good film."),
        "a good film",
        [
            ("logit of the start at 'a'", "start_logits", (0, 8)),
            ("logit of the end at 'film'", "end_logits", (0, 10)),
        ],
    ),
    "BertForMaskedLM": (
        ("A [MASK] film with a [MASK].", None),
        "good",
        [
            ("logit of 'good' at position 2", "logits", (0, 2, "good")),
            ("logit of 'good' at position 6", "logits", (0, 6, "good")),
        ],
    ),
    "BertForNextSentencePrediction": (
        ("It is a film.", "It is good."),
        None,
        [("_next'", "logits", (0, "max"))],
    ),
    "BertForMultipleChoice": (
        ("Is it good?", "It is wonderful."),
        None,
        [("score of the choice", "logits", (0, 0))],
    ),
    "BertForPreTraining": (
        ("It is a film.", "It is [MASK]."),
        "good",
        [("logit of 'good'", "prediction_logits", (0, 9, "good"))],
    ),
}


@run_in_torch_process
def attribute_with_torch(
    path: Path, name: str, texts: tuple[str, str | None], output: str, index: tuple[Any, ...], steps: int
) -> tuple[np.ndarray, float]:
    """Attributions of tokens, and the change of the logit, by hooks on the embeddings of transformers' model."""
    import numpy as np
    import torch
    import transformers

    model = getattr(transformers, name).from_pretrained(path).eval().double()
    tokenizer = transformers.BertTokenizerFast.from_pretrained(path)
    batch = tokenizer(*texts, return_tensors="pt", return_special_tokens_mask=True)
    batch.pop("special_tokens_mask")
    ids = batch["input_ids"]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    blank = torch.where(special, ids, tokenizer.pad_token_id)
    with torch.no_grad():
        states, blanks = (
            model.bert.embeddings(input_ids=values, token_type_ids=batch["token_type_ids"]) for values in (ids, blank)
        )
        if name == "BertForMultipleChoice":  # [batch, choices, tokens]
            batch = {key: values[:, None] for key, values in batch.items()}
        logits = getattr(model(**batch), output)
    place = tuple(tokenizer.convert_tokens_to_ids(part) if part == "good" else part for part in index)
    if place[-1] == "max":
        place = (*place[:-1], int(logits[place[:-1]].argmax()))

    def compute_logit(point: torch.Tensor) -> torch.Tensor:
        hook = model.bert.embeddings.register_forward_hook(lambda *_: point)
        value = getattr(model(**batch), output)[place]
        hook.remove()
        return value

    points, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(states)
    for position, weight in zip((points + 1) / 2, weights / 2, strict=True):
        point = (blanks + position * (states - blanks)).requires_grad_()
        total += weight * torch.autograd.grad(compute_logit(point), point)[0]
    with torch.no_grad():
        change = compute_logit(states) - compute_logit(blanks)
    return (total * (states - blanks)).sum(-1)[0].numpy(), change.item()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*the sum over the words is:UserWarning")
def test_scores_are_those_of_torch(
    name: str, checkpoints: dict[str, Path], loaded: dict[str, Any], tokenizer: BertTokenizer, monkeypatch
) -> None:
    monkeypatch.setattr("keras_bert_impl.interpret.attribution._REFINEMENT", 1)
    texts, target, numbers = CASES[name]
    found = attribute(loaded[name], tokenizer, *texts, target=target, steps=STEPS)
    assert len(found.targets) == len(numbers)
    for ours, (label, output, index) in zip(found.targets, numbers, strict=True):
        scores, change = attribute_with_torch(checkpoints[name], name, texts, output, index, STEPS)
        assert label in ours.name
        assert np.abs(scores).max() > 0.01
        np.testing.assert_allclose(ours.scores, found.row.sum_per_word(scores), rtol=0, atol=2e-5)
        assert ours.change == pytest.approx(change, abs=2e-5)
        special = [word.is_special or word.text == "[MASK]" for word in found.row.words]
        assert not ours.scores[special].any()


@pytest.mark.parametrize("name", CASES)
def test_complete(name: str, loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    """The sum over the words is the change of the logit, within one percent."""
    texts, target, _ = CASES[name]
    for found in attribute(loaded[name], tokenizer, *texts, target=target).targets:
        assert found.total == pytest.approx(found.change, rel=0.01, abs=1e-3)
        assert found.is_complete


def test_many_texts_as_each_alone(loaded: dict[str, Any], tokenizer: BertTokenizer, film_texts: list[str]) -> None:
    """Other rows in the batch, and padding, change nothing."""
    model = loaded["BertForSequenceClassification"]
    together = attribute_all(model, tokenizer, film_texts[:9], steps=20)
    for text, found in zip(film_texts[:9], together, strict=True):
        alone = attribute(model, tokenizer, text, steps=20)
        assert found.targets[0].name == alone.targets[0].name
        np.testing.assert_allclose(found.targets[0].scores, alone.targets[0].scores, atol=1e-5)
        assert found.prediction == alone.prediction
        label, _ = max(found.prediction, key=lambda answer: answer[1])
        assert found.targets[0].name == f"logit of {label!r}"


def test_a_long_text_in_several_passes(loaded: dict[str, Any], tokenizer: BertTokenizer, monkeypatch) -> None:
    model = loaded["BertForSequenceClassification"]
    text = "A wonderful film that is not bad. " * 8
    in_one_pass = attribute(model, tokenizer, text, steps=20)
    monkeypatch.setattr("keras_bert_impl.interpret.attribution.MAX_TOKENS", 150)
    np.testing.assert_allclose(
        attribute(model, tokenizer, text, steps=20).targets[0].scores, in_one_pass.targets[0].scores, atol=1e-5
    )


def test_regression(tmp_path: Path, checkpoints: dict[str, Path], tokenizer: BertTokenizer) -> None:
    """One output: the number itself."""
    model = BertForSequenceClassification.from_pretrained(
        checkpoints["BertModel"], id2label={0: "value"}, problem_type="regression"
    )
    found = attribute(model, tokenizer, "A film.", "A good film.")
    assert [target.name for target in found.targets] == ["the number"]
    value = float(np.asarray(model(tokenizer("A film.", "A good film."))["logits"])[0, 0])
    assert float(found.prediction[0][0]) == pytest.approx(value, abs=1e-3)


def test_tags_without_a_target(loaded: dict[str, Any], tokenizer: BertTokenizer, film_texts: list[str]) -> None:
    """Each word with a tag other than 'O' is a target; without such a word, an error says so."""
    model = loaded["BertForTokenClassification"]
    tagged = {}
    for text in film_texts[:40]:
        row = encode_row(tokenizer, model.config, text)
        tags = np.asarray(model(row.inputs)["logits"])[0].argmax(axis=-1)
        tagged[text] = [word.text for word in row.words if not word.is_special and tags[word.first]]
    text = min((text for text, words in tagged.items() if len(words) > 1), key=len)
    found = attribute(model, tokenizer, text)
    assert [target.name.split(" at ")[1].strip("'\"") for target in found.targets] == tagged[text]
    with pytest.raises(InputError, match=r"the model predicts only the tag 'O' for .*\. Name a word"):
        attribute(model, tokenizer, min((text for text, words in tagged.items() if not words), key=len))


def test_shown(loaded: dict[str, Any], tokenizer: BertTokenizer, tmp_path: Path) -> None:
    found = attribute(loaded["BertForSequenceClassification"], tokenizer, "A <b>wonderful</b> film.", target="good")
    lines = found.format_table().split("\n")
    assert lines[0].startswith("logit of 'good': ")
    shown = [abs(float(line.split()[0])) for line in lines[1:]]
    assert shown == sorted(shown, reverse=True)
    assert "wonderful" in found.format_table()
    found.save(tmp_path / "why.html")
    assert "<b>wonderful" not in (tmp_path / "why.html").read_text("utf-8")
    assert "<iframe" in found._repr_html_()


@pytest.mark.parametrize(
    ("name", "texts", "options", "message"),
    [
        (
            "BertModel",
            ("A film.",),
            {},
            "explain is not available for embedding: a vector is not a single logit",
        ),
        ("BertForMultipleChoice", ("A film.",), {}, "there is no choice; give it as the second text"),
        ("BertForMultipleChoice", ("A.", "B."), {"target": "0"}, "target is '0', but this task has no choice"),
        (
            "BertForSequenceClassification",
            ("A film.",),
            {"target": "great"},
            "the model has no label 'great'; it has 'bad', 'so-so', 'good'",
        ),
        ("BertForSequenceClassification", ("A film.",), {"steps": 0}, "steps is 0"),
        ("BertForSequenceClassification", ("A film.",), {"steps": 1001}, "an integer from 1 to 1000 was expected"),
        ("BertForQuestionAnswering", ("A film?", ""), {}, "a question needs a context"),
        ("BertForNextSentencePrediction", ("A.", "B."), {"target": "film"}, "'film', but this task has no choice"),
        ("BertForSequenceClassification", ("film " * 130,), {}, "has 132 tokens, special ones included"),
        ("BertForTokenClassification", ("A film.",), {"target": "book"}, "does not contain the word 'book'"),
        ("BertForQuestionAnswering", ("A film.",), {}, "a question needs a context"),
        ("BertForQuestionAnswering", ("A film?", "Good."), {"target": "film"}, "is only in the question"),
        ("BertForMaskedLM", ("A film.",), {}, r"has no \[MASK\]"),
        ("BertForMaskedLM", ("A [MASK].",), {"target": "zzzz"}, "'zzzz' is not a token of the vocabulary"),
        ("BertForNextSentencePrediction", ("A film.",), {}, "there is one text; give two"),
    ],
)
def test_what_cannot_be_explained(
    name: str,
    texts: tuple[str, ...],
    options: dict[str, Any],
    message: str,
    loaded: dict[str, Any],
    tokenizer: BertTokenizer,
) -> None:
    with pytest.raises(InputError, match=message):
        attribute(loaded[name], tokenizer, *texts, **options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*the sum over the words is")
def test_in_bfloat16(checkpoints: dict[str, Path], loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    """Attributions are summed in float32 in a model of any precision, and are close to those of the float32 model."""
    name, text = "BertForSequenceClassification", "A wonderful film that is not bad."
    exact = attribute(loaded[name], tokenizer, text, target="good").targets[0]
    model = BertForSequenceClassification.from_pretrained(checkpoints[name], dtype="mixed_bfloat16")
    found = attribute(model, tokenizer, text, target="good").targets[0]
    np.testing.assert_allclose(found.scores, exact.scores, atol=0.05 * np.abs(exact.scores).max())
    assert found.total == pytest.approx(exact.total, rel=0.1)


def test_a_model_that_has_changed_since(checkpoints: dict[str, Path], tokenizer: BertTokenizer) -> None:
    """Attributions use the current weights, including variables that LoRA added; ``change`` is that of the logit."""
    text = "A wonderful film that is not bad."
    model = BertForSequenceClassification.from_pretrained(checkpoints["BertForSequenceClassification"])
    row = encode_row(tokenizer, model.config, text).inputs
    blank = {**row, "input_ids": np.where(np.isin(row["input_ids"], tokenizer.special_token_ids), row["input_ids"], 0)}

    def compute_change() -> float:
        logits = [np.asarray(model(inputs)["logits"])[0, 2] for inputs in (row, blank)]
        return float(logits[0] - logits[1])

    def enable_lora() -> None:
        model.classifier.enable_lora(2)
        model.classifier.lora_kernel_b.assign(np.full(model.classifier.lora_kernel_b.shape, 0.5))

    seen = []
    for changed in (lambda: None, lambda: model.classifier.kernel.assign(-2 * model.classifier.kernel), enable_lora):
        changed()
        found = attribute(model, tokenizer, text, target="good").targets[0]
        assert found.change == pytest.approx(compute_change(), rel=1e-4)
        assert found.is_complete
        seen.append(found.change)
    assert len({round(value, 4) for value in seen}) == 3


def test_a_long_question_is_answered_as_predict_does(loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    """The task truncates it, so that its row differs from the one that is explained."""
    model = loaded["BertForQuestionAnswering"]
    question, context = "Is it a good film or a bad film? " * 6, "A wonderful film by Ada, which was not bad at all."
    task = TASKS["question-answering"]
    columns = task.from_texts([question], [context])
    features = task.encode(columns, tokenizer, model.config, max_length=model.config.max_position_embeddings)
    (expected,) = task.predict(model.predict_on_batch, features, columns, config=model.config)
    assert len(features.inputs["input_ids"].flat) < len(encode_row(tokenizer, model.config, question, context))
    ((answer, score),) = attribute(model, tokenizer, question, context).prediction
    assert (answer, score) == (expected["answer"] or "none", pytest.approx(expected["score"], rel=1e-5))


def test_a_warning_about_an_incomplete_sum(loaded: dict[str, Any], tokenizer: BertTokenizer, monkeypatch) -> None:
    """With too few steps, the sum over the words differs from the change of the logit."""
    monkeypatch.setattr("keras_bert_impl.interpret.attribution._REFINEMENT", 1)
    with pytest.warns(UserWarning, match="the sum over the words is .* the change is .* Use more steps than 1"):
        attribute(loaded["BertForSequenceClassification"], tokenizer, "A wonderful film that is not bad.", steps=1)
