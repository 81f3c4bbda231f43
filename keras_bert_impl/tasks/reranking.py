"""Reranking: a score for a query and a document, which a cross-encoder reads together."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features
from keras_bert_impl.data.tables import Columns, location
from keras_bert_impl.data.text_columns import iterate_text_columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Outputs, Prediction, Serving, Summary, TargetLogit, TextTask, refuse_target
from keras_bert_impl.tasks.classification import SequenceTask
from keras_bert_impl.tasks.encoding import sigmoid
from keras_bert_impl.tasks.options import RerankingOptions
from keras_bert_impl.tasks.regression import compute_correlations, read_numbers
from keras_bert_impl.tasks.reranking_keys import ACTIVATION_KEYS, SIGMOID, has_sigmoid, is_cross_encoder
from keras_bert_impl.tasks.retrieval_metrics import compute_reranking_metrics
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText


class Reranking(SequenceTask):
    """Reranking with a cross-encoder: a score for a query (the first text) and a document (the second).

    Labels of training data are numbers from 0, not relevant, to 1; the loss is the binary cross entropy of the logit.
    Labels of data for evaluation are gains: they may be graded, such as 0 to 3.

    Args:
        options: the options of training.
    """

    name: ClassVar[str] = "reranking"
    pipeline_tag: ClassVar[str | None] = "text-ranking"
    main_metric: ClassVar[str] = "ndcg@10"
    needs_pair: ClassVar[bool] = True
    file_columns: ClassVar[tuple[str, ...]] = TextTask.file_columns
    config_keys: ClassVar[tuple[str, ...]] = (*SequenceTask.config_keys, *ACTIVATION_KEYS)
    card_note: ClassVar[str] = "transformers, and sentence-transformers as a CrossEncoder, can load this directory too."

    options: RerankingOptions

    def __init__(self, options: RerankingOptions | None = None) -> None:
        super().__init__(options or RerankingOptions())

    def fits(self, config: BertConfig) -> bool:
        """Whether the configuration has one label and the activation of a cross-encoder."""
        return is_cross_encoder(config)

    def check_config(self, config: BertConfig, source: Any) -> None:
        """Checks that there is one label; see `Task.check_config`."""
        if config.num_labels != 1:
            raise InputError(
                f"{source} has {config.num_labels} labels; reranking needs a cross-encoder, which has one. Name a "
                "cross-encoder, or train one: keras-bert finetune --task reranking."
            )

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a table with a query, a document and a label; see `iterate_text_columns` for the names of columns."""
        for example in iterate_text_columns(path, labeled=labeled, **columns):
            if labeled and "label" not in example:
                raise InputError(
                    f"{example['location']}: there is no label; a column 'label' or 'score' with numbers from 0 to 1 "
                    "was expected. Say which column it is with --label-column."
                )
            yield example

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes each pair as one row; long rows are truncated, or become windows over the second text.

        Raises:
            InputError: there are no second texts, a label is not a number, or ``max_length`` exceeds the model's
                positions.
        """
        if "text_pair" not in columns:
            raise InputError(f"{location(columns, 0)}: there is one text; a query and a document were expected.")
        return super().encode(columns, tokenizer, config, max_length=max_length)

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the name of the only output; checks the labels.

        Raises:
            InputError: a label is not a number from 0 to 1.
        """
        for i, label in enumerate(read_numbers(columns, task=self.name) / self.options.label_scale):
            if not 0 <= label <= 1:
                raise InputError(
                    f"{location(columns, i)}: the label {columns['label'][i]!r} is not from 0 to "
                    f"{self.options.label_scale:g}. Correct it, or divide all labels with --label-scale."
                )
        return ["LABEL_0"]

    def make_config_extra(self, columns: Columns, *, max_length: int) -> dict[str, Any]:
        """Adds the activation, by which sentence-transformers and `fits` recognize a cross-encoder."""
        extra = super().make_config_extra(columns, max_length=max_length)
        return {**extra, ACTIVATION_KEYS[0]: {"activation_fn": SIGMOID}}

    def read_labels(self, columns: Columns, config: BertConfig) -> np.ndarray:
        """Returns the labels divided by the option ``label_scale``, float32 ``[examples, 1]``.

        Raises:
            InputError: a label is not a number, or is negative.
        """
        labels = read_numbers(columns, task=self.name)
        if (negative := np.flatnonzero(labels < 0)).size:
            i = int(negative[0])
            raise InputError(
                f"{location(columns, i)}: the label {columns['label'][i]!r} is negative; a number from 0 (not "
                "relevant) was expected. Correct it."
            )
        return labels[:, None] / np.float32(self.options.label_scale)

    def make_loss(self) -> dict[str, Any]:
        """Returns the binary cross entropy of the logits."""
        from keras_bert_impl.tasks.losses import BinaryCrossEntropy

        return {"logits": BinaryCrossEntropy(float(self.options.pos_weight))}

    def make_metrics(self) -> dict[str, Any]:
        """Returns the binary cross entropy of the logits, in which all labels have the same weight."""
        import keras

        return {"logits": [keras.metrics.BinaryCrossentropy(from_logits=True, name="cross_entropy")]}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the divergence of the probabilities of the label."""
        from keras_bert_impl.tasks.losses import SoftenedBinaryKLDivergence

        return {"logits": SoftenedBinaryKLDivergence(temperature)}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per pair its ``score``: the logit, or its sigmoid, as the configuration says."""
        logits = outputs["logits"][:, 0].astype(np.float64)
        scores = sigmoid(logits) if has_sigmoid(config) else logits
        return [{"score": score} for score in scores.tolist()]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """Metrics of the ranking of each query's documents if queries have two or more of them on average.

        See `compute_reranking_metrics`. Otherwise correlations with the labels; see `compute_correlations`.
        """
        scores = [prediction["score"] for prediction in predictions]
        queries: dict[str, tuple[list[float], list[float]]] = {}
        for text, label, score in zip(columns["text"], columns["label"], scores, strict=True):
            labels, of_query = queries.setdefault(text, ([], []))
            labels.append(float(label))
            of_query.append(score)
        if len(scores) < 2 * len(queries):
            return compute_correlations(scores, columns)
        return compute_reranking_metrics(list(queries.values()))

    def get_main_metric(self, scores: Mapping[str, float]) -> str:
        """Returns ``ndcg@10``, or ``spearman`` for pairs that are not documents of the same query."""
        return self.main_metric if self.main_metric in scores else "spearman"

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``score``, float32 ``[batch]``: the logit, or its sigmoid, as the configuration says."""
        from keras import ops

        logits = outputs["logits"][:, 0]
        return {"score": ops.sigmoid(logits) if has_sigmoid(serving.config) else logits}

    def can_summarize(self, row: "EncodedText") -> bool:
        """Whether there are two texts."""
        return row.text_pair is not None

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the score."""
        return Summary("Score", [(f"{prediction['score']:.3f}", None)])

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logit of the score."""
        refuse_target(target, "the only score that the model computes is explained")
        if row.text_pair is None:
            raise InputError("there is one text; give a query and a document to explain their score.")
        return [TargetLogit("logit of the score", "logits", 0)]
