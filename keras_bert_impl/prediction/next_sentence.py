"""``next_sentence``: the probability that one text follows another."""

from collections.abc import Sequence
from pathlib import Path

from keras_bert_impl.prediction.predictor import Predictor
from keras_bert_impl.sources import Source
from keras_bert_impl.tasks.next_sentence import IS_NEXT


def next_sentence(source: str | Path | Source, firsts: Sequence[str], seconds: Sequence[str]) -> list[float]:
    """Predicts the probability that each second text follows its first text.

    Args:
        source: a checkpoint with a next-sentence head: a directory, a bundled model or a hub name.
        firsts: first texts.
        seconds: the second texts, one for each first text.

    Returns:
        the probabilities.

    Raises:
        InputError: the source has no next-sentence head.

    >>> next_sentence("bert-tiny-novels", ["He shut the door."], ["Then he sat down."])  # doctest: +SKIP
    """
    predictions = Predictor(source, task="next-sentence").predict_texts(list(firsts), list(seconds))
    return [prediction["scores"][IS_NEXT] for prediction in predictions]
