"""Contextual vectors of a word, and their similarity."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret import pictures
from keras_bert_impl.interpret.pages import find_model_task
from keras_bert_impl.models.cache import cached_on
from keras_bert_impl.tasks.words import encode_row
from keras_bert_impl.tokenization import BertTokenizer

_COLUMNS = 80


@dataclass(frozen=True)
class Occurrence:
    """One occurrence of the word.

    Attributes:
        name: the number of its text, with a letter if the word occurs there several times: ``"3b"``.
        text: the complete text.
        begin: the word's first character.
        end: the character after its last one.
        number: the number of its text, from 0.
    """

    name: str
    text: str
    begin: int
    end: int
    number: int

    def mark(self, left: str, right: str, escape: Callable[[str], str] = str) -> str:
        """Returns the text with marks before and after the word; ``escape`` is applied to the text only."""
        cuts = (slice(self.begin), slice(self.begin, self.end), slice(self.end, None))
        before, word, after = (escape(self.text[cut]) for cut in cuts)
        return f"{before}{left}{word}{right}{after}"


@dataclass(frozen=True)
class WordVectors:
    """The vectors of a word at all layers, per occurrence. A notebook shows the cosines of the last layer.

    Attributes:
        word: the word.
        occurrences: its occurrences.
        vectors: float32 ``[occurrences, layers + 1, hidden]``; layer 0 is the embeddings.
    """

    word: str
    occurrences: tuple[Occurrence, ...]
    vectors: np.ndarray

    @property
    def names(self) -> list[str]:
        """The occurrences' names."""
        return [occurrence.name for occurrence in self.occurrences]

    def get_layer(self, layer: int = -1) -> np.ndarray:
        """Returns the vectors at one layer, ``[occurrences, hidden]``.

        Args:
            layer: 0 for the embeddings, 1 for the first block …; negative numbers count from the last.

        Raises:
            InputError: there is no such layer.
        """
        layers = self.vectors.shape[1]
        if not -layers <= layer < layers:
            raise InputError(f"there is no layer {layer}; the model has the layers 0 (embeddings) to {layers - 1}.")
        return self.vectors[:, layer]

    def compute_cosines(self, layer: int = -1) -> np.ndarray:
        """Computes the cosine of each pair of occurrences in a layer: float64 ``[occurrences, occurrences]``."""
        vectors = self.get_layer(layer).astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.clip(vectors @ vectors.T, -1, 1)

    def compare_senses(self, senses: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Compares the similarity of occurrences with the same sense and with different senses, at each layer.

        Args:
            senses: the sense of the word in each text, in the texts' order.

        Returns:
            two float64 ``[layers + 1]``: the mean cosines of pairs with the same sense, and with different senses.

        Raises:
            InputError: the number of senses is not that of the texts, all senses are the same, or all differ.
        """
        sense = np.array(self._list_senses(senses))
        first, second = np.triu_indices(len(sense), k=1)
        same = sense[first] == sense[second]
        if same.all() or not same.any():
            raise InputError(
                f"the senses are {sorted(set(sense.tolist()))}; at least two were expected, one with two occurrences."
            )
        pairs = np.stack([self.compute_cosines(layer)[first, second] for layer in range(self.vectors.shape[1])])
        return pairs[:, same].mean(axis=1), pairs[:, ~same].mean(axis=1)

    def _list_senses(self, senses: Sequence[str]) -> list[str]:
        """Returns the sense of each occurrence, from those of the texts."""
        texts = 1 + max(occurrence.number for occurrence in self.occurrences)
        if len(senses) != texts:
            raise InputError(f"there are {len(senses)} senses for {texts} texts; one per text was expected.")
        return [senses[occurrence.number] for occurrence in self.occurrences]

    def format_table(self, layer: int = -1) -> str:
        """Returns the occurrences and their cosines, for a terminal of 80 columns."""
        cosines, names = self.compute_cosines(layer), self.names
        width = max(map(len, names))
        lines = [_cut_excerpt(occurrence, _COLUMNS - width - 2) for occurrence in self.occurrences]
        result = [f"{name:>{width}}  {line}" for name, line in zip(names, lines, strict=True)]
        per_block = (_COLUMNS - width) // 5
        for begin in range(0, len(names), per_block):
            block = slice(begin, begin + per_block)
            result += ["", " " * width + "".join(f"{name:>5}" for name in names[block])]
            result += [
                f"{name:>{width}}" + "".join(f"{value:5.2f}" for value in row[block])
                for name, row in zip(names, cosines, strict=True)
            ]
        return "\n".join(result)

    def _repr_html_(self) -> str:
        cosines = self.compute_cosines()
        texts = "".join(
            f"<tr><th>{occurrence.name}</th><td style='text-align:left'>"
            f"{occurrence.mark('<b>', '</b>', html.escape)}</td></tr>"
            for occurrence in self.occurrences
        )
        head = "".join(f"<th>{name}</th>" for name in self.names)
        rows = "".join(
            f"<tr><th>{name}</th>" + "".join(_format_cell(value) for value in row) + "</tr>"
            for name, row in zip(self.names, cosines, strict=True)
        )
        return (
            f"<table>{texts}</table><table><caption>cosines of ‘{html.escape(self.word)}’ at the last layer</caption>"
            f"<tr><th></th>{head}</tr>{rows}</table>"
        )

    def save_picture(self, path: str | Path, *, layer: int = -1, senses: Sequence[str] | None = None) -> None:
        """Draws the vectors by their two principal components (PCA), as PNG or SVG.

        Args:
            path: the file; its ending selects the format.
            layer: see `get_layer`.
            senses: the sense of the word in each text, for the colors.

        Raises:
            InputError: fewer than three occurrences, no such layer, not one sense per text, or a path that cannot be
                written.
        """
        if len(self.occurrences) < 3:
            raise InputError(
                f"a picture needs three occurrences of {self.word!r}; there are {len(self.occurrences)}. Give more "
                "texts."
            )
        groups = None if senses is None else self._list_senses(senses)
        vectors = self.get_layer(layer)
        title = f"‘{self.word}’ at layer {layer % self.vectors.shape[1]}"
        pictures.save_points(Path(path), vectors, self.names, groups, title=title)

    def save_layers(self, path: str | Path, senses: Sequence[str]) -> None:
        """Draws the similarities of `compare_senses` over the layers, as PNG or SVG."""
        same, different = self.compare_senses(senses)
        pictures.save_layers(Path(path), same, different, title=f"‘{self.word}’ over the layers")


def _cut_excerpt(occurrence: Occurrence, width: int) -> str:
    """Returns an excerpt around the marked word that fits the width."""
    text = occurrence.mark(">", "<")
    begin = max(0, min((occurrence.begin + occurrence.end - width) // 2, len(text) - width))
    cut = text[begin : begin + width]
    if begin:
        cut = "…" + cut[1:]
    return cut if begin + width >= len(text) else cut[:-1] + "…"


def _format_cell(value: float) -> str:
    """Returns a table cell; a higher cosine has a darker blue."""
    return f"<td style='background:rgba(0,114,178,{max(0.0, value) ** 2 * 0.6:.2f})'>{value:.2f}</td>"


def compute_word_vectors(model: Any, tokenizer: BertTokenizer, texts: Sequence[str], word: str) -> WordVectors:
    """Computes the vectors of a word in texts, at all layers: the mean of its tokens' vectors.

    Args:
        model: any of the ``Bert…`` models.
        tokenizer: its tokenizer.
        texts: texts that contain the word, once or several times.
        word: the word, or several consecutive words. Upper and lower case match.

    Raises:
        InputError: a text lacks the word or is too long.

    >>> texts = ["A river bank.", "The bank lent it."]
    >>> vectors = compute_word_vectors(model, tokenizer, texts, "bank")  # doctest: +SKIP
    >>> vectors.compute_cosines(layer=-1)  # doctest: +SKIP
    """
    if not texts:
        raise InputError("there are no texts; give texts that contain the word.")
    rows = [encode_row(tokenizer, model.config, text) for text in texts]
    matches_by_text = [row.find(word) for row in rows]
    for number, (text, matches) in enumerate(zip(texts, matches_by_text, strict=True), 1):
        if not matches:
            raise InputError(
                f"text {number} does not contain the word {word!r}: {text!r:.100}. Omit this text, or correct the word."
            )
    with_states = cached_on(model, "hidden states", lambda: model.with_outputs(output_hidden_states=True))
    occurrences, vectors = [], []
    for number, (row, matches) in enumerate(zip(rows, matches_by_text, strict=True)):
        outputs = with_states(find_model_task(model).make_view_inputs(row.inputs, tokenizer))
        states = np.stack([ops.convert_to_numpy(state)[0] for state in outputs["hidden_states"]])
        for count, words in enumerate(matches):
            letter = chr(ord("a") + count % 26) if len(matches) > 1 else ""
            name, begin, end = f"{number + 1}{letter}", words[0].begin, words[-1].end
            occurrences.append(Occurrence(name, row.text, begin, end, number))
            vectors.append(states[:, words[0].first : words[-1].last].astype(np.float32).mean(axis=1))
    return WordVectors(word, tuple(occurrences), np.stack(vectors))
