"""``Reranker``: documents in the order of their scores for a query, by a cross-encoder."""

import heapq
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_bert_impl.data.tables import Columns, check_texts, iterate_chunks
from keras_bert_impl.errors import InputError
from keras_bert_impl.prediction.predictor import CHUNK_SIZE, Predictor
from keras_bert_impl.sources import Source

if TYPE_CHECKING:
    from keras_bert_impl.models import BertForSentenceEmbedding

# The number of documents above which users should choose candidates with an embedding model first.
_MANY = 1000


class Reranker:
    """A cross-encoder with its tokenizer, or an export of one.

    Args:
        source: the directory of a run or of an export, or any source of a checkpoint with one label.
        max_length: the maximum length of a pair in tokens; None: as many as the model allows.

    Raises:
        InputError: there is nothing at ``source``, or the model has several labels.

    >>> reranker = Reranker("cross-encoder/ms-marco-MiniLM-L6-v2")  # doctest: +SKIP
    >>> reranker.rank("Who wrote it?", ["In 1925.", "Virginia Woolf wrote it."], top_k=1)  # doctest: +SKIP
    [{'corpus_id': 1, 'score': 9.2}]
    """

    def __init__(self, source: str | Path | Source, *, max_length: int | None = None) -> None:
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
        self,
        query: str,
        documents: Iterable[str],
        *,
        embedder: "BertForSentenceEmbedding | None" = None,
        top: int = 100,
        top_k: int | None = None,
        return_documents: bool = False,
    ) -> list[dict[str, Any]]:
        """Orders documents by their scores for a query.

        Args:
            query: a text.
            documents: texts; with ``embedder`` or ``top_k`` there may be more than fit into memory.
            embedder: an embedding model, which chooses the documents that the cross-encoder reads; None: all.
            top: the number of documents that the embedding model chooses: see `find_candidates`.
            top_k: the number of documents to return; None: all that the cross-encoder read.
            return_documents: whether the documents are returned with their scores.

        Returns:
            For each document ``corpus_id`` (its index), ``score`` and, on request, ``text``; the highest score
            first. Documents with equal scores keep their order.

        Raises:
            InputError: the query or a document is not a string, or ``documents`` is one.

        Warns:
            UserWarning: there are more than 1,000 documents and no ``embedder``, or pairs were longer than
                ``max_length`` and were truncated.
        """
        check_texts(documents, name="documents")
        waiting: deque[tuple[int, str]] = deque()  # The candidates that the cross-encoder reads at the moment.

        def pair(candidates: Iterable[tuple[int, str]]) -> Iterator[tuple[str, str]]:
            for count, candidate in enumerate(candidates):
                if count == _MANY and embedder is None:
                    warnings.warn(
                        f"there are more than {_MANY:,} documents, and the model reads each of them with the query. "
                        "Choose candidates with an embedding model first (embedder, or --embedder on the command "
                        "line).",
                        stacklevel=2,
                    )
                waiting.append(candidate)
                yield query, candidate[1]

        candidates = enumerate(documents) if embedder is None else find_candidates(embedder, query, documents, k=top)
        entries = (
            {"corpus_id": index, **prediction, **({"text": text} if return_documents else {})}
            for prediction in self._predictor.predict_chunks(_to_chunks(pair(candidates)))
            for index, text in [waiting.popleft()]
        )
        if top_k is None:
            return sorted(entries, key=_get_score, reverse=True)
        return heapq.nlargest(top_k, entries, key=_get_score)


def find_candidates(
    embedder: "BertForSentenceEmbedding", query: str, documents: Iterable[str], *, k: int = 100
) -> list[tuple[int, str]]:
    """Finds the ``k`` documents whose vectors are most similar to the vector of a query.

    Only the candidates, and the documents that are embedded at the moment, are in memory.

    Args:
        embedder: the embedding model; its prompts for queries and documents are used, and its similarity function.
        query: a text.
        documents: texts; there may be more than fit into memory.
        k: the number of documents to find; all documents if there are fewer.

    Returns:
        The index of each document and its text, in the order of ``documents``. Of equally similar documents, the first
        ones are found.

    Raises:
        InputError: the query or a document is not a string, or ``documents`` is one.

    >>> model = BertForSentenceEmbedding.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")  # doctest: +SKIP
    >>> find_candidates(model, "Who wrote it?", ["A plane.", "Virginia Woolf wrote it."], k=1)  # doctest: +SKIP
    [(1, 'Virginia Woolf wrote it.')]
    """
    check_texts(documents, name="documents")
    vector = embedder.encode_query(query)
    best: list[tuple[float, int, str]] = []
    done = 0
    for chunk in iterate_chunks(documents, CHUNK_SIZE):
        scores = embedder.similarity(vector, embedder.encode_document(chunk, show_progress_bar=False))[0]
        # Negative indices, so that the first of equally similar documents is the largest.
        scored = zip(scores.tolist(), range(-done, -done - len(chunk), -1), chunk, strict=True)
        best = heapq.nlargest(k, [*best, *scored])
        done += len(chunk)
    return sorted((-index, text) for _, index, text in best)


def _get_score(entry: dict[str, Any]) -> float:
    return entry["score"]


def _to_chunks(pairs: Iterable[Sequence[str]]) -> Iterator[Columns]:
    for chunk in iterate_chunks(pairs, CHUNK_SIZE):
        for pair in chunk:
            if isinstance(pair, str) or len(pair) != 2:
                raise InputError(f"{pair!r:.200} was given; a pair of a query and a document was expected.")
        texts, text_pairs = (list(column) for column in zip(*chunk, strict=True))
        yield {"text": texts, "text_pair": text_pairs}
