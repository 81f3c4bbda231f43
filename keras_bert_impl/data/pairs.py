"""Pairs of segments for next-sentence prediction, drawn from a corpus many at a time."""

import dataclasses

import numpy as np

from keras_bert_impl.data.shards import TokenCorpus
from keras_bert_impl.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of segments, each a stretch of a corpus' tokens; int64 ``[pairs]`` all.

    Attributes:
        start: ``[2, pairs]``, where the first and the second segments begin.
        length: ``[2, pairs]``, how many tokens they have, at least one.
        label: 0 where the second segment follows the first in the text, 1 where it is of another document.
    """

    start: np.ndarray
    length: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def take(self, pairs: np.ndarray) -> "Pairs":
        """The given pairs, in this order."""
        return Pairs(self.start[:, pairs], self.length[:, pairs], self.label[pairs])

    def cut(self, generator: np.random.Generator, most: np.ndarray | int) -> "Pairs":
        """Pairs of at most so many tokens, at least two: the longer segment is cut first, at either end by chance."""
        first, second = self.length
        first = np.minimum(first, np.maximum(most - second, (most + 1) // 2))
        length = np.stack([first, np.minimum(second, most - first)])
        return Pairs(self.start + generator.integers(0, self.length - length + 1), length, self.label)


class PairSampler:
    """Draws pairs that fill a length from some documents of a corpus, as BERT's pretraining does.

    Each document is cut into chunks of whole sentences that reach the length. A chunk's pair is split behind one of its
    sentences; in half of the pairs, and where the chunk is one sentence, a stretch of another document takes the place
    of the second segment.

    Args:
        corpus: the corpus.
        documents: ``[documents]``, the numbers of those to draw from.
        tokens: how many tokens a pair fills, at least two.

    Raises:
        InputError: there are fewer than two documents.
    """

    def __init__(self, corpus: TokenCorpus, documents: np.ndarray, *, tokens: int) -> None:
        if len(documents) < 2:
            raise InputError(
                f"{corpus.directory}: the next sentence is told from one of another document, so that two documents "
                f"are needed; there is {len(documents)}. An empty line ends a document."
            )
        self.tokens = tokens
        self._sentences = corpus.sentence_starts
        # Each document's first sentence, and the one behind its last.
        self._begin, self._end = corpus.document_starts[documents], corpus.document_starts[documents + 1]
        self._first, self._stop, self._document = self._chunks()

    def __len__(self) -> int:
        """How many chunks there are."""
        return len(self._first)

    def _chunks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First sentence of each chunk, the one behind its last, and its document."""
        found = []
        document, first = np.arange(len(self._begin)), self._begin
        # One chunk of every document that goes on at a time.
        while len(document):
            stop = self._reaching(first, self.tokens, self._end[document])
            found.append((first, stop, document))
            goes_on = stop < self._end[document]
            document, first = document[goes_on], stop[goes_on]
        first, stop, document = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(first)
        return first[order], stop[order], document[order]

    def _reaching(self, first: np.ndarray, tokens: np.ndarray | int, end: np.ndarray) -> np.ndarray:
        """The sentence behind the one with which those from ``first`` on reach so many tokens, at most ``end``."""
        return np.minimum(np.searchsorted(self._sentences, self._sentences[first] + tokens), end)

    @property
    def pairable(self) -> float:
        """The share of chunks of two sentences or more: only these can be pairs that follow each other."""
        return float((self._stop - self._first >= 2).mean())

    def draw(self, generator: np.random.Generator, chunks: np.ndarray, *, short: float) -> Pairs:
        """A pair for each of these chunks.

        Args:
            generator: of the chances.
            chunks: their numbers.
            short: the share of pairs that fill a length drawn from 2 to ``tokens`` instead.
        """
        count = len(chunks)
        is_short = generator.random(count) < short
        tokens = np.where(is_short, generator.integers(2, self.tokens + 1, count), self.tokens)
        first, document = self._first[chunks], self._document[chunks]
        stop = self._reaching(first, tokens, self._stop[chunks])
        middle = first + 1 + (generator.random(count) * np.maximum(stop - first - 1, 0)).astype(np.int64)
        label = ((generator.random(count) < 0.5) | (stop - first < 2)).astype(np.int64)

        begin = self._sentences[first]
        length = self._sentences[middle] - begin
        other = generator.integers(0, len(self._begin) - 1, count)
        other += other >= document
        sentence = self._begin[other] + generator.integers(0, self._end[other] - self._begin[other])
        missing = np.maximum(tokens - length, 1)
        second = np.where(label, sentence, middle)
        second_end = np.where(label, self._reaching(sentence, missing, self._end[other]), stop)
        second_begin = self._sentences[second]
        pairs = Pairs(
            np.stack([begin, second_begin]), np.stack([length, self._sentences[second_end] - second_begin]), label
        )
        return pairs.cut(generator, tokens)
