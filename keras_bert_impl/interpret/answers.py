"""What a model answers for one row, told in a few words: what views show on top."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret.words import Row
from keras_bert_impl.tasks.encoding import softmax
from keras_bert_impl.tasks.lookup import task_named
from keras_bert_impl.tasks.run import predict
from keras_bert_impl.tokenization import BertTokenizer

# An answer, and its probability where it has one.
Answer = tuple[str, float | None]
Told = tuple[str, list[Answer]]

_MOST = 5

# The two classes of the next-sentence head.
FOLLOWING = ("it is the next sentence", "it is not")


def inputs_of(model: Any, row: Row, tokenizer: BertTokenizer) -> dict[str, np.ndarray]:
    """The inputs of a model of any class for a row; a masked-LM head is asked at each ``[MASK]``, else at the start."""
    inputs = dict(row.inputs)
    if "masked_lm_positions" in model.input_names:
        masks = mask_places(row, tokenizer)
        inputs["masked_lm_positions"] = np.array([masks or [0]], np.int32)
    if model.input_rank == 3:
        return {name: values[:, None] for name, values in inputs.items()}
    return inputs


def mask_places(row: Row, tokenizer: BertTokenizer) -> list[int]:
    """The positions of ``[MASK]`` in a row."""
    return np.flatnonzero(row.inputs["input_ids"][0] == tokenizer.mask_token_id).tolist()


def masked_logits(outputs: Mapping[str, Any]) -> str:
    """The name of the masked-LM head's output."""
    return "prediction_logits" if "prediction_logits" in outputs else "logits"


def following_logits(outputs: Mapping[str, Any]) -> str:
    """The name of the next-sentence head's output."""
    return "seq_relationship_logits" if "seq_relationship_logits" in outputs else "logits"


def kept(model: Any, name: str, make: Callable[[], Any]) -> Any:
    """What belongs to a model and takes time to make, kept with it, past Keras' own tracking.

    It is made anew when the model has got other variables, as by LoRA or quantization.
    """
    made = vars(model).setdefault("_kept_for_views", {})
    key = (name, *(variable.path for variable in model.variables))
    if key not in made:
        made[key] = make()
    return made[key]


def check_has_context(row: Row) -> None:
    """Raises ``InputError`` if a question stands alone."""
    if not any(word.segment == 1 and not word.is_special for word in row.words):
        raise InputError("a question needs a context: give two texts, the question and the text with its answer.")


def answers(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Mapping[str, Any]) -> Told:
    """What the model answers, and a heading for it.

    Args:
        model: any of the ``Bert…`` models.
        tokenizer: its tokenizer.
        row: the text.
        outputs: the model's outputs for `inputs_of`.

    Returns:
        the heading, and answers, the likeliest first; none if the model has no head, or nothing was asked.
    """
    tell = _TOLD.get(type(model).__name__)
    if tell is None:
        return "", []
    arrays = {name: ops.convert_to_numpy(value) for name, value in outputs.items() if name.endswith("logits")}
    return tell(model, tokenizer, row, arrays)


def _of_task(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Mapping[str, np.ndarray]) -> Told:
    """As ``keras-bert predict`` answers."""
    task = task_named(type(model).__name__, model.config)
    if task.name == "question-answering":
        check_has_context(row)
    columns = task.from_texts([row.text], None if row.text_pair is None else [row.text_pair])
    features = task.encode(columns, tokenizer, model.config, max_length=model.config.max_position_embeddings)
    # The row's own outputs, unless the task makes other tokens of it: it cuts long questions, and words otherwise.
    is_same = np.array_equal(features.inputs["input_ids"].flat, row.inputs["input_ids"][0])
    run = (lambda _: dict(outputs)) if is_same else model.predict_on_batch
    (found,) = predict(run, features, columns, task=task, config=model.config)
    return _TASKS[task.name](found)


def _masked(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Mapping[str, np.ndarray]) -> Told:
    """The likeliest tokens; of several ``[MASK]`` those of the first."""
    masks = mask_places(row, tokenizer)
    if not masks:
        return "", []
    shares = softmax(outputs[masked_logits(outputs)][0, 0])
    best = np.argsort(-shares, kind="stable")[:_MOST]
    which = "first " if len(masks) > 1 else ""
    found: list[Answer] = [(tokenizer.vocabulary[token], float(shares[token])) for token in best]
    return f"Likeliest words for the {which}{tokenizer.mask_token}", found


def _following(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Mapping[str, np.ndarray]) -> Told:
    """Whether the second text follows the first."""
    if row.text_pair is None:
        return "", []
    shares = softmax(outputs[following_logits(outputs)][0])
    return "Second text", _sorted(dict(zip(FOLLOWING, shares.tolist(), strict=True)))


def _pretraining(*arguments: Any) -> Told:
    """The masked words where there are some, else the next sentence."""
    heading, found = _masked(*arguments)
    return (heading, found) if found else _following(*arguments)


def _choice(model: Any, tokenizer: BertTokenizer, row: Row, outputs: Mapping[str, np.ndarray]) -> Told:
    """The score of the one choice that was given."""
    return "Score of this choice", [(f"{outputs['logits'][0, 0]:.3f}", None)]


def _sorted(scores: Mapping[str, float]) -> list[Answer]:
    order = sorted(scores, key=lambda name: -scores[name])
    return [(name, scores[name]) for name in order[:_MOST]]


_TOLD: dict[str, Callable[..., Told]] = {
    "BertForSequenceClassification": _of_task,
    "BertForTokenClassification": _of_task,
    "BertForQuestionAnswering": _of_task,
    "BertForMultipleChoice": _choice,
    "BertForMaskedLM": _masked,
    "BertForNextSentencePrediction": _following,
    "BertForPreTraining": _pretraining,
}

# Task: its heading and answers from one prediction.
_TASKS: dict[str, Callable[[dict[str, Any]], Told]] = {
    "classification": lambda found: ("Prediction", _sorted(found["scores"])),
    "regression": lambda found: ("Prediction", [(f"{found['value']:.3f}", None)]),
    "tagging": lambda found: (
        "Entities",
        [(f"{entity['text']}: {entity['kind']}", entity["score"]) for entity in found["entities"]] or [("none", None)],
    ),
    "question-answering": lambda found: ("Answer", [(found["answer"] or "none", found["score"])]),
}
