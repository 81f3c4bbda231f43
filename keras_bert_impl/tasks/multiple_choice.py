"""Multiple choice: which of several continuations, or answers, fits a text best."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features, Ragged, to_offsets
from keras_bert_impl.data.labels import make_key, make_label
from keras_bert_impl.data.tables import Columns, check_text, location, read_records
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Outputs, Prediction, Serving, Summary, TargetLogit, Task, refuse_target
from keras_bert_impl.tasks.encoding import check_fit, softmax, truncate
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText


class _ChoiceRows(Ragged):
    """Values ``[tokens, choices]``, whose batches are ``[rows, choices, length]``, the model's shape."""

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """The shape of a batch."""
        return (None, self.flat.shape[1], None)

    def to_padded(self, rows: np.ndarray, *, length: int) -> np.ndarray:
        """Returns the given rows, each padded at the end: ``[len(rows), choices, length]``."""
        return super().to_padded(rows, length=length).swapaxes(1, 2)


class MultipleChoice(Task):
    """Multiple choice: the best of several choices for a text.

    Files are tables with the columns ``text``, ``choice0``, ``choice1`` … and ``label``, or JSONL with ``text``, a list
    ``choices`` and ``label``. The label is the number of the correct choice, from 0. All examples of a file have the
    same number of choices.
    """

    name: ClassVar[str] = "multiple-choice"
    model_name: ClassVar[str] = "BertForMultipleChoice"
    main_metric: ClassVar[str] = "accuracy"
    graph: ClassVar[str] = "choices"
    pipeline_tag: ClassVar[str | None] = "multiple-choice"
    needs_pair: ClassVar[bool] = True
    file_columns: ClassVar[tuple[str, ...]] = ("text", "label")
    text_columns: ClassVar[tuple[str, ...]] = ("text", "choices")

    def list_label_names(self, config: BertConfig) -> Sequence[str]:
        """Returns no names: the logits are those of the choices."""
        return ()

    def make_config_changes(self, labels: list[str]) -> dict[str, Any]:
        """Returns no fields: the model has one logit per choice and no labels."""
        return {}

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a file; see the class.

        Raises:
            InputError: a column is missing, or a value has the wrong type.
        """
        text, label = columns.get("text", "text"), columns.get("label", "label")
        for source, record in read_records(path, header=True):
            numbered = sorted(
                (key for key in record if key.startswith("choice") and key[6:].isdecimal()), key=_parse_choice_number
            )
            choices = record.get("choices", [record[key] for key in numbered])
            needed = {"text": text, **({"label": label} if labeled else {})}
            missing = [name for name in needed.values() if name not in record]
            if missing or not isinstance(choices, list) or not choices:
                raise InputError(
                    f"{source}: the columns are {', '.join(map(repr, record))}; {', '.join(map(repr, needed.values()))}"
                    " and 'choice0', 'choice1' … were expected, or in JSONL a list 'choices'."
                )
            example = {
                "location": source,
                "text": check_text(record[text], name=text, location=source),
                "choices": [check_text(choice, name="a choice", location=source) for choice in choices],
            }
            yield {**example, "label": _parse_label(record[label], len(choices), source)} if labeled else example

    def from_texts(self, texts: Sequence[str], text_pairs: Sequence[Any] | None = None) -> Columns:
        """Returns columns for texts; ``text_pairs`` contains the choices of each, a list or a single string.

        Raises:
            InputError: there are no choices.
        """
        if text_pairs is None:
            raise InputError("multiple choice needs choices: pass the list of choices of each text as its second text.")
        return {
            "text": list(texts),
            "choices": [[choices] if isinstance(choices, str) else list(choices) for choices in text_pairs],
        }

    def from_fields(self, rows: Sequence[Sequence[str]]) -> Columns:
        """Returns columns for the fields of lines: a text and its choices."""
        return self.from_texts([row[0] for row in rows], [row[1:] for row in rows])

    def parse_label(self, label: Any, columns: Columns, index: int, config: BertConfig) -> int:
        """Returns the number of the correct choice; see `Task.parse_label`."""
        return _parse_label(label, len(columns["choices"][index]), location(columns, index))

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes each text with each of its choices as a pair. Labels are int32 ``[examples]``.

        Raises:
            InputError: examples differ in their number of choices, or ``max_length`` exceeds the model's positions.
        """
        check_fit(tokenizer, config, max_length=max_length, pairs=True)
        count = len(columns["choices"][0])
        for i, choices in enumerate(columns["choices"]):
            if len(choices) != count or not choices:
                raise InputError(
                    f"{location(columns, i)} has {len(choices)} choices, the first example has {count}; the same "
                    "number above 0 was expected."
                )
        texts = [text for text in columns["text"] for _ in range(count)]
        pairs = [choice for choices in columns["choices"] for choice in choices]
        rows, truncated = truncate(tokenizer, texts, pairs, max_length=max_length)
        examples = len(columns["text"])
        lengths = np.array([len(row) for row in rows["input_ids"]]).reshape(examples, count)
        longest = lengths.max(axis=1)
        offsets = to_offsets(longest)
        is_token = np.arange(longest.max()) < lengths[..., None]  # [examples, choices, length]
        is_kept = np.arange(longest.max()) < longest[:, None]  # [examples, length]

        def stack(values: np.ndarray, pad: int) -> Ragged:
            dense = np.full(is_token.shape, pad, np.int32)
            dense[is_token] = values
            return _ChoiceRows(dense.swapaxes(1, 2)[is_kept], offsets, pad)

        inputs = {
            "input_ids": stack(np.concatenate(rows["input_ids"]), tokenizer.pad_token_id),
            "token_type_ids": stack(np.concatenate(rows["token_type_ids"]), 0),
            "attention_mask": stack(np.ones(int(lengths.sum()), np.int32), 0),
        }
        labels = {"logits": np.array(_read_labels(columns), np.int32)} if "label" in columns else {}
        return Features(inputs, labels, {}, example=np.arange(examples, dtype=np.int32), truncated=truncated)

    def make_loss(self) -> dict[str, Any]:
        """Cross entropy over the choices."""
        from keras_bert_impl.tasks.losses import make_cross_entropy

        return {"logits": make_cross_entropy()}

    def make_metrics(self) -> dict[str, Any]:
        """Accuracy, the fraction of examples with the right choice."""
        from keras_bert_impl.tasks.losses import make_accuracy

        return {"logits": [make_accuracy()]}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the divergence of the probabilities of the choices."""
        from keras_bert_impl.tasks.losses import SoftenedKLDivergence

        return {"logits": SoftenedKLDivergence(temperature)}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per example the best choice, its number ``label`` and text ``choice``; ``score``, ``scores``, ``logits``."""
        predictions = []
        for choices, logits in zip(columns["choices"], np.asarray(outputs["logits"]), strict=True):
            scores, best = softmax(logits).tolist(), int(logits.argmax())
            predictions.append(
                {
                    "label": best,
                    "choice": choices[best],
                    "score": scores[best],
                    "scores": scores,
                    "logits": logits.tolist(),
                }
            )
        return predictions

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """``accuracy``."""
        pairs = zip(predictions, _read_labels(columns), strict=True)
        return {"accuracy": float(np.mean([prediction["label"] == label for prediction, label in pairs]))}

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``label``, int32 ``[batch]``, the number of the best choice, and ``scores``, float32 ``[batch, choices]``."""
        from keras import ops

        logits = outputs["logits"]
        return {"label": ops.argmax(logits, axis=-1), "scores": ops.softmax(logits)}

    def make_view_inputs(self, inputs: Mapping[str, np.ndarray], tokenizer: BertTokenizer) -> dict[str, np.ndarray]:
        """Returns the row as the only choice."""
        return {name: values[:, None] for name, values in inputs.items()}

    def can_summarize(self, row: "EncodedText") -> bool:
        """Whether there is a choice."""
        return row.text_pair is not None

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the logit of each choice."""
        heading = "Score of this choice" if len(prediction["logits"]) == 1 else "Scores of the choices"
        return Summary(heading, [(f"{logit:.3f}", None) for logit in prediction["logits"]])

    def get_explained_model(self, model: Any) -> Any:
        """Returns a classifier with one label over the same weights: its logit is the score of a choice."""
        from keras_bert_impl.models import BertForSequenceClassification

        names = ("attention_bias", "embeddings", "encoder", "pooler", "dropout", "classifier")
        parts = {name: getattr(model, name) for name in names}
        return BertForSequenceClassification(model.config, dtype=model.dtype_policy, parts=parts)

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the score of the choice."""
        refuse_target(target, "the score of the choice is explained")
        if row.text_pair is None:
            raise InputError("there is no choice; give it as the second text.")
        return [TargetLogit("score of the choice", "logits", 0)]


def _parse_choice_number(key: str) -> int:
    return int(key[6:])


def _read_labels(columns: Columns) -> list[int]:
    """Returns the number of the right choice of each example."""
    return [
        _parse_label(label, len(choices), location(columns, i))
        for i, (label, choices) in enumerate(zip(columns["label"], columns["choices"], strict=True))
    ]


def _parse_label(value: Any, count: int, location: str) -> int:
    """Returns the number of the right choice."""
    try:
        number = int(make_key(make_label(value, location=location)))
    except ValueError:
        number = -1
    if not 0 <= number < count:
        raise InputError(f"{location}: the label is {value!r}; the number of a choice, 0 to {count - 1}, was expected.")
    return number
