"""``Reranker``: documents in the order of their scores for a query, by a cross-encoder."""

import heapq
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction.predictor import Predictor

# The number of documents that are sorted by length and scored together.
_CHUNK_SIZE = 4096
# The number of documents above which users should choose candidates with an embedding model first.
_MANY = 1000


class Reranker:
    """A cross-encoder with its tokenizer, or an export of one.

    Args:
        source: the directory of a run or of an export, or any source of a checkpoint with one label.
        max_length: the maximum length of a pair in tokens; None: as many as the model allows.

    Raises:
        InputError: nothing at ``source``, or the model has several labels.

    >>> reranker = Reranker("cross-encoder/ms-marco-MiniLM-L6-v2")  # doctest: +SKIP
    >>> reranker.rank("Who wrote it?", ["In 1925.", "Virginia Woolf wrote it."], top_k=1)  # doctest: +SKIP
    [{'corpus_id': 1, 'score': 9.2}]
    """

    def __init__(self, source: str | Path, *, max_length: int | None = None) -> None:
        self._predictor = Predictor(source, task="reranking", max_length=max_length)

    def predict(self, pairs: Iterable[Sequence[str]]) -> np.ndarray:
        """Computes the scores of pairs of texts.

        Args:
            pairs: a query and a document each; there may be more than fit into memory.

        Returns:
            float32 ``[pairs]``: the logits, or their sigmoids, as the model's configuration says.

        Raises:
            InputError: an entry is not a pair of strings.

        Warns:
            UserWarning: pairs were longer than ``max_length`` and were truncated.
        """
        predictions = self._predictor.predict_chunks(_to_chunks(pairs))
        return np.fromiter((prediction["score"] for prediction in predictions), np.float32)

    def rank(
        self, query: str, documents: Iterable[str], *, top_k: int | None = None, return_documents: bool = False
    ) -> list[dict[str, Any]]:
        """Orders documents by their scores for a query.

        Args:
            query: a text.
            documents: texts; with ``top_k`` there may be more than fit into memory.
            top_k: the number of documents to return; None: all.
            return_documents: whether the documents are returned with their scores.

        Returns:
            For each document ``corpus_id`` (its number, from 0), ``score`` and, on request, ``text``; the highest score
            first. Documents with equal scores keep their order.

        Raises:
            InputError: the query or a document is not a string.

        Warns:
            UserWarning: there are more than 1,000 documents, or pairs were longer than ``max_length`` and were
                truncated.
        """
        read: deque[str] = deque()

        def pair(documents: Iterable[str]) -> Iterator[tuple[str, str]]:
            for number, document in enumerate(documents):
                if number == _MANY:
                    warnings.warn(
                        f"there are more than {_MANY:,} documents, and the model reads each of them with the query. "
                        "Choose candidates with an embedding model first.",
                        stacklevel=2,
                    )
                if return_documents:
                    read.append(document)
                yield query, document

        predictions = self._predictor.predict_chunks(_to_chunks(pair(documents)))
        entries = (
            {"corpus_id": number, **prediction, **({"text": read.popleft()} if return_documents else {})}
            for number, prediction in enumerate(predictions)
        )
        if top_k is None:
            return sorted(entries, key=_get_score, reverse=True)
        return heapq.nlargest(top_k, entries, key=_get_score)


def _get_score(entry: dict[str, Any]) -> float:
    return entry["score"]


def _to_chunks(pairs: Iterable[Sequence[str]]) -> Iterator[Columns]:
    iterator = iter(pairs)
    while chunk := list(islice(iterator, _CHUNK_SIZE)):
        for pair in chunk:
            if isinstance(pair, str) or len(pair) != 2:
                raise InputError(f"{pair!r:.200} was given; a pair of a query and a document was expected.")
        texts, text_pairs = (list(column) for column in zip(*chunk, strict=True))
        yield {"text": texts, "text_pair": text_pairs}
