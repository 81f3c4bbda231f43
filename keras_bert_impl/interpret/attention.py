"""Attention of a text, in all layers and heads."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.interpret.pages import TextView, describe_model, find_model_task, summarize
from keras_bert_impl.interpret.view import Page
from keras_bert_impl.models.cache import cached_on
from keras_bert_impl.tasks.words import encode_row
from keras_bert_impl.tokenization import BertTokenizer


@dataclass(frozen=True)
class AttentionView(TextView):
    """The attention of a text. A notebook shows it as an interactive page.

    Attributes:
        row, heading, prediction, model: see `TextView`.
        attentions: float32 ``[layers, heads, tokens, tokens]``: the attention of each token (third axis) to each token
            (fourth axis), which sums to 1.
    """

    attentions: np.ndarray

    @property
    def tokens(self) -> list[str]:
        """The tokens, as the vocabulary spells them."""
        return self.row.tokens

    def compute_rollout(self) -> np.ndarray:
        """Attention rollout: the contribution of each input token to each state, float32 ``[layers, n, n]``.

        For each layer: the mean of the heads, averaged with the identity for the residual connection; the layers are
        multiplied.

        Source: https://arxiv.org/abs/2005.00928, section 3.
        """
        steps, result = [], np.eye(len(self.row))
        for layer in self.attentions.astype(np.float64).mean(axis=1):
            result = (0.5 * layer + 0.5 * np.eye(len(layer))) @ result
            steps.append(result)
        return np.stack(steps).astype(np.float32)

    def make_page(self) -> Page:
        """Returns the content of the page."""
        return self._make_page("Attention", attentions=self.attentions, rollout=self.compute_rollout())


def attend(model: Any, tokenizer: BertTokenizer, text: str, text_pair: str | None = None) -> AttentionView:
    """Computes the attention of a model over a text, or a pair.

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
    with_attentions = cached_on(model, "attentions", lambda: model.with_outputs(output_attentions=True))
    outputs = with_attentions(find_model_task(model).make_view_inputs(row.inputs, tokenizer))
    attentions = np.stack([ops.convert_to_numpy(layer)[0] for layer in outputs["attentions"]]).astype(np.float32)
    summary = summarize(model, tokenizer, row, outputs)
    return AttentionView(row, summary.heading, summary.predictions, describe_model(model), attentions)
