"""``mine_hard_negatives``: documents that are similar to a query and are not its positives, to train with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_bert_impl.data.table_writer import check_output, write_text_columns
from keras_bert_impl.data.tables import (
    Columns,
    check_text,
    check_texts,
    count_examples,
    iterate_texts,
    location,
    to_columns,
)
from keras_bert_impl.data.text_columns import iterate_text_columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import open_output
from keras_bert_impl.machine import check_memory_for_vectors
from keras_bert_impl.prediction.ranking import Reranker
from keras_bert_impl.tasks.mining import MiningSettings
from keras_bert_impl.vectors.search import search

if TYPE_CHECKING:
    from keras_bert_impl.models import BertForSentenceEmbedding

# The settings that exclude candidates.
_LIMITS = ("max_score", "min_score", "absolute_margin", "relative_margin", "range_max")


@dataclass(frozen=True)
class MinedQuery:
    """A query with its positive documents, and the negative ones that were found for it.

    Args:
        text: the query.
        positives: the distinct texts of its positive documents.
        negatives: the texts of its negative documents, the most similar first.
    """

    text: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


def mine_hard_negatives(
    model: "BertForSentenceEmbedding",
    columns: Columns,
    *,
    corpus: Iterable[str] = (),
    reranker: Reranker | None = None,
    settings: MiningSettings | None = None,
) -> Columns:
    """Adds hard negatives to pairs of texts: the documents most similar to the query that are not its positives.

    The rules are those of ``mine_hard_negatives`` in sentence-transformers; a query itself is not a negative here. All
    texts with which a query occurs are its positives. If a query has too few negatives, ``triplet`` and
    ``labeled-pair`` contain those that it has, and ``n-tuple`` omits the query.

    Args:
        model: the embedding model; its prompts for queries and documents are used, and its similarity function.
        columns: ``text`` and ``positive``, as the reader of a file of pairs returns them.
        corpus: texts of further documents; those of ``positive`` are always documents.
        reranker: a cross-encoder that computes the scores of candidates and positives again, for the scores and
            margins in ``settings``.
        settings: which documents are negatives, and the form of the examples.

    Returns:
        ``text``, ``positive`` and ``negatives`` (a list of one text, or of all); or for ``labeled-pair`` ``text``,
        ``text_pair`` and ``label``, "1" or "0". `keras_bert_impl.training.finetune` takes these columns.

    Raises:
        InputError: the columns contain no pairs, a text is not a string, ``corpus`` is one string, there is a reranker
            but no score or margin in ``settings``, or the vectors need more memory than is free.

    >>> columns = {"text": ["Who wrote it?"], "positive": ["Virginia Woolf wrote it."]}
    >>> corpus = ["It was written in 1925.", "A plane."]
    >>> settings = MiningSettings(num_negatives=1)
    >>> mine_hard_negatives(model, columns, corpus=corpus, settings=settings)["negatives"]  # doctest: +SKIP
    [['It was written in 1925.']]
    """
    settings = settings or MiningSettings()
    positives = _collect_positives(columns)
    check_texts(corpus, name="texts of the corpus")
    texts = (check_text(text, name="the text", location=f"corpus, text {i}") for i, text in enumerate(corpus, 1))
    queries = _find_negatives(model, positives, texts, reranker=reranker, settings=settings)
    return make_examples(queries, settings)


def make_examples(queries: Sequence[MinedQuery], settings: MiningSettings) -> Columns:
    """Makes training examples of queries with negatives, as columns: see `mine_hard_negatives`.

    >>> make_examples([MinedQuery("a", ("b",), ("c", "d"))], MiningSettings(output_format="labeled-pair"))
    {'text': ['a', 'a', 'a'], 'text_pair': ['b', 'c', 'd'], 'label': ['1', '0', '0']}
    """
    names: tuple[str, ...] = ("text", "positive", "negatives")
    rows: list[tuple[Any, ...]] = []
    for query in queries:
        if settings.output_format == "labeled-pair":
            names = ("text", "text_pair", "label")
            rows += [(query.text, text, "1") for text in query.positives]
            rows += [(query.text, text, "0") for text in query.negatives]
        elif settings.output_format == "triplet":
            rows += [(query.text, positive, [text]) for positive in query.positives for text in query.negatives]
        elif len(query.negatives) == settings.num_negatives:
            rows += [(query.text, positive, list(query.negatives)) for positive in query.positives]
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def mine_file(
    model: "BertForSentenceEmbedding",
    path: str | Path,
    output: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    corpus: str | Path | None = None,
    corpus_column: str = "text",
    reranker: Reranker | None = None,
    settings: MiningSettings | None = None,
) -> list[MinedQuery]:
    """`mine_hard_negatives` for files.

    Args:
        model: see `mine_hard_negatives`.
        path: a table of pairs, as for fine-tuning; negatives in it are checked, but not used.
        output: the ``.tsv`` or ``.jsonl`` file to write, which fine-tuning reads.
        columns: names of the columns in ``path``: ``text`` and ``text_pair``.
        corpus: a file with further documents: ``.txt`` with a text per line, or a table.
        corpus_column: name of the column in ``corpus``; a number if it has no header.
        reranker: see `mine_hard_negatives`.
        settings: see `mine_hard_negatives`.

    Returns:
        The queries with their negatives.

    Raises:
        InputError: a file cannot be used, or no negatives were found; see also `mine_hard_negatives`.

    >>> queries = mine_file(model, "pairs.tsv", "triplets.tsv")  # doctest: +SKIP
    >>> queries[0].negatives  # doctest: +SKIP
    ('It was written in 1925.',)
    """
    settings = settings or MiningSettings()
    (pairs,) = to_columns(iterate_text_columns(path, labeled=True, **(columns or {})))
    positives = _collect_positives(pairs)
    texts = list(iterate_texts(corpus, column=corpus_column)) if corpus else []
    check_output(
        output,
        chain(
            *(zip(pairs["location"], pairs[name], strict=True) for name in ("text", "positive")),
            ((f"{corpus}, text {number}", text) for number, text in enumerate(texts, 1)),
        ),
    )
    with open_output(output) as temporary:  # Before the long part, because it checks that the file can be written.
        queries = _find_negatives(model, positives, texts, reranker=reranker, settings=settings)
        examples = make_examples(queries, settings)
        if all(not query.negatives for query in queries) or not examples["text"]:
            limits = {name: getattr(settings, name) for name in _LIMITS if getattr(settings, name) is not None}
            others = f", or relax {', '.join(f'{name} {value:g}' for name, value in limits.items())}" if limits else ""
            raise InputError(
                f"{path}: not enough negatives were found for any of {len(queries):,} queries. Add documents{others}."
            )
        write_text_columns(temporary, examples, suffix=Path(output).suffix.lower())
    return queries


def _find_negatives(
    model: "BertForSentenceEmbedding",
    positives: Mapping[str, Sequence[str]],
    corpus: Iterable[str],
    *,
    reranker: Reranker | None,
    settings: MiningSettings,
) -> list[MinedQuery]:
    """Finds the negatives of each query in ``positives``, which maps queries to their positive texts."""
    if reranker and not settings.needs_scores:
        raise InputError(
            "a reranker was given, but nothing to compare its scores with. Give max_score, min_score, absolute_margin "
            "or relative_margin, or omit the reranker."
        )
    queries = list(positives)
    documents = list(dict.fromkeys(chain(corpus, *positives.values())))
    indices = {text: index for index, text in enumerate(documents)}
    positive_indices = [[indices[text] for text in positives[query]] for query in queries]
    # A query may be a document, too.
    excluded = [
        {*row, *([indices[query]] if query in indices else [])}
        for query, row in zip(queries, positive_indices, strict=True)
    ]
    max_positives = max(map(len, excluded))
    range_max = settings.resolve_range_max(max_positives, is_reranked=reranker is not None)

    check_memory_for_vectors(len(queries) + len(documents), model.get_sentence_embedding_dimension())
    query_vectors = model.encode_query(queries, normalize_embeddings=True)
    document_vectors = model.encode_document(documents, normalize_embeddings=True)
    similar, scores = search(query_vectors, document_vectors, model.similarity, k=range_max + max_positives)
    is_candidate = [~np.isin(row, list(entries)) for row, entries in zip(similar, excluded, strict=True)]
    candidates = [row[mask] for row, mask in zip(similar, is_candidate, strict=True)]
    if reranker:
        scored = [np.concatenate(rows) for rows in zip(candidates, positive_indices, strict=True)]
        pairs = ((query, documents[index]) for query, row in zip(queries, scored, strict=True) for index in row)
        parts = np.split(reranker.predict(pairs), np.cumsum([len(row) for row in scored])[:-1])
        candidate_scores = [part[: len(row)] for part, row in zip(parts, candidates, strict=True)]
        positive_scores = [part[len(row) :] for part, row in zip(parts, candidates, strict=True)]
    else:
        candidate_scores = [row[mask] for row, mask in zip(scores, is_candidate, strict=True)]
        positive_scores = [
            model.similarity(query_vectors[i], document_vectors[row])[0] for i, row in enumerate(positive_indices)
        ]

    result = []
    for i, query in enumerate(queries):
        lowest = float(positive_scores[i].min())
        negatives = _choose(candidates[i], candidate_scores[i], lowest, settings, range_max=range_max, query=i)
        result.append(MinedQuery(query, tuple(positives[query]), tuple(documents[index] for index in negatives)))
    return result


def _choose(
    candidates: np.ndarray,
    scores: np.ndarray,
    positive: float,
    settings: MiningSettings,
    *,
    range_max: int,
    query: int,
) -> np.ndarray:
    """Returns the negatives among the candidates of a query, the highest score first.

    Args:
        candidates: the indices of documents.
        scores: their scores.
        positive: the lowest score of a positive of the query.
        settings: the settings.
        range_max: that of the settings, or its default.
        query: the index of the query, the seed of its random choice.
    """
    is_eligible = np.ones(len(scores), bool)
    if settings.absolute_margin is not None:
        is_eligible &= scores + settings.absolute_margin <= positive
    if settings.relative_margin is not None:
        is_eligible &= scores <= positive - abs(positive) * settings.relative_margin
    if settings.max_score is not None:
        is_eligible &= scores <= settings.max_score
    if settings.min_score is not None:
        is_eligible &= scores >= settings.min_score
    # Stable, so that documents with equal scores keep their order.
    order = np.argsort(-scores[is_eligible], kind="stable")[settings.range_min : range_max]
    negatives = candidates[is_eligible][order]
    if settings.sampling_strategy == "random" and len(negatives) > settings.num_negatives:
        generator = np.random.default_rng([settings.seed, query])
        negatives = negatives[np.sort(generator.choice(len(negatives), settings.num_negatives, replace=False))]
    return negatives[: settings.num_negatives]


def _collect_positives(columns: Columns) -> dict[str, list[str]]:
    """Returns the distinct positive texts of each distinct query."""
    if "text" not in columns or "positive" not in columns:
        names = ", ".join(repr(name) for name in columns if name != "location")
        raise InputError(
            f"{location(columns, 0)}: pairs of a text and a positive one, without scores, were expected; the columns "
            f"are {names}. Give text and positive."
        )
    positives: dict[str, list[str]] = {}
    for i in range(count_examples(columns, name="pairs")):
        text, positive = (
            check_text(columns[name][i], name=name, location=location(columns, i)) for name in ("text", "positive")
        )
        of_query = positives.setdefault(text, [])
        if positive not in of_query:
            of_query.append(positive)
    return positives
