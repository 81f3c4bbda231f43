"""Tagging: a tag for each word, and the entities that the tags mark."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features, Ragged, to_offsets
from keras_bert_impl.data.conll import iterate_conll
from keras_bert_impl.data.labels import make_label
from keras_bert_impl.data.span_annotations import iterate_tagged, split_words
from keras_bert_impl.data.tables import Columns, is_tfds, location
from keras_bert_impl.data.tag_schemes import convert_tags, find_entities, find_scheme
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Outputs, Prediction, Serving, Summary, TargetLogit, Task, find_words
from keras_bert_impl.tasks.class_weights import add_class_weights
from keras_bert_impl.tasks.encoding import check_fit, find_label_id, find_label_name, make_model_inputs, softmax
from keras_bert_impl.tasks.entities import score_entities
from keras_bert_impl.tasks.options import TaggingOptions
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText


def get_overlap(max_length: int) -> int:
    """Returns by how many tokens the windows of a long text overlap."""
    return max_length // 4


class Tagging(Task):
    """Tagging of words, as in named entity recognition.

    Files are in CoNLL format, or contain annotated spans of characters in JSONL or JSON.

    Args:
        options: the options of training; None: the defaults.
    """

    name: ClassVar[str] = "tagging"
    model_name: ClassVar[str] = "BertForTokenClassification"
    main_metric: ClassVar[str] = "f1"
    graph: ClassVar[str] = "words"
    pipeline_tag: ClassVar[str | None] = "token-classification"
    per_token: ClassVar[bool] = True
    file_columns: ClassVar[tuple[str, ...]] = ("text", "label")
    group_column: ClassVar[str] = "words"
    text_columns: ClassVar[tuple[str, ...]] = ("words",)

    def __init__(self, options: TaggingOptions | None = None) -> None:
        self.options = options or TaggingOptions()

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a CoNLL file, see `keras_bert_impl.data.read_conll`; or JSONL or JSON, see `iterate_tagged`.

        Tags are converted to the scheme of the options.

        Raises:
            InputError: the file cannot be used, or has no named columns.
        """
        scheme = self.options.scheme
        for example in self._read_tags(path, labeled=labeled, **columns):
            if scheme and "label" in example:
                example["label"] = convert_tags(example["label"], scheme)
            yield example

    def _read_tags(self, path: str | Path, *, labeled: bool, **columns: str) -> Iterator[dict[str, Any]]:
        if not isinstance(path, str | Path) or is_tfds(path) or Path(path).suffix.lower() in (".json", ".jsonl"):
            return iterate_tagged(path, labeled=labeled, **columns)
        if columns:
            raise InputError(f"{path}: CoNLL files have no named columns; omit {', '.join(sorted(columns))}.")
        return iterate_conll(path, labeled=labeled)

    def from_texts(self, texts: Sequence[Any], text_pairs: Sequence[Any] | None = None) -> Columns:
        """Returns columns for texts, split into words and punctuation; ``spans`` contains the words' characters.

        Texts may also be lists of words, which are not split.

        >>> Tagging().from_texts(["Ada, again"])["words"]
        [['Ada', ',', 'again']]
        """
        if text_pairs is not None:
            raise InputError("this task tags single texts; omit the second texts.")
        if any(isinstance(text, list | tuple) for text in texts):
            return {"words": list(texts)}
        split = [split_words(text) for text in texts]
        return {
            "text": list(texts),
            "words": [words for words, _ in split],
            "spans": [spans for _, spans in split],
        }

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the distinct tags, ``O`` first."""
        return sorted({tag for tags in _list_tags(columns) for tag in tags}, key=lambda tag: (tag != "O", tag))

    def parse_label(self, label: Any, columns: Columns, index: int, config: BertConfig) -> list[str]:
        """Returns the names of the tags of a sentence, from their ids or names; see `Task.parse_label`."""
        where, words = location(columns, index), columns["words"][index]
        if not isinstance(label, list) or len(label) != len(words):
            found = f"{len(label)} tags" if isinstance(label, list) else f"the label {label!r:.50}"
            raise InputError(
                f"{where} has {len(words)} words and {found}; a list with a tag for each word was expected."
            )
        names = list(config.id2label.values())
        return [find_label_name(tag, names, location=f"{where}, word {n}") for n, tag in enumerate(label, 1)]

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes sentences; long sentences become several windows that overlap by a quarter.

        Each word is predicted at its first token, in the window where it has the most context; all other tokens have
        weight 0. Labels are int32 and weights float32, an entry per token; ``alignment["word"]`` contains the number of
        the word that is predicted at a token, or -1.

        Raises:
            InputError: a tag that the model does not know, or ``max_length`` exceeds the model's positions.
        """
        check_fit(tokenizer, config, max_length=max_length, pairs=False)
        rows = tokenizer(
            columns["words"],
            is_split_into_words=True,
            padding=False,
            max_length=max_length,
            stride=get_overlap(max_length),
            return_overflowing=True,
        )
        example = rows["overflow_to_sample_mapping"]
        inputs = make_model_inputs(rows, tokenizer)
        all_words = Ragged.from_rows(rows["word_ids"], dtype=np.int32)
        word = Ragged(_select_tokens(all_words, example), inputs["input_ids"].offsets)
        labels, weights = {}, {}
        if "label" in columns:
            tags = Ragged.from_rows(_find_tag_ids(columns, config), dtype=np.int32)
            is_predicted = word.flat >= 0
            flat = np.zeros_like(word.flat)
            flat[is_predicted] = tags.flat[_find_word_indices(word, example, tags.offsets)]
            labels = {"logits": Ragged(flat, word.offsets)}
            weights = {"logits": Ragged(is_predicted.astype(np.float32), word.offsets)}
        return Features(inputs, labels, weights, example=example, alignment={"word": word})

    def make_loss(self) -> dict[str, Any]:
        """Cross entropy over the tokens at which words are predicted."""
        from keras_bert_impl.tasks.losses import make_cross_entropy

        return {"logits": make_cross_entropy(self.options.label_smoothing)}

    def add_weights(self, features: Features, config: BertConfig) -> Features:
        """Multiplies the weights of words by those of their tags; see `add_class_weights`."""
        return add_class_weights(features, self.options.class_weight, list(config.id2label.values()))

    def make_metrics(self) -> dict[str, Any]:
        """Accuracy, the fraction of correct tags."""
        from keras_bert_impl.tasks.losses import make_accuracy

        return {"logits": [make_accuracy()]}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the divergence of the probabilities of the tags."""
        from keras_bert_impl.tasks.losses import SoftenedKLDivergence

        return {"logits": SoftenedKLDivergence(temperature)}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per example its ``words``, ``tags``, their ``scores`` (probabilities), and the ``entities``.

        An entity has ``kind``, ``text``, ``start`` and ``end`` (characters in the text, or in the words joined by
        spaces) and ``score``, the mean over its words. A word without tokens gets the first tag and score 0.
        """
        names = list(config.id2label.values())
        word = features.alignment["word"]
        offsets = to_offsets(map(len, columns["words"]))
        probabilities = softmax(outputs["logits"].flat[word.flat >= 0])
        indices = _find_word_indices(word, features.example, offsets)
        tags, scores = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1])
        tags[indices], scores[indices] = probabilities.argmax(axis=1), probabilities.max(axis=1)
        return [
            _make_prediction(columns, i, [names[tag] for tag in tags[begin:end]], scores[begin:end].tolist())
            for i, (begin, end) in enumerate(pairwise(offsets))
        ]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """``precision``, ``recall`` and ``f1`` of entities as ``conlleval`` counts, and ``accuracy`` over words.

        The tags may be in another scheme than those of the model: then accuracy is computed with both in BIO.
        """
        true, predicted = _list_tags(columns), [prediction["tags"] for prediction in predictions]
        schemes = {find_scheme(chain.from_iterable(tags)) for tags in (true, predicted)} - {None}
        pairs = [
            pair
            for tags in zip(true, predicted, strict=True)
            for pair in zip(*([convert_tags(part, "bio") for part in tags] if len(schemes) > 1 else tags), strict=True)
        ]
        accuracy = sum(one == other for one, other in pairs) / max(len(pairs), 1)
        return {**score_entities(true, predicted), "accuracy": accuracy}

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """For logits ``[words, labels]``: ``labels``, strings ``[words]``, and ``scores``, their probabilities."""
        from keras import ops

        probabilities = ops.softmax(outputs["logits"])
        names = list(serving.config.id2label.values())
        labels = serving.gather(names, ops.argmax(probabilities, axis=-1))
        return {"labels": labels, "scores": ops.max(probabilities, axis=-1)}

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the entities."""
        entities: list[tuple[str, float | None]] = [
            (f"{entity['text']}: {entity['kind']}", entity["score"]) for entity in prediction["entities"]
        ]
        return Summary("Entities", entities or [("none", None)])

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logit of the predicted tag of the word ``target``, or of each word whose tag is not ``O``."""
        names = list(config.id2label.values())
        if target is None:
            words = [word for word in row.words if not word.is_special]
        else:
            words = [word for words in find_words(row, target) for word in words]
        tagged = [(word, int(outputs["logits"][0, word.first].argmax())) for word in words]
        if target is None:
            tagged = [(word, tag) for word, tag in tagged if names[tag] != "O"]
            if not tagged:
                raise InputError(
                    f"the model predicts only the tag 'O' for {row.text!r:.60}. Name a word (target) to explain its "
                    "tag."
                )
        return [
            TargetLogit(f"logit of {names[tag]!r} at {word.text!r}", "logits", word.first * len(names) + tag)
            for word, tag in tagged
        ]


