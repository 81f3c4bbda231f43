"""Pretraining: masked words and the next sentence, both heads of the paper."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features
from keras_bert_impl.data.tables import Columns, iterate_table
from keras_bert_impl.tasks.base import Outputs, Prediction, Summary, TargetLogit, TextTask, sort_predictions
from keras_bert_impl.tasks.encoding import choose_label, softmax
from keras_bert_impl.tasks.masked_lm import MaskedLM
from keras_bert_impl.tasks.next_sentence import LABELS, find_next_sentence_target
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText

_NEXT_SENTENCE = "seq_relationship_logits"


class Pretraining(MaskedLM):
    """Both objectives of pretraining: predicts masked words, and for pairs whether the second text follows the first.

    It is trained by ``keras-bert pretrain``, on shards.

    >>> sorted(Pretraining().make_compile_arguments()["loss"])  # doctest: +SKIP
    ['prediction_logits', 'seq_relationship_logits']
    """

    name: ClassVar[str] = "pretraining"
    pipeline_tag: ClassVar[str | None] = "fill-mask"
    model_name: ClassVar[str] = "BertForPreTraining"
    file_columns: ClassVar[tuple[str, ...]] = ("text", "text_pair")
    text_columns: ClassVar[tuple[str, ...]] = ("text", "text_pair")
    output: ClassVar[str] = "prediction_logits"
    refusals: ClassVar[Mapping[str, str]] = {
        "finetune": "'keras-bert pretrain' trains both heads; '--task masked-lm' or '--task next-sentence' trains one.",
        "evaluate": "evaluate one head, with '--task masked-lm' or '--task next-sentence'.",
    }

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a ``.txt`` file with a text per line, or a table of texts or pairs; without labels."""
        if Path(str(path)).suffix.lower() == ".txt":
            return super().read_examples(path, labeled=False, **columns)
        return iterate_table(path, labeled=False, **columns)

    from_texts = TextTask.from_texts

    def make_loss(self) -> dict[str, Any]:
        """Returns the mean cross entropy of each head; the total loss is their sum, as in the paper."""
        from keras_bert_impl.tasks.losses import MeanCrossEntropy

        return {self.output: MeanCrossEntropy(), _NEXT_SENTENCE: MeanCrossEntropy()}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the divergence of the probabilities of each head."""
        from keras_bert_impl.tasks.losses import SoftenedKLDivergence

        return {name: SoftenedKLDivergence(temperature) for name in (self.output, _NEXT_SENTENCE)}

    def make_metrics(self) -> dict[str, Any]:
        """Perplexity or cross entropy, and the fraction of correct predictions, of each head."""
        from keras_bert_impl.tasks.losses import CrossEntropy, make_accuracy

        return {**super().make_metrics(), _NEXT_SENTENCE: [CrossEntropy(), make_accuracy()]}

    def reduce(
        self, outputs: Outputs, inputs: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """Keeps the most likely tokens, and the logits of the next-sentence head."""
        return {**super().reduce(outputs, inputs, labels), _NEXT_SENTENCE: np.asarray(outputs[_NEXT_SENTENCE])}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per example ``masks`` as in masked-lm; for pairs ``label``, ``score`` and ``scores`` as in next-sentence."""
        predictions = super().decode(outputs, features, columns, config)
        if "text_pair" in columns:
            for prediction, probabilities in zip(predictions, softmax(outputs[_NEXT_SENTENCE]).tolist(), strict=True):
                prediction |= choose_label(LABELS, probabilities)
        return predictions

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the masked words if there are some, else whether the second text follows."""
        if prediction["masks"] or "scores" not in prediction:
            return super().summarize(prediction)
        return Summary("Second text", sort_predictions(prediction["scores"]))

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logits at each ``[MASK]`` if there are some, else that of the next-sentence head."""
        if row.text_pair is not None and tokenizer.mask_token_id not in row.inputs["input_ids"]:
            return find_next_sentence_target(row, outputs, _NEXT_SENTENCE, target)
        return super().find_targets(row, outputs, tokenizer, config, target)


def summarize_logs(logs: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics of Keras' logs under shorter names, such as ``masked_loss`` and ``perplexity``.

    Those of the next sentence are missing if the model has the masked-LM head alone.
    """
    # Keras omits the name of the output if there is only one.
    (masked,) = (name.removesuffix("perplexity") for name in logs if re.search("^(?!val_).*perplexity$", name))
    perplexity = float(logs[f"{masked}perplexity"])
    summary = {
        "masked_loss": float(np.log(perplexity)),
        "perplexity": perplexity,
        "masked_accuracy": float(logs[f"{masked}accuracy"]),
    }
    if f"{_NEXT_SENTENCE}_accuracy" in logs:
        summary["next_sentence_loss"] = float(logs[f"{_NEXT_SENTENCE}_cross_entropy"])
        summary["next_sentence_accuracy"] = float(logs[f"{_NEXT_SENTENCE}_accuracy"])
    return summary
