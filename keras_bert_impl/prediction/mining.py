"""``mine_hard_negatives``: documents that are similar to a query and are not its positives, to train with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_bert_impl.data.table_writer import check_output, write_text_columns
from keras_bert_impl.data.tables import Columns, check_text, count_examples, iterate_texts, location, to_columns
from keras_bert_impl.data.text_columns import iterate_text_columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import open_output
from keras_bert_impl.machine import count_free_memory
from keras_bert_impl.prediction.ranking import Reranker
from keras_bert_impl.tasks.mining import MiningSettings
from keras_bert_impl.tasks.search import search

if TYPE_CHECKING:
    from keras_bert_impl.models import BertForSentenceEmbedding


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
        InputError: the columns contain no pairs, a text is not a string, there is a reranker but no score or margin in
            ``settings``, or the vectors need more memory than is free.

    >>> columns = {"text": ["Who wrote it?"], "positive": ["Virginia Woolf wrote it."]}
    >>> corpus = ["It was written in 1925.", "A plane."]
    >>> settings = MiningSettings(num_negatives=1)
    >>> mine_hard_negatives(model, columns, corpus=corpus, settings=settings)["negatives"]  # doctest: +SKIP
    [['It was written in 1925.']]
    """
    settings = settings or MiningSettings()
    queries = _collect_positives(columns)
    texts = (check_text(text, name="the text", location=f"corpus, text {i}") for i, text in enumerate(corpus, 1))
    found = _find_negatives(model, queries, texts, reranker=reranker, settings=settings)
    return make_examples(found, settings)


