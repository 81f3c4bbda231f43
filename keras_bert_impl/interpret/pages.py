"""Common code of the views of a text: the text, the model's prediction, and an HTML page."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.files import open_output
from keras_bert_impl.interpret.view import Page, to_html, to_iframe
from keras_bert_impl.tasks import Task, find_task
from keras_bert_impl.tasks.base import NO_SUMMARY, Summary
from keras_bert_impl.tasks.words import EncodedText
from keras_bert_impl.tokenization import BertTokenizer


@dataclass(frozen=True)
class TextView(abc.ABC):
    """A text with a model's prediction. A notebook shows it as a page.

    Attributes:
        row: the text with its tokens and words.
        heading: the kind of prediction; empty if there is none.
        prediction: the predictions with their probabilities, most likely first.
        model: the model's class and size.
    """

    row: EncodedText
    heading: str
    prediction: list[tuple[str, float | None]]
    model: str

    @abc.abstractmethod
    def make_page(self) -> Page:
        """Returns the content of the page."""

    def save(self, path: str | Path) -> None:
        """Writes the page: one HTML file without other files.

        Raises:
            InputError: the path cannot be written.
        """
        with open_output(path) as temporary:
            temporary.write_text(to_html(self.make_page()), encoding="utf-8")

    def _repr_html_(self) -> str:
        return to_iframe(self.make_page())

    def _make_page(self, title: str, **parts: Any) -> Page:
        """Makes a page with the fields that are common to all views."""
        row = self.row
        return Page(
            title=f"{title}: {row.text if row.text_pair is None else f'{row.text} | {row.text_pair}'}",
            model=self.model,
            prediction=self.prediction,
            prediction_title=self.heading,
            tokens=row.tokens,
            words=[(word.text, word.first, word.last) for word in row.words],
            segments=[word.segment for word in row.words for _ in range(word.first, word.last)],
            **parts,
        )


def describe_model(model: Any) -> str:
    """Returns a model's class and size, for headings."""
    config = model.config
    return f"{type(model).__name__}, {config.num_hidden_layers} layers, {config.num_attention_heads} heads"


def find_model_task(model: Any) -> Task:
    """Returns the task of a model, by its class and configuration."""
    return find_task(model.config, [type(model).__name__])


def summarize(model: Any, tokenizer: BertTokenizer, row: EncodedText, outputs: Mapping[str, Any]) -> Summary:
    """Returns a model's prediction for a text, in a few words.

    Args:
        model: any of the ``Bert…`` models.
        tokenizer: its tokenizer.
        row: the text.
        outputs: the model's outputs for the inputs of `Task.make_view_inputs`.
    """
    task = find_model_task(model)
    if not task.can_summarize(row):
        return NO_SUMMARY
    columns = task.from_texts([row.text], None if row.text_pair is None else [row.text_pair])
    features = task.encode(columns, tokenizer, model.config, max_length=model.config.max_position_embeddings)
    # Use the given outputs, unless the task encodes the text differently (truncated questions, split words).
    is_same = np.array_equal(features.inputs["input_ids"].flat.ravel(), row.inputs["input_ids"][0])
    arrays = {name: ops.convert_to_numpy(value) for name, value in outputs.items() if name.endswith("logits")}
    run = (lambda _: dict(arrays)) if is_same else model.predict_on_batch
    (prediction,) = task.predict(run, features, columns, config=model.config)
    return task.summarize(prediction)
