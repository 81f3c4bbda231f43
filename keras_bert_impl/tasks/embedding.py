"""Text embeddings: a vector per text, the similarity of pairs, and the ranking of documents for queries."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.checkpoints.sentence_modules import read_settings
from keras_bert_impl.checkpoints.sentence_settings import CONFIG_KEY, SentenceSettings
from keras_bert_impl.config import INPUTS, BertConfig
from keras_bert_impl.data.batches import Features, LengthBatches, Ragged
from keras_bert_impl.data.column_batches import ColumnBatches, ColumnFeatures
from keras_bert_impl.data.retrieval import is_beir, iterate_beir
from keras_bert_impl.data.tables import Columns, check_text, location
from keras_bert_impl.data.text_columns import TextRows, iterate_text_columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source
from keras_bert_impl.tasks.base import NO_SUMMARY, Outputs, Prediction, Serving, Summary, TargetLogit, TextTask
from keras_bert_impl.tasks.encoding import check_fit, make_model_inputs, truncate
from keras_bert_impl.tasks.options import EmbeddingOptions
from keras_bert_impl.tasks.regression import compute_correlations, read_numbers
from keras_bert_impl.tasks.retrieval_metrics import compute_retrieval_metrics
from keras_bert_impl.tasks.search import search
from keras_bert_impl.tasks.similarity import SIMILARITIES
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.sentence import open_sentence_tokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText

_OUTPUT = "sentence_embedding"
# The input of the model that excludes tokens of a prompt from the pooling.
POOLING_MASK = "pooling_mask"
# The number of documents in the ranking of each query.
_RANKED = 100


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
    config_keys: ClassVar[tuple[str, ...]] = (CONFIG_KEY,)
    card_note: ClassVar[str] = "sentence-transformers and transformers can load this directory too."
    refusals: ClassVar[Mapping[str, str]] = {
        "explain": "a vector is not a single logit. Explain a model with a head, or see 'keras-bert similar' and "
        "'keras-bert attention'.",
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
        given = {"query": options.query_prompt, "document": options.document_prompt}
        prompts = {name: text for name, text in given.items() if text is not None}
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

    def read_chunks(self, path: str | Path, size: int, *, columns: Mapping[str, str]) -> Iterator[Columns]:
        """Reads a file in chunks; a directory in BEIR's layout at once, so that its corpus is encoded once."""
        return super().read_chunks(path, sys.maxsize if is_beir(path) else size, columns=columns)

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> TextRows:
        """Encodes each distinct text with its prompt as one row.

        Raises:
            InputError: labels without pairs, a label that is not a number, or ``max_length`` exceeds the positions.
        """
        check_fit(tokenizer, config, max_length=max_length, pairs=False)
        scores = np.empty(0, np.float32)
        if "label" in columns:
            if "text_pair" not in columns:
                raise InputError("embeddings are evaluated on pairs of texts with their similarity; give both texts.")
            scores = read_numbers(columns, task=self.name)
        texts = _list_text_columns(columns)
        for name, column in texts.items():
            for i, text in enumerate(column):
                check_text(text, name=name, location=location(columns, i))
        settings = SentenceSettings.from_config(config)
        query, document = _choose_prompts(settings, columns)
        rows: dict[tuple[str, str], int] = {}  # Prompt and text: the number of the row.
        distinct: dict[str, int] = {}  # Text: its number.

        def number(prompt: str, column: Sequence[str]) -> np.ndarray:
            return np.array([rows.setdefault((prompt, text), len(rows)) for text in column], np.int64)

        numbers = [number(query if name == "text" else document, column) for name, column in texts.items()]
        documents = np.empty(0, np.int64)
        if "corpus" in columns:
            documents = number(document, columns["corpus"][0].texts)
        elif "positive" in columns:
            documents = np.unique(numbers[1:])

        prompted = [prompt + text for prompt, text in rows]
        tokenized, truncated = truncate(tokenizer, prompted, None, max_length=max_length)
        inputs = make_model_inputs(tokenized, tokenizer)
        if _uses_pooling_mask(settings):
            excluded = {prompt: count_prompt_tokens(tokenizer, prompt, max_length) for prompt in {query, document}}
            ids = inputs["input_ids"]
            positions = np.arange(len(ids.flat)) - np.repeat(ids.offsets[:-1], ids.lengths)
            is_pooled = positions >= np.repeat([excluded[prompt] for prompt, _ in rows], ids.lengths)
            inputs[POOLING_MASK] = Ragged(is_pooled.astype(np.int32), ids.offsets)
        return TextRows(
            inputs,
            {},
            {},
            example=np.arange(len(rows), dtype=np.int32),
            truncated=truncated,
            columns=np.stack(numbers, axis=1),
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
        """Returns no entries: what counts is measured on all texts together, after each epoch."""
        return {}

    def make_compile_arguments(self, features: Features | None = None) -> dict[str, Any]:
        """The loss for the training data."""
        from keras_bert_impl.tasks.contrastive import make_contrastive_loss

        return {"loss": {_OUTPUT: make_contrastive_loss(self._choose_loss(features), self.options)}}

    def make_trainable(self, model: Any, features: Features) -> Any:
        """Returns `SentenceColumns`, which gives the vectors of each column of the examples.

        Raises:
            InputError: the options do not fit the model or the training data.
        """
        from keras_bert_impl.models.sentence_columns import SentenceColumns

        examples = self._make_examples(features)
        self._choose_loss(features)
        size, dims = model.settings.compute_size(model.config.hidden_size), self.options.matryoshka_dims
        if dims and dims[0] > size:
            raise InputError(f"matryoshka has the size {dims[0]}, but the vectors have {size} numbers. Omit it.")
        return SentenceColumns(model, examples.columns.shape[1], is_merged=examples.merged)

    def make_batches(
        self, features: Features, batch_size: int, *, seed: int, epochs: int, lengths: tuple[int, ...] = ()
    ) -> ColumnBatches:
        """Returns batches of examples. With in-batch negatives no text is twice in a batch.

        Raises:
            InputError: the batches have no negatives.
        """
        examples, unique = self._make_examples(features), self._choose_loss(features) == "multiple-negatives"
        batches = ColumnBatches(examples, batch_size, seed=seed, epochs=epochs, lengths=lengths, unique=unique)
        if unique and examples.columns.shape[1] == 2 and len(examples) < 1.5 * batches.per_epoch:
            problem = f"batch_size is {batch_size}"
            if batch_size > 1:
                problem = f"the batches of the training data have {len(examples) / batches.per_epoch:.1f} pairs"
                problem += f" ({batches.describe().rstrip('.')})" if len(examples) > 1 else ""
            raise InputError(
                f"{problem}: in-batch negatives need at least 2 pairs in a batch. Choose a larger batch_size, or give "
                "more pairs."
            )
        return batches

    def describe_batches(self, batches: LengthBatches) -> str:
        """Returns what it costs that no text is twice in a batch."""
        assert isinstance(batches, ColumnBatches)
        return f"train: {description}" if (description := batches.describe()) else ""

    def _choose_loss(self, features: Features | None) -> str:
        from keras_bert_impl.tasks.contrastive import choose_loss

        assert isinstance(features, TextRows)
        return choose_loss(self.options, features.scores / self.options.label_scale, features.columns.shape[1])

    def _make_examples(self, features: Features) -> ColumnFeatures:
        """Returns the training data by examples; segments are omitted, because they are 0."""
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
            InputError: the outputs are those of an export of an older version.
        """
        if _OUTPUT not in outputs:
            raise InputError(
                f"the export has no output {_OUTPUT!r}: an older version of keras_bert_impl made it, without pooling. "
                "Export the model again."
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
        if not np.isfinite(vectors).all():
            raise InputError("some vectors are not finite: the weights of the model, or its precision, are damaged.")
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
        found = search(vectors[queries], vectors[features.documents[order]], similarity.of_all, k=_RANKED)
        rankings = [
            [{"corpus_id": ids[number], "score": score} for number, score in zip(numbers, scores, strict=True)]
            for numbers, scores in zip(order[found[0]].tolist(), found[1].tolist(), strict=True)
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
    return {**texts, **{f"negatives[{number}]": column for number, column in enumerate(negatives)}}


def _choose_prompts(settings: SentenceSettings, columns: Columns) -> tuple[str, str]:
    """Returns the prompts for the first texts, and for other texts."""
    if "positive" in columns or "corpus" in columns:
        return settings.prompts["query"], settings.prompts["document"]
    default = settings.prompts[settings.default_prompt_name] if settings.default_prompt_name else ""
    return default, default


def _uses_pooling_mask(settings: SentenceSettings) -> bool:
    """Whether the model has prompts whose tokens are not pooled."""
    return not settings.include_prompt and any(settings.prompts.values())


def count_prompt_tokens(tokenizer: BertTokenizer, prompt: str, max_length: int) -> int:
    """Returns the number of tokens at the start of a text that belong to the prompt, ``[CLS]`` included."""
    if not prompt:
        return 0
    (ids,) = tokenizer([prompt], padding=False, truncation=True, max_length=max_length)["input_ids"]
    return len(ids) - 1  # Without [SEP].


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