def make_examples(found: Sequence[MinedQuery], settings: MiningSettings) -> Columns:
    """Makes training examples of queries with negatives, as columns: see `mine_hard_negatives`.

    >>> make_examples([MinedQuery("a", ("b",), ("c", "d"))], MiningSettings(output_format="labeled-pair"))
    {'text': ['a', 'a', 'a'], 'text_pair': ['b', 'c', 'd'], 'label': ['1', '0', '0']}
    """
    names: tuple[str, ...] = ("text", "positive", "negatives")
    rows: list[tuple[Any, ...]] = []
    for query in found:
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
        path: a table of pairs, as for fine-tuning; negatives in it are not read.
        output: the ``.tsv`` or ``.jsonl`` file to write, which fine-tuning reads.
        columns: names of the columns in ``path``: ``text`` and ``text_pair``.
        corpus: a file with further documents: ``.txt`` with a text per line, or a table.
        corpus_column: name of the column in ``corpus``; a number if it has no header.
        reranker: see `mine_hard_negatives`.
        settings: see `mine_hard_negatives`.

    Returns:
        The queries with their negatives.

    Raises:
        InputError: a file cannot be used, no negatives were found, or see `mine_hard_negatives`.

    >>> found = mine_file(model, "pairs.tsv", "triplets.tsv")  # doctest: +SKIP
    >>> found[0].negatives  # doctest: +SKIP
    ('It was written in 1925.',)
    """
    settings = settings or MiningSettings()
    (pairs,) = to_columns(iterate_text_columns(path, **(columns or {})))
    queries = _collect_positives(pairs)
    texts = list(iterate_texts(corpus, column=corpus_column)) if corpus else []
    check_output(
        output,
        chain(
            *(zip(pairs["location"], pairs[name], strict=True) for name in ("text", "positive")),
            ((f"{corpus}, text {number}", text) for number, text in enumerate(texts, 1)),
        ),
    )
    with open_output(output) as temporary:  # Before the long part, because it checks that the file can be written.
        found = _find_negatives(model, queries, texts, reranker=reranker, settings=settings)
        examples = make_examples(found, settings)
        if all(not query.negatives for query in found) or not examples["text"]:
            raise InputError(
                f"{path}: not enough negatives were found for any of {len(found):,} queries. Add documents, allow "
                "higher scores, or choose a higher range_max."
            )
        write_text_columns(temporary, examples, suffix=Path(output).suffix.lower())
    return found


def _find_negatives(
    model: "BertForSentenceEmbedding",
    positives: Mapping[str, Sequence[str]],
    corpus: Iterable[str],
    *,
    reranker: Reranker | None,
    settings: MiningSettings,
) -> list[MinedQuery]:
    """Finds the negatives of each query, of which ``positives`` has the positive texts."""
    if reranker and not settings.needs_scores:
        raise InputError(
            "a reranker was given, but nothing to compare its scores with. Give max_score, min_score, absolute_margin "
            "or relative_margin, or omit the reranker."
        )
    queries = list(positives)
    documents = list(dict.fromkeys(chain(corpus, *positives.values())))
    numbers = {text: number for number, text in enumerate(documents)}
    own = [[numbers[text] for text in positives[query]] for query in queries]
    # A query may be a document, too.
    excluded = [{*own[i], *([numbers[query]] if query in numbers else [])} for i, query in enumerate(queries)]
    max_positives = max(map(len, excluded))
    range_max = settings.resolve_range_max(max_positives, is_reranked=reranker is not None)

    query_vectors = model.encode_query(queries, normalize_embeddings=True)
    _check_memory(len(documents), query_vectors.shape[1])
    document_vectors = model.encode_document(documents, normalize_embeddings=True)
    similar, scores = search(query_vectors, document_vectors, model.similarity, k=range_max + max_positives)
    is_candidate = [~np.isin(row, list(entries)) for row, entries in zip(similar, excluded, strict=True)]
    candidates = [row[kept] for row, kept in zip(similar, is_candidate, strict=True)]
    if reranker:
        read = [np.concatenate([row, positive]) for row, positive in zip(candidates, own, strict=True)]
        pairs = ((query, documents[number]) for query, row in zip(queries, read, strict=True) for number in row)
        parts = np.split(reranker.predict(pairs), np.cumsum([len(row) for row in read])[:-1])
        candidate_scores = [part[: len(row)] for part, row in zip(parts, candidates, strict=True)]
        own_scores = [part[len(row) :] for part, row in zip(parts, candidates, strict=True)]
    else:
        candidate_scores = [row[kept] for row, kept in zip(scores, is_candidate, strict=True)]
        own_scores = [model.similarity(query_vectors[i], document_vectors[row])[0] for i, row in enumerate(own)]

    result = []
    for i, query in enumerate(queries):
        lowest = float(own_scores[i].min())
        found = _choose(candidates[i], candidate_scores[i], lowest, settings, range_max=range_max, number=i)
        result.append(MinedQuery(query, tuple(positives[query]), tuple(documents[number] for number in found)))
    return result


def _choose(
    candidates: np.ndarray,
    scores: np.ndarray,
    positive: float,
    settings: MiningSettings,
    *,
    range_max: int,
    number: int,
) -> np.ndarray:
    """Returns the negatives among the candidates of a query, the highest score first.

    Args:
        candidates: the numbers of documents.
        scores: their scores.
        positive: the lowest score of a positive of the query.
        settings: the settings.
        range_max: that of the settings, or its default.
        number: the number of the query, for its own random numbers.
    """
    kept = np.ones(len(scores), bool)
    if settings.absolute_margin is not None:
        kept &= scores + settings.absolute_margin <= positive
    if settings.relative_margin is not None:
        kept &= scores <= positive - abs(positive) * settings.relative_margin
    if settings.max_score is not None:
        kept &= scores <= settings.max_score
    if settings.min_score is not None:
        kept &= scores >= settings.min_score
    # Stable, so that documents with equal scores keep their order.
    order = np.argsort(-scores[kept], kind="stable")[settings.range_min : range_max]
    found = candidates[kept][order]
    if settings.sampling_strategy == "random" and len(found) > settings.num_negatives:
        generator = np.random.default_rng([settings.seed, number])
        found = found[np.sort(generator.choice(len(found), settings.num_negatives, replace=False))]
    return found[: settings.num_negatives]


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
        own = positives.setdefault(text, [])
        if positive not in own:
            own.append(positive)
    return positives


def _check_memory(vectors: int, size: int) -> None:
    """Raises ``InputError`` if there is not enough memory for float32 vectors, which `encode` copies once."""
    needed, free = 2 * 4 * vectors * size, count_free_memory()
    if free is not None and needed > free:
        raise InputError(
            f"the vectors of {vectors:,} documents need {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are "
            "free. Use a part of the corpus."
        )
