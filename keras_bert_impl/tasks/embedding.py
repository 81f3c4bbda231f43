"""Text embeddings: a vector per text, the similarity of pairs, and the ranking of documents for queries."""

import dataclasses
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.checkpoints.sentence_modules import read_settings
from keras_bert_impl.checkpoints.sentence_settings import CONFIG_KEY, SentenceSettings
from keras_bert_impl.config import INPUTS, BertConfig
from keras_bert_impl.data.batches import Features, LengthBatches
from keras_bert_impl.data.column_batches import ColumnBatches, ColumnFeatures
from keras_bert_impl.data.retrieval import is_beir, iterate_beir
from keras_bert_impl.data.tables import Columns, check_text, location
from keras_bert_impl.data.text_columns import iterate_text_columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.machine import check_memory_for_vectors
from keras_bert_impl.sources import Source
from keras_bert_impl.tasks.base import NO_SUMMARY, Outputs, Prediction, Serving, Summary, TargetLogit, TextTask
from keras_bert_impl.tasks.encoding import (
    POOLING_MASK,
    check_finite,
    check_fit,
    count_prompt_tokens,
    make_model_inputs,
    make_pooling_mask,
    truncate,
)
from keras_bert_impl.tasks.options import EmbeddingOptions
from keras_bert_impl.tasks.regression import compute_correlations, read_numbers
from keras_bert_impl.tasks.retrieval_metrics import CUTOFFS, compute_retrieval_metrics
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.sentence import open_sentence_tokenizer
from keras_bert_impl.vectors.search import search
from keras_bert_impl.vectors.similarity import SIMILARITIES

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText

_OUTPUT = "sentence_embedding"
# The number of documents in the ranking of each query.
_RANKED = max(k for counts in CUTOFFS.values() for k in counts)
# Groups of rows by length in batches that are not chosen by length: with 3, XQuAD's paragraphs have 27 % fewer tokens.
_GROUPS = 3
# What to do if a model has no prompt for documents, but one of another name.
_PROMPT_ADVICE = (
    "Add 'document' to config_sentence_transformers.json, or give finetune the option --document-prompt, which may be "
    "empty."
)


@dataclasses.dataclass(frozen=True)
class TextRows(Features):
    """Features with a row per distinct text, and where the columns of the examples find their rows.

    Args:
        columns: int64 ``[examples, columns]``, the rows of the first texts, the second texts, and the negatives.
        documents: int64 ``[documents]``, the rows of the documents that are ranked for each first text; may be empty.
        scores: float32 ``[examples]``, the scores of pairs; empty if there are none.
        texts: int64 ``[rows]``, the same index for rows of the same text with different prompts.
    """

    columns: np.ndarray = dataclasses.field(kw_only=True)
    documents: np.ndarray = dataclasses.field(kw_only=True)
    scores: np.ndarray = dataclasses.field(kw_only=True)
    texts: np.ndarray = dataclasses.field(kw_only=True)


