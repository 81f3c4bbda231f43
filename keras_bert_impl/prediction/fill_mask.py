"""``fill_mask``: the most likely words for each ``[MASK]``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction.predictor import Predictor
from keras_bert_impl.sources import Source
from keras_bert_impl.tasks.masked_lm import MaskedLM


def fill_mask(source: str | Path | Source, texts: Sequence[str], *, top_k: int = 5) -> list[list[dict[str, Any]]]:
    """Predicts the most likely tokens for each ``[MASK]`` of texts.

    Args:
        source: a checkpoint with a masked-LM head: a directory, a bundled model or a hub name.
        texts: texts with ``[MASK]`` in them.
        top_k: the number of tokens for each.

    Returns:
        per text a dictionary per ``[MASK]``: ``tokens``, most likely first, and their ``scores``, the probabilities.

    Raises:
        InputError: a text has no ``[MASK]``, or none within the model's length; or the source has no masked-LM head.

    >>> fill_mask("bert-tiny-novels", ["The [MASK] crossed the river."])  # doctest: +SKIP
    """
    predictor = Predictor(source, task=MaskedLM(top_k))
    predictions = predictor.predict_texts(list(texts))
    for text, prediction in zip(texts, predictions, strict=True):
        if not prediction["masks"]:
            mask = predictor.tokenizer.mask_token
            raise InputError(f"{text!r} has no {mask} in its first tokens; put it where a word should be predicted.")
    return [prediction["masks"] for prediction in predictions]
