"""A tag for each word, and the entities that tags mark."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.columns import Columns, location
from keras_bert_impl.data.features import Features, Ragged, to_offsets
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.encoding import check_fit, label_id, model_inputs, softmax
from keras_bert_impl.tasks.entities import entity_scores, find_entities
from keras_bert_impl.tokenization import BertTokenizer


def from_texts(texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> Columns:
    """Columns for plain texts, split into words and punctuation; ``spans`` has the words' places in the text.

    >>> from_texts(["Ada, again"])["words"]
    [['Ada', ',', 'again']]
    """
    if text_pairs is not None:
        raise InputError("this task tags single texts; leave out the second texts.")
    found = [list(re.finditer(r"\w+|[^\w\s]", text)) for text in texts]
    return {
        "text": list(texts),
        "words": [[match[0] for match in matches] for matches in found],
        "spans": [[match.span() for match in matches] for matches in found],
    }


def tag_names(columns: Columns) -> list[str]:
    """The distinct tags, ``O`` first."""
    return sorted({tag for tags in columns["label"] for tag in tags}, key=lambda tag: (tag != "O", tag))


def encode(columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
    """Rows of words; a sentence that is too long becomes several rows that overlap by a quarter.

    Each word is predicted at its first piece, in the row where it has the most text around it; all other pieces have
    weight 0. Labels are int32 and weights float32, an entry a token; ``alignment["word"]`` has the number of the word
    that a token stands for, or -1.

    Raises:
        InputError: a tag that the model does not know, or a ``max_length`` beyond its positions.
    """
    check_fit(tokenizer, config, max_length=max_length, pairs=False)
    rows = tokenizer(
        columns["words"],
        is_split_into_words=True,
        padding=False,
        max_length=max_length,
        stride=max_length // 4,
        return_overflowing=True,
    )
    example = rows["overflow_to_sample_mapping"]
    inputs = model_inputs(rows, tokenizer)
    word = Ragged(_words_once(Ragged.from_rows(rows["word_ids"], dtype=np.int32), example), inputs["input_ids"].offsets)
    labels, weights = {}, {}
    if "label" in columns:
        tags = Ragged.from_rows(_tag_ids(columns, config), dtype=np.int32)
        places = np.flatnonzero(word.flat >= 0)
        flat = np.zeros_like(word.flat)
        flat[places] = tags.flat[_word_places(word, example, tags.offsets)]
        labels = {"logits": Ragged(flat, word.offsets)}
        weights = {"logits": Ragged((word.flat >= 0).astype(np.float32), word.offsets)}
    return Features(inputs, labels, weights, example=example, alignment={"word": word})


def _words_once(words: Ragged, example: np.ndarray) -> np.ndarray:
    """Word numbers at one token a word, -1 elsewhere: int32 ``[tokens]``."""
    row = np.repeat(np.arange(len(words)), words.lengths)
    # Rows begin with [CLS], which is no word: the word before never is that of another row.
    places = np.flatnonzero((words.flat >= 0) & (words.flat != np.roll(words.flat, 1)))
    around = np.minimum(places - words.offsets[row[places]], words.offsets[row[places] + 1] - places)
    order = places[np.lexsort((places, -around, words.flat[places], example[row[places]]))]
    word_of_example = np.stack([example[row[order]], words.flat[order]])
    chosen = order[(np.diff(word_of_example, prepend=-1) != 0).any(axis=0)]
    once = np.full_like(words.flat, -1)
    once[chosen] = words.flat[chosen]
    return once


def _word_places(word: Ragged, example: np.ndarray, sentence_offsets: np.ndarray) -> np.ndarray:
    """For each token that stands for a word, the word's number among the words of all sentences."""
    sentence = np.repeat(example, word.lengths)[word.flat >= 0]
    return sentence_offsets[sentence] + word.flat[word.flat >= 0]


def _tag_ids(columns: Columns, config: BertConfig) -> list[list[int]]:
    known = config.label2id
    return [
        [
            label_id(tag, known, place=f"{location(columns, i)}, word {number} ({word!r})")
            for number, (word, tag) in enumerate(zip(words, tags, strict=True), 1)
        ]
        for i, (words, tags) in enumerate(zip(columns["words"], columns["label"], strict=True))
    ]


def loss() -> dict[str, Any]:
    """Cross entropy over the tokens that stand for words."""
    import keras

    # The default would divide by all tokens, those of weight 0 and the padding included.
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    return {"logits": entropy}


def metrics() -> dict[str, Any]:
    """The share of right tags."""
    import keras

    return {"logits": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]}


def decode(
    outputs: Mapping[str, Any], features: Features, columns: Columns, config: BertConfig
) -> list[dict[str, Any]]:
    """For each example its ``words``, ``tags``, their ``scores`` (probabilities), and the ``entities``.

    An entity has ``kind``, ``text``, ``start`` and ``end`` (characters, in the text or in the words joined by spaces)
    and ``score``, the mean over its words. A word of which the tokenizer leaves nothing gets the first tag and score 0.
    """
    names = list(config.id2label.values())
    word = features.alignment["word"]
    offsets = to_offsets(map(len, columns["words"]))
    probabilities = softmax(outputs["logits"].flat[word.flat >= 0])
    places = _word_places(word, features.example, offsets)
    tags, scores = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1])
    tags[places], scores[places] = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return [
        _prediction(columns, i, [names[tag] for tag in tags[begin:end]], scores[begin:end].tolist())
        for i, (begin, end) in enumerate(pairwise(offsets))
    ]


def _prediction(columns: Columns, i: int, tags: list[str], scores: list[float]) -> dict[str, Any]:
    words = columns["words"][i]
    text = columns["text"][i] if "text" in columns else " ".join(words)
    spans = columns["spans"][i] if "spans" in columns else _joined_spans(words)
    entities = []
    for kind, begin, end in find_entities(tags):
        start, stop = spans[begin][0], spans[end - 1][1]
        score = sum(scores[begin:end]) / (end - begin)
        entities.append({"kind": kind, "text": text[start:stop], "start": start, "end": stop, "score": score})
    return {"words": words, "tags": tags, "scores": scores, "entities": entities}


def _joined_spans(words: Sequence[str]) -> list[tuple[int, int]]:
    """Where words stand when joined by spaces."""
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    return [(int(end) - len(word), int(end)) for word, end in zip(words, ends, strict=True)]


def score(predictions: list[dict[str, Any]], columns: Columns) -> dict[str, float]:
    """``precision``, ``recall`` and ``f1`` of entities as ``conlleval`` counts, and ``accuracy`` over words."""
    found = [prediction["tags"] for prediction in predictions]
    pairs = [pair for true, tags in zip(columns["label"], found, strict=True) for pair in zip(true, tags, strict=True)]
    accuracy = sum(true == tag for true, tag in pairs) / len(pairs)
    return {**entity_scores(columns["label"], found), "accuracy": accuracy}
