"""Sequences of one or two segments, drawn from a corpus many at a time: chunks, or pairs for next sentences."""

import dataclasses

import numpy as np

from keras_bert_impl.data.shards import TokenCorpus
from keras_bert_impl.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of segments, or single segments; each is a range of a corpus' tokens. All arrays are int64.

    Attributes:
        start: ``[2, pairs]``, the first token of the first and the second segments; ``[1, pairs]`` for single ones.
        length: of the same shape, their lengths in tokens, at least one.
        label: ``[pairs]``, 0 where the second segment follows the first in the text, 1 where it is from another
            document, or there is none.
    """

    start: np.ndarray
    length: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def take(self, pairs: np.ndarray) -> "Pairs":
        """Returns the pairs with these numbers, in this order."""
        return Pairs(self.start[:, pairs], self.length[:, pairs], self.label[pairs])

    def truncate(self, generator: np.random.Generator, max_tokens: np.ndarray | int) -> "Pairs":
        """Truncates each pair to ``max_tokens`` tokens, two or more; a single segment to one or more.

        The longer segment of a pair is truncated first. How much is cut at its start and how much at its end is random.
        """
        if len(self.length) == 1:
            length = np.minimum(self.length, max_tokens)
            return Pairs(self.start + generator.integers(0, self.length - length + 1), length, self.label)
        first, second = self.length
        first = np.minimum(first, np.maximum(max_tokens - second, (max_tokens + 1) // 2))
        length = np.stack([first, np.minimum(second, max_tokens - first)])
        return Pairs(self.start + generator.integers(0, self.length - length + 1), length, self.label)


class PairSampler:
    """Draws pairs of a given length from documents of a corpus, as BERT's pretraining does.

    Each document is cut into chunks: complete sentences that together reach the length. A chunk becomes a pair by
    splitting it after one of its sentences. In half of the pairs, and if the chunk is a single sentence, a part of
    another document replaces the second segment.

    Args:
        corpus: the corpus.
        documents: ``[documents]``, the numbers of the documents to draw from.
        tokens: the length of a pair in tokens, at least two.

    Raises:
        InputError: there are fewer than two documents.
    """

    def __init__(self, corpus: TokenCorpus, documents: np.ndarray, *, tokens: int) -> None:
        if len(documents) < 2:
            raise InputError(
                f"{corpus.directory}: next-sentence prediction needs at least two documents; there is "
                f"{len(documents)}. An empty line ends a document."
            )
        self.tokens = tokens
        self._sentences = corpus.sentence_starts
        # Each document's first sentence, and the one after its last.
        self._begin, self._end = corpus.document_starts[documents], corpus.document_starts[documents + 1]
        self._first, self._stop, self._document = self._make_chunks()

    def __len__(self) -> int:
        """The number of chunks."""
        return len(self._first)

    def _make_chunks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the first sentence of each chunk, the sentence after its last, and its document."""
        chunks = []
        document, first = np.arange(len(self._begin)), self._begin
        # Each round makes one chunk of every unfinished document.
        while len(document):
            stop = self._find_stop(first, self.tokens, self._end[document])
            chunks.append((first, stop, document))
            is_unfinished = stop < self._end[document]
            document, first = document[is_unfinished], stop[is_unfinished]
        first, stop, document = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        order = np.argsort(first)
        return first[order], stop[order], document[order]

    def _find_stop(self, first: np.ndarray, tokens: np.ndarray | int, end: np.ndarray) -> np.ndarray:
        """Returns the sentence after chunks that start at ``first`` and reach ``tokens`` tokens; at most ``end``."""
        return np.minimum(np.searchsorted(self._sentences, self._sentences[first] + tokens), end)

    @property
    def pairable(self) -> float:
        """The fraction of chunks with two or more sentences: only these can be pairs of consecutive segments."""
        return float((self._stop - self._first >= 2).mean())

    def draw(self, generator: np.random.Generator, chunks: np.ndarray, *, short: float) -> Pairs:
        """Draws a pair from each of these chunks.

        Args:
            generator: the random generator.
            chunks: the numbers of the chunks.
            short: the fraction of pairs whose length is drawn from 2 to ``tokens`` instead.
        """
        count = len(chunks)
        is_short = generator.random(count) < short
        tokens = np.where(is_short, generator.integers(2, self.tokens + 1, count), self.tokens)
        first, document = self._first[chunks], self._document[chunks]
        stop = self._find_stop(first, tokens, self._stop[chunks])
        middle = first + 1 + (generator.random(count) * np.maximum(stop - first - 1, 0)).astype(np.int64)
        label = ((generator.random(count) < 0.5) | (stop - first < 2)).astype(np.int64)

        begin = self._sentences[first]
        length = self._sentences[middle] - begin
        other = generator.integers(0, len(self._begin) - 1, count)
        other += other >= document
        sentence = self._begin[other] + generator.integers(0, self._end[other] - self._begin[other])
        missing = np.maximum(tokens - length, 1)
        second = np.where(label, sentence, middle)
        second_stop = np.where(label, self._find_stop(sentence, missing, self._end[other]), stop)
        second_begin = self._sentences[second]
        pairs = Pairs(
            np.stack([begin, second_begin]), np.stack([length, self._sentences[second_stop] - second_begin]), label
        )
        return pairs.truncate(generator, tokens)


class ChunkSampler:
    """Cuts each document into chunks of a given number of tokens, for masked LM alone; the last one may be shorter.

    Args:
        corpus: the corpus.
        documents: ``[documents]``, the numbers of the documents to draw from.
        tokens: the length of a chunk.
    """

    def __init__(self, corpus: TokenCorpus, documents: np.ndarray, *, tokens: int) -> None:
        starts = corpus.sentence_starts[corpus.document_starts]
        begin, end = starts[documents], starts[documents + 1]
        counts = -(-(end - begin) // tokens)
        document = np.repeat(np.arange(len(documents)), counts)
        number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._start = begin[document] + number * tokens
        self._length = np.minimum(tokens, end[document] - self._start)

    def __len__(self) -> int:
        """The number of chunks."""
        return len(self._start)

    def draw(self, generator: np.random.Generator, chunks: np.ndarray, *, short: float) -> Pairs:
        """Returns these chunks; nothing is random. For the arguments see `PairSampler.draw`."""
        return Pairs(self._start[None, chunks], self._length[None, chunks], np.zeros(len(chunks), np.int64))
