"""What the views of a text share: the text, what the model answers, and a page that shows them."""

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_bert_impl.files import output_file
from keras_bert_impl.interpret.answers import Answer
from keras_bert_impl.interpret.view import Page, to_html, to_iframe
from keras_bert_impl.interpret.words import Row


@dataclass(frozen=True)
class TextView(abc.ABC):
    """A text and what a model answers. A notebook shows it as a page.

    Attributes:
        row: the text with its tokens and words.
        heading: what kind of answer the model gives; empty if it has no head.
        prediction: its answers, the likeliest first, with their probabilities.
        model: the model's class and size.
    """

    row: Row
    heading: str
    prediction: list[Answer]
    model: str

    @abc.abstractmethod
    def page(self) -> Page:
        """What the page shows."""

    def save(self, path: str | Path) -> None:
        """Writes the page, one HTML file that needs nothing else.

        Raises:
            InputError: the path cannot be written.
        """
        with output_file(path) as temporary:
            temporary.write_text(to_html(self.page()), encoding="utf-8")

    def _repr_html_(self) -> str:
        return to_iframe(self.page())

    def _page(self, title: str, **parts: Any) -> Page:
        """A page with what all of them have."""
        row = self.row
        return Page(
            title=f"{title}: {row.text if row.text_pair is None else f'{row.text} | {row.text_pair}'}",
            model=self.model,
            prediction=self.prediction,
            prediction_title=self.heading,
            tokens=row.tokens,
            words=[(word.text, word.first, word.last) for word in row.words],
            segments=row.inputs["token_type_ids"][0].tolist(),
            **parts,
        )


def described(model: Any) -> str:
    """A model's class and size, for headings."""
    config = model.config
    return f"{type(model).__name__}, {config.num_hidden_layers} layers, {config.num_attention_heads} heads"
