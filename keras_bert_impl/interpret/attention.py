"""What each word looks at, in all layers and heads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.interpret.answers import Answer, answers, inputs_of
from keras_bert_impl.interpret.pages import described, of_row, save_page, title_of
from keras_bert_impl.interpret.view import Page, to_iframe
from keras_bert_impl.interpret.words import Row, encode_row
from keras_bert_impl.tokenization import BertTokenizer


@dataclass(frozen=True)
class AttentionView:
    """A text's attention. A notebook shows it as a page to click in.

    Attributes:
        row: the text with its tokens and words.
        attentions: float32 ``[layers, heads, tokens, tokens]``: how much of its attention the token of the third axis
            pays the one of the fourth; sums to 1.
        heading: what kind of answer the model gives; empty if it has no head.
        prediction: its answers, the likeliest first, with their probabilities.
        model: the model's class and size.
    """

    row: Row
    attentions: np.ndarray
    heading: str
    prediction: list[Answer]
    model: str

    @property
    def tokens(self) -> list[str]:
        """The tokens, as the vocabulary spells them."""
        return self.row.tokens

    def rollout(self) -> np.ndarray:
        """Attention rollout: which of the first layer's tokens a token's state is made of, float32 ``[layers, n, n]``.

        The mean of the heads, half of it and half of the residual connection, multiplied from layer to layer.

        Source: https://arxiv.org/abs/2005.00928, section 3.
        """
        steps, result = [], np.eye(len(self.row))
        for layer in self.attentions.astype(np.float64).mean(axis=1):
            result = (0.5 * layer + 0.5 * np.eye(len(layer))) @ result
            steps.append(result)
        return np.stack(steps).astype(np.float32)

    def page(self) -> Page:
        """What the page shows."""
        return Page(
            title=f"Attention: {title_of(self.row)}",
            model=self.model,
            prediction=self.prediction,
            prediction_title=self.heading,
            attentions=self.attentions,
            rollout=self.rollout(),
            attributions=[],
            **of_row(self.row),
        )

    def save(self, path: str | Path) -> None:
        """Writes the page, one HTML file that needs nothing else.

        Raises:
            InputError: the path cannot be written.
        """
        save_page(self.page(), path)

    def _repr_html_(self) -> str:
        return to_iframe(self.page())


def attend(model: Any, tokenizer: BertTokenizer, text: str, text_pair: str | None = None) -> AttentionView:
    """The attention of a model over a text, or a pair.

    Args:
        model: any of the ``Bert…`` models.
        tokenizer: its tokenizer.
        text: the text; for question answering the question.
        text_pair: the second text; for question answering the context, for multiple choice one choice.

    Raises:
        InputError: the text is too long for the model, or has no words.

    >>> view = attend(model, tokenizer, "It was a great movie.")  # doctest: +SKIP
    >>> view.save("view.html")  # doctest: +SKIP
    """
    row = encode_row(tokenizer, model.config, text, text_pair)
    outputs = model.with_outputs(output_attentions=True)(inputs_of(model, row, tokenizer))
    attentions = np.stack([ops.convert_to_numpy(layer)[0] for layer in outputs["attentions"]]).astype(np.float32)
    heading, found = answers(model, tokenizer, row, outputs)
    return AttentionView(row, attentions, heading, found, described(model))
