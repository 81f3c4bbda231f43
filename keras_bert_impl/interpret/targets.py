"""Which of a model's numbers is to be explained: one function a kind of model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret.answers import (
    FOLLOWING,
    check_has_context,
    following_logits,
    mask_places,
    masked_logits,
)
from keras_bert_impl.interpret.words import Row
from keras_bert_impl.tasks.lookup import task_named
from keras_bert_impl.tokenization import BertTokenizer

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Asked:
    """One number among a model's outputs.

    Attributes:
        name: what it is.
        output: the output's name.
        index: its place in a row of the output, flattened.
        position: the token that a masked-LM head is asked at.
    """

    name: str
    output: str
    index: int
    position: int = 0


def targets_of(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Outputs, target: str | None) -> list[Asked]:
    """The numbers to explain.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        row: the text.
        outputs: the model's outputs for the row, ``[1, ...]``.
        target: see `attribute_all`.

    Raises:
        InputError: the model has no head, there is nothing to explain, or the target is unknown.
    """
    name = type(model).__name__
    if name not in _KINDS:
        raise InputError(f"the answer of a {name} is not explained; those of these are: {', '.join(_KINDS)}.")
    return _KINDS[name](model, tokenizer, row, outputs, target)


def _label(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Outputs, target: str | None) -> list[Asked]:
    names = list(model.config.id2label.values())
    if task_named(type(model).__name__, model.config).name == "regression":
        _refuse(target, "the one number that the model gives is explained")
        return [Asked("the number", "logits", 0)]
    if target is not None and target not in names:
        raise InputError(f"the model has no label {target!r}; it has {', '.join(map(repr, names))}.")
    index = int(outputs["logits"][0].argmax()) if target is None else names.index(target)
    return [Asked(f"logit of {names[index]!r}", "logits", index)]


def _tags(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Outputs, target: str | None) -> list[Asked]:
    names = list(model.config.id2label.values())
    if target is None:
        words = [word for word in row.words if not word.is_special]
    else:
        words = [word for words in _places(row, target) for word in words]
    found = [(word, int(outputs["logits"][0, word.first].argmax())) for word in words]
    if target is None:
        found = [(word, tag) for word, tag in found if names[tag] != "O"]
        if not found:
            raise InputError(f"the model tags no word of {row.text!r:.60}. Name a word (target) to see why not.")
    return [
        Asked(f"logit of {names[tag]!r} at {word.text!r}", "logits", word.first * len(names) + tag)
        for word, tag in found
    ]


def _span(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Outputs, target: str | None) -> list[Asked]:
    check_has_context(row)
    if target is not None:
        words = next((words for words in _places(row, target) if words[0].segment == 1), None)
        if words is None:
            raise InputError(f"{target!r} is in the question alone; name words of the context.")
        first, last = words[0].first, words[-1].last - 1
    else:
        context = [word for word in row.words if word.segment == 1 and not word.is_special]
        starts = outputs["start_logits"][0, [word.first for word in context]]
        ends = outputs["end_logits"][0, [word.last - 1 for word in context]]
        sums = np.where(np.tri(len(context), dtype=bool).T, starts[:, None] + ends, -np.inf)
        begin, end = np.unravel_index(sums.argmax(), sums.shape)
        first, last = context[begin].first, context[end].last - 1
    return [
        Asked(f"logit of the start at {_word_at(row, first)!r}", "start_logits", first),
        Asked(f"logit of the end at {_word_at(row, last)!r}", "end_logits", last),
    ]


def _masked(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Outputs, target: str | None) -> list[Asked]:
    output = masked_logits(outputs)
    places = mask_places(row, tokenizer)
    if not places:
        raise InputError(f"{row.text!r:.60} has no {tokenizer.mask_token}; write it where a word is asked.")
    if target is not None and target not in tokenizer.vocabulary:
        raise InputError(f"{target!r} is no token of the vocabulary; name one that is.")
    asked = []
    for number, place in enumerate(places):
        likeliest = int(outputs[output][0, number].argmax())
        token = likeliest if target is None else tokenizer.convert_tokens_to_ids(target)
        where = f" at position {place}" if len(places) > 1 else ""
        asked.append(Asked(f"logit of {tokenizer.vocabulary[token]!r}{where}", output, token, place))
    return asked


def _following(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Outputs, target: str | None) -> list[Asked]:
    _refuse(target, "what the model says of the next sentence is explained")
    output = following_logits(outputs)
    if row.text_pair is None:
        raise InputError("there is one text; give two to ask whether the second follows the first.")
    index = int(outputs[output][0].argmax())
    return [Asked(f"logit of {FOLLOWING[index]!r}", output, index)]


def _pretraining(model: Any, tokenizer: BertTokenizer, row: Row, *rest: Any) -> list[Asked]:
    kind = _following if row.text_pair is not None and not mask_places(row, tokenizer) else _masked
    return kind(model, tokenizer, row, *rest)


def _refuse(target: str | None, what: str) -> None:
    if target is not None:
        raise InputError(f"target is {target!r}, but there is nothing to choose: {what}. Leave it out.")


def _places(row: Row, wanted: str) -> list[tuple[Any, ...]]:
    found = row.find(wanted)
    if not found:
        raise InputError(f"{row.text!r:.60} has no word {wanted!r}.")
    return found


def _word_at(row: Row, token: int) -> str:
    return next(word.text for word in row.words if word.first <= token < word.last)


_KINDS: dict[str, Callable[..., list[Asked]]] = {
    "BertForSequenceClassification": _label,
    "BertForTokenClassification": _tags,
    "BertForQuestionAnswering": _span,
    "BertForMaskedLM": _masked,
    "BertForNextSentencePrediction": _following,
    "BertForPreTraining": _pretraining,
}