class Embedding(TextTask):
    """Sentence embeddings, as sentence-transformers computes them.

    Columns of examples: ``text`` alone for vectors; ``text`` and ``text_pair``, perhaps with ``label``, for the
    similarity of pairs; ``text`` and ``positive``, perhaps with ``negatives`` (a list per example), for texts and
    documents that they should find; or ``text`` and ``corpus``, see `read_beir`. Texts that find documents get the
    prompt ``query`` of the model, documents get ``document``, and other texts get the default prompt.
    """

    name: ClassVar[str] = "embedding"
    model_name: ClassVar[str] = "BertForSentenceEmbedding"
    main_metric: ClassVar[str] = "spearman"
    graph: ClassVar[str] = "vectors"
    pipeline_tag: ClassVar[str | None] = "sentence-similarity"
    config_keys: ClassVar[tuple[str, ...]] = (CONFIG_KEY,)
    card_note: ClassVar[str] = "sentence-transformers and transformers can load this directory too."
    refusals: ClassVar[Mapping[str, str]] = {
        "explain": "a vector is not a single logit. Explain a model with a head, or see 'keras-bert similar' and "
        "'keras-bert attention'.",
        "strings": "'model.encode(texts)' computes vectors, and 'keras_bert_impl.training.finetune' trains them, "
        "because the loss compares texts with each other.",
    }

    def __init__(self, options: EmbeddingOptions | None = None) -> None:
        self.options = options or EmbeddingOptions()

    # -- the model

    @property
    def architectures(self) -> tuple[str, ...]:
        """The class of this package, and the class that sentence-transformers writes."""
        return (self.model_name, "BertModel")

    def read_config(self, source: Source, config: BertConfig) -> BertConfig:
        """Adds the settings in the files of sentence-transformers, unless ``config.json`` has them, as in exports.

        The options of the task replace some of them.

        Warns:
            UserWarning: there are no such files and no option ``pooling``; mean pooling is used.
        """
        if CONFIG_KEY in config.extra:
            return config
        options = self.options
        settings = read_settings(source, config, pooling=options.pooling, normalize=options.normalize)
        chosen = {"query": options.query_prompt, "document": options.document_prompt}
        prompts = {name: text for name, text in chosen.items() if text is not None}
        return dataclasses.replace(settings, prompts={**settings.prompts, **prompts}).add_to(config)

    def open_tokenizer(self, source: Source, config: BertConfig) -> BertTokenizer:
        """Reads the tokenizer, which lower-cases texts if the settings say so."""
        return open_sentence_tokenizer(source, do_lower_case=SentenceSettings.from_config(config).do_lower_case)

    def resolve_max_length(self, config: BertConfig, tokenizer: BertTokenizer, max_length: int | None) -> int:
        """Returns ``max_length``, or for None the ``max_seq_length`` of the settings."""
        settings = SentenceSettings.from_config(config)
        return settings.resolve_max_length(config, tokenizer.model_max_length) if max_length is None else max_length

    # -- examples

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a table, see `iterate_text_columns`, or a directory in BEIR's layout, see `read_beir`."""
        if not is_beir(path):
            return iterate_text_columns(path, labeled=labeled, **columns)
        if columns:
            raise InputError(f"files in BEIR's layout have no named columns; omit {', '.join(sorted(columns))}.")
        return iterate_beir(path, labeled=labeled)

    def read_chunks(
        self, data: Any, size: int, *, columns: Mapping[str, str] | None = None, name: str = "the data"
    ) -> Iterator[Columns]:
        """Reads data in chunks; a directory in BEIR's layout at once, so that its corpus is encoded once."""
        return super().read_chunks(data, sys.maxsize if is_beir(data) else size, columns=columns, name=name)

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> TextRows:
        """Encodes each distinct text with its prompt as one row.

        Raises:
            InputError: labels without pairs, a label that is not a number, ``max_length`` exceeds the positions, or the
                vectors of a corpus need more memory than is free.

        Warns:
            UserWarning: the model has a prompt for documents with another name than ``document``.
        """
        check_fit(tokenizer, config, max_length=max_length, pairs=False)
        scores = np.empty(0, np.float32)
        if "label" in columns:
            if "text_pair" not in columns:
                raise InputError(
                    f"{location(columns, 0)}: there is a label, but no second text; pairs of texts with their "
                    "similarity were expected. Give both texts."
                )
            scores = read_numbers(columns, task=self.name)
        texts = _list_text_columns(columns)
        for name, column in texts.items():
            for i, text in enumerate(column):
                check_text(text, name=name, location=location(columns, i))
        settings = SentenceSettings.from_config(config)
        query, document = self._choose_prompts(settings, columns)
        rows: dict[tuple[str, str], int] = {}  # Prompt and text: the index of the row.
        distinct: dict[str, int] = {}  # Text: its index.

        def find_rows(prompt: str, column: Sequence[str]) -> np.ndarray:
            return np.array([rows.setdefault((prompt, text), len(rows)) for text in column], np.int64)

        row_columns = [find_rows(query if name == "text" else document, column) for name, column in texts.items()]
        documents = np.empty(0, np.int64)
        if "corpus" in columns:
            count = len(columns["corpus"][0]) + len(columns["text"])
            check_memory_for_vectors(count, settings.count_dimensions(config.hidden_size))
            documents = find_rows(document, columns["corpus"][0].texts)
        elif "positive" in columns:
            documents = np.unique(row_columns[1:])

        prompted = [prompt + text for prompt, text in rows]
        tokenized, truncated = truncate(tokenizer, prompted, None, max_length=max_length)
        inputs = make_model_inputs(tokenized, tokenizer)
        if _uses_pooling_mask(settings):
            excluded = {prompt: count_prompt_tokens(tokenizer, prompt, max_length) for prompt in {query, document}}
            inputs[POOLING_MASK] = make_pooling_mask(inputs["input_ids"], [excluded[prompt] for prompt, _ in rows])
        return TextRows(
            inputs,
            {},
            {},
            example=np.arange(len(rows), dtype=np.int32),
            truncated=truncated,
            columns=np.stack(row_columns, axis=1),
            documents=documents,
            scores=scores,
            texts=np.array([distinct.setdefault(text, len(distinct)) for _, text in rows], np.int64),
        )

    # -- training

    def make_config_changes(self, labels: list[str]) -> dict[str, Any]:
        """Returns no fields: a vector has no labels."""
        return {}

    def make_loss(self) -> dict[str, Any]:
        """Returns no entries: the loss depends on the training data, see `make_compile_arguments`."""
        return {}

    def make_metrics(self) -> dict[str, Any]:
        """Returns no entries: the metrics need all texts together, and are computed after each epoch."""
        return {}

    def make_compile_arguments(
        self, features: Features | None = None, config: BertConfig | None = None
    ) -> dict[str, Any]:
        """The loss for the training data."""
        from keras_bert_impl.tasks.contrastive import make_contrastive_loss

        return {"loss": {_OUTPUT: make_contrastive_loss(self._choose_loss(features), self.options)}}

    def make_trainable(self, model: Any, features: Features) -> Any:
        """Returns `SentenceColumns`, which gives the vectors of each column of the examples.

        Raises:
            InputError: the options do not fit the model or the training data.

        Warns:
            UserWarning: ``matryoshka`` lacks the size of the complete vectors, which are then not trained.
        """
        from keras_bert_impl.models.sentence_columns import SentenceColumns

        examples = self._make_examples(features)
        groups = _GROUPS if self._has_random_batches(features) else 1
        dimensions, sizes = model.settings.count_dimensions(model.config.hidden_size), self.options.matryoshka_dims
        if sizes and sizes[0] > dimensions:
            raise InputError(
                f"matryoshka has the size {sizes[0]}, but the vectors have {dimensions} dimensions. Omit it."
            )
        if sizes and sizes[0] < dimensions:
            warnings.warn(
                f"matryoshka is {self.options.matryoshka}: the complete vectors, of {dimensions} dimensions, are not "
                f"trained. Add {dimensions} if they are used.",
                stacklevel=2,
            )
        return SentenceColumns(model, examples.columns.shape[1], is_merged=examples.is_merged, groups=groups)

    def make_batches(
        self, features: Features, batch_size: int, *, seed: int, epochs: int, lengths: tuple[int, ...] = ()
    ) -> ColumnBatches:
        """Returns batches of examples. With in-batch negatives no text is twice in a batch.

        Raises:
            InputError: the batches have no negatives.
        """
        examples, unique = self._make_examples(features), self._has_random_batches(features)
        batches = ColumnBatches(examples, batch_size, seed=seed, epochs=epochs, lengths=lengths, unique=unique)
        if unique and examples.columns.shape[1] == 2 and len(examples) < 1.5 * batches.per_epoch:
            needed = "in-batch negatives need at least 2 pairs in a batch"
            if batch_size == 1:
                raise InputError(f"batch_size is 1; {needed}. Choose a larger batch_size.")
            if len(examples) == 1:
                raise InputError(f"the training data has 1 pair; {needed}. Give more pairs.")
            raise InputError(
                f"in the training data, {batches.describe().rstrip('.')}; {needed}. Give more pairs with other texts, "
                "or remove pairs with this text."
            )
        return batches

    def describe_batches(self, batches: LengthBatches) -> str:
        """Returns how the batches changed because no text is twice in a batch; empty if they did not."""
        assert isinstance(batches, ColumnBatches)
        return f"train: {description}" if (description := batches.describe()) else ""

    def _choose_prompts(self, settings: SentenceSettings, columns: Columns) -> tuple[str, str]:
        """Returns the prompts for the first texts, and for other texts."""
        if "positive" in columns or "corpus" in columns:
            is_chosen = self.options.document_prompt is not None
            document = settings.prompts["document"] if is_chosen else settings.get_document_prompt(_PROMPT_ADVICE)
            return settings.prompts["query"], document
        default = settings.prompts[settings.default_prompt_name] if settings.default_prompt_name else ""
        return default, default

    def _has_random_batches(self, features: Features) -> bool:
        """Whether the batches are not chosen by length, because the texts of a batch are negatives of each other."""
        return self._choose_loss(features) == "multiple-negatives"

    def _choose_loss(self, features: Features | None) -> str:
        from keras_bert_impl.tasks.contrastive import choose_loss

        assert isinstance(features, TextRows)
        return choose_loss(self.options, features.scores / self.options.label_scale, features.columns.shape[1])

    def _make_examples(self, features: Features) -> ColumnFeatures:
        """Returns the training data by examples, without ``token_type_ids``, because they are 0."""
        assert isinstance(features, TextRows)
        if features.columns.shape[1] < 2:
            raise InputError(
                "embeddings are trained on pairs of texts or triplets, and the training data has no second texts. A "
                "directory in BEIR's layout is for evaluation only."
            )
        count, scores = len(features.columns), features.scores
        labels = scores / self.options.label_scale if len(scores) else np.zeros(count, np.float32)
        return ColumnFeatures(
            {name: values for name, values in features.inputs.items() if name != "token_type_ids"},
            {_OUTPUT: labels.astype(np.float32)},
            {},
            np.arange(count, dtype=np.int32),
            columns=features.columns,
            texts=features.texts[features.columns],
        )

    # -- prediction

    def reduce(
        self, outputs: Outputs, inputs: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """Returns the vectors.

        Raises:
            InputError: the outputs are those of an export for another task, or of an older version.
        """
        if _OUTPUT not in outputs:
            raise InputError(
                f"the export has no output {_OUTPUT!r}: it was made for another task, or by an older version of "
                "keras_bert_impl without pooling. Export the model again, for embedding."
            )
        return {_OUTPUT: outputs[_OUTPUT]}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per text its ``embedding``; per pair the ``similarity``; per query the ``ranking`` of documents.

        A ranking has the ``corpus_id`` and the ``score`` of the 100 most similar documents. The id of a document in
        ``positive`` or ``negatives`` is its text.

        Raises:
            InputError: a vector is not finite.
        """
        assert isinstance(features, TextRows)
        settings = SentenceSettings.from_config(config)
        similarity = SIMILARITIES[settings.similarity_fn_name]
        vectors = outputs[_OUTPUT][:, : settings.truncate_dim]
        is_finite = np.isfinite(vectors).all(axis=1)
        check_finite(is_finite[features.columns].all(axis=1), name="example")
        check_finite(is_finite[features.documents], name="document")
        first = features.columns[:, 0]
        if "text_pair" in columns:
            similarities = similarity.of_pairs(vectors[first], vectors[features.columns[:, 1]])
            return [{"similarity": value} for value in similarities.tolist()]
        if not len(features.documents):
            return [{"embedding": vector} for vector in vectors[first].tolist()]
        # Documents with equal scores are in the order of their ids.
        ids = _list_document_ids(features, columns)
        order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
        queries, inverse = np.unique(first, return_inverse=True)
        indices, similarities = search(
            vectors[queries], vectors[features.documents[order]], similarity.of_all, k=_RANKED
        )
        rankings = [
            [{"corpus_id": ids[index], "score": score} for index, score in zip(*ranking, strict=True)]
            for ranking in zip(order[indices].tolist(), similarities.tolist(), strict=True)
        ]
        names = [{"query_id": id} for id in columns["query_id"]] if "query_id" in columns else [{}] * len(first)
        return [{**name, "ranking": rankings[i]} for name, i in zip(names, inverse.tolist(), strict=True)]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """Correlations of similarities with the labels of pairs, or metrics of the rankings.

        See `compute_correlations` and `compute_retrieval_metrics`. Examples with the same text are one query, for which
        all their positive texts are relevant.

        Raises:
            InputError: there are neither labels nor relevant documents.
        """
        if "label" in columns:
            return compute_correlations([prediction["similarity"] for prediction in predictions], columns)
        relevant: dict[str, dict[str, int]] = {}
        if "relevant" in columns:
            queries = columns["query_id"]
            relevant = dict(zip(queries, columns["relevant"], strict=True))
        elif "positive" in columns:
            queries = columns["text"]
            for text, positive in zip(queries, columns["positive"], strict=True):
                relevant.setdefault(text, {})[positive] = 1
        else:
            raise InputError(
                "embeddings are evaluated on pairs of texts with their similarity (text_pair and label), on texts with "
                "positive texts (positive), or on a corpus with relevant documents; the columns are "
                f"{', '.join(columns)}."
            )
        rankings = {
            query: [(entry["corpus_id"], entry["score"]) for entry in prediction["ranking"]]
            for query, prediction in zip(queries, predictions, strict=True)
        }
        return compute_retrieval_metrics(rankings, relevant)

    def get_main_metric(self, scores: Mapping[str, float]) -> str:
        """Returns ``spearman`` for pairs with labels, and ``ndcg@10`` for rankings."""
        return self.main_metric if self.main_metric in scores else "ndcg@10"

    # -- exports

    def limit_length(self, config: BertConfig, max_length: int) -> BertConfig:
        """Returns the configuration with this ``max_seq_length``."""
        return dataclasses.replace(SentenceSettings.from_config(config), max_seq_length=max_length).add_to(config)

    def list_export_inputs(self, config: BertConfig) -> tuple[str, ...]:
        """Returns the usual inputs, and ``pooling_mask`` if the pooling excludes prompts."""
        return (*INPUTS, POOLING_MASK) if _uses_pooling_mask(SentenceSettings.from_config(config)) else INPUTS

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``sentence_embedding``, float32 ``[batch, size]``."""
        return {_OUTPUT: outputs[_OUTPUT][:, : SentenceSettings.from_config(serving.config).truncate_dim]}

    # -- views

    def can_summarize(self, row: "EncodedText") -> bool:
        """False: a vector has no summary."""
        return False

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns `NO_SUMMARY`."""
        return NO_SUMMARY

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns no targets: see ``refusals``."""
        return []


def _list_text_columns(columns: Columns) -> dict[str, Sequence[str]]:
    """Returns the columns of texts by name: the first texts, then the second texts, then each negative."""
    texts: dict[str, Sequence[str]] = {
        name: columns[name] for name in ("text", "text_pair", "positive") if name in columns
    }
    negatives = zip(*columns["negatives"], strict=True) if "negatives" in columns else ()
    return {**texts, **{f"negatives[{index}]": column for index, column in enumerate(negatives)}}


def _uses_pooling_mask(settings: SentenceSettings) -> bool:
    """Whether the model has prompts whose tokens are not pooled."""
    return not settings.include_prompt and any(settings.prompts.values())


def _list_document_ids(features: TextRows, columns: Columns) -> Sequence[str]:
    """Returns the ids of the ranked documents."""
    if "corpus" in columns:
        return columns["corpus"][0].ids
    _, *others = _list_text_columns(columns).values()
    texts = {
        row: text
        for rows, column in zip(features.columns.T[1:].tolist(), others, strict=True)
        for row, text in zip(rows, column, strict=True)
    }
    return [texts[row] for row in features.documents.tolist()]