def _select_tokens(words: Ragged, example: np.ndarray) -> np.ndarray:
    """Selects one token per word: the word's number at that token, -1 elsewhere; int32 ``[tokens]``."""
    row = np.repeat(np.arange(len(words)), words.lengths)
    # Rows begin with [CLS], which is not a word: the previous token is never a word of another row.
    first = np.flatnonzero((words.flat >= 0) & (words.flat != np.roll(words.flat, 1)))
    context = np.minimum(first - words.offsets[row[first]], words.offsets[row[first] + 1] - first)
    order = first[np.lexsort((first, -context, words.flat[first], example[row[first]]))]
    word_of_example = np.stack([example[row[order]], words.flat[order]])
    chosen = order[(np.diff(word_of_example, prepend=-1) != 0).any(axis=0)]
    once = np.full_like(words.flat, -1)
    once[chosen] = words.flat[chosen]
    return once


def _find_word_indices(word: Ragged, example: np.ndarray, sentence_offsets: np.ndarray) -> np.ndarray:
    """For each token at which a word is predicted, the word's number among the words of all sentences."""
    sentence = np.repeat(example, word.lengths)[word.flat >= 0]
    return sentence_offsets[sentence] + word.flat[word.flat >= 0]


def _list_tags(columns: Columns) -> list[list[str]]:
    return [
        [make_label(tag, location=f"{location(columns, i)}, word {number}") for number, tag in enumerate(tags, 1)]
        for i, tags in enumerate(columns["label"])
    ]


