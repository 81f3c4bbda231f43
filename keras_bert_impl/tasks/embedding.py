"""Text embeddings: vectors of texts from the encoder."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import NO_SUMMARY, Outputs, Prediction, Serving, Summary, TargetLogit, TextTask
from keras_bert_impl.tasks.encoding import check_fit, make_model_inputs, truncate
from keras_bert_impl.tasks.regression import compute_correlations, read_numbers
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText


class Embedding(TextTask):
    """Text embeddings from the encoder, without training; for pairs, the cosine similarity of their means.

    The mean over the last hidden states of all tokens, special ones included, is the pooling of sentence-transformers.
    """

    name: ClassVar[str] = "embedding"
    model_name: ClassVar[str] = "BertModel"
    main_metric: ClassVar[str] = "spearman"
    graph: ClassVar[str] = "vectors"
    needs_head: ClassVar[bool] = False  # The vectors do not depend on the pooler.
    refusals: ClassVar[Mapping[str, str]] = {
        "finetune": "train for a task with labels, such as '--task regression' for the similarity of pairs, or adapt "
        "the model to your texts with '--task masked-lm'.",
        "explain": "a vector is not a single logit. Explain a model with a head, or see 'keras-bert similar' and "
        "'keras-bert attention'.",
    }

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes each text as one row; the rows of second texts follow those of all first texts.

        Raises:
            InputError: labels without pairs, a label that is not a number, or ``max_length`` exceeds the positions.
        """
        check_fit(tokenizer, config, max_length=max_length, pairs=False)
        pairs = columns.get("text_pair", [])
        if "label" in columns:
            if not pairs:
                raise InputError("embeddings are evaluated on pairs of texts with their similarity; give both texts.")
            read_numbers(columns)
        rows, truncated = truncate(tokenizer, [*columns["text"], *pairs], None, max_length=max_length)
        example = np.arange(len(rows["input_ids"]), dtype=np.int32) % len(columns["text"])
        return Features(make_model_inputs(rows, tokenizer), {}, {}, example=example, truncated=truncated)

    def make_loss(self) -> dict[str, Any]:
        """Returns no entries: the encoder alone is not trained."""
        return {}

    def make_metrics(self) -> dict[str, Any]:
        """Returns no entries: the encoder alone is not trained."""
        return {}

    def reduce(
        self, outputs: Outputs, inputs: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """Pools the states of all tokens: ``mean`` and ``cls``, ``[rows, hidden]``."""
        states = np.asarray(outputs["last_hidden_state"])
        weights = inputs["attention_mask"][:, :, None].astype(np.float32)
        return {"mean": (states * weights).sum(axis=1) / weights.sum(axis=1), "cls": states[:, 0]}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per text the vectors ``mean`` and ``cls``; per pair the ``cosine`` similarity of the means."""
        count = len(columns["text"])
        if "text_pair" in columns:
            vectors = outputs["mean"].astype(np.float64)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            cosines = (vectors[:count] * vectors[count:]).sum(axis=1)
            return [{"cosine": cosine} for cosine in cosines.tolist()]
        vectors = zip(outputs["mean"].tolist(), outputs["cls"].tolist(), strict=True)
        return [{"mean": mean, "cls": cls} for mean, cls in vectors]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """Correlations of the cosine similarities with the labels; see `compute_correlations`."""
        return compute_correlations([prediction["cosine"] for prediction in predictions], columns)

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``mean`` and ``cls``, float32 ``[batch, hidden]``."""
        from keras import ops

        states = outputs["last_hidden_state"]
        weights = ops.cast(outputs["attention_mask"], "float32")[:, :, None]
        return {
            "mean": ops.sum(states * weights, axis=1) / ops.sum(weights, axis=1),
            "cls": states[:, 0],
        }

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