def _find_tag_ids(columns: Columns, config: BertConfig) -> list[list[int]]:
    """Returns the ids of the tags, which are converted if the model has tags of another scheme."""
    all_tags, scheme = _list_tags(columns), find_scheme(config.label2id)
    if scheme and find_scheme(chain.from_iterable(all_tags)) not in (None, scheme):
        all_tags = [convert_tags(tags, scheme) for tags in all_tags]
    return [
        [
            find_label_id(tag, config.label2id, location=f"{location(columns, i)}, word {number} ({word!r})")
            for number, (word, tag) in enumerate(zip(words, tags, strict=True), 1)
        ]
        for i, (words, tags) in enumerate(zip(columns["words"], all_tags, strict=True))
    ]


def _make_prediction(columns: Columns, i: int, tags: list[str], scores: list[float]) -> dict[str, Any]:
    words = columns["words"][i]
    text = columns["text"][i] if "text" in columns else " ".join(words)
    spans = columns["spans"][i] if "spans" in columns else _find_joined_spans(words)
    entities = []
    for kind, begin, end in find_entities(tags):
        start, stop = spans[begin][0], spans[end - 1][1]
        score = sum(scores[begin:end]) / (end - begin)
        entities.append({"kind": kind, "text": text[start:stop], "start": start, "end": stop, "score": score})
    return {"words": words, "tags": tags, "scores": scores, "entities": entities}


def _find_joined_spans(words: Sequence[str]) -> list[tuple[int, int]]:
    """Returns the start and end of each word in the text of all words joined by spaces."""
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    return [(int(end) - len(word), int(end)) for word, end in zip(words, ends, strict=True)]
