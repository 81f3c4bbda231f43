"""Next-sentence prediction: whether the second text of a pair follows the first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Outputs, Prediction, Summary, TargetLogit, refuse_target, sort_predictions
from keras_bert_impl.tasks.classification import Classification
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText

# The two classes of the published head. Source: google-research/bert, run_pretraining.py, get_next_sentence_output.
IS_NEXT = "is_next"
LABELS = (IS_NEXT, "not_next")


class NextSentence(Classification):
    """Next-sentence prediction. Files have the labels ``is_next`` and ``not_next``."""

    name: ClassVar[str] = "next-sentence"
    model_name: ClassVar[str] = "BertForNextSentencePrediction"
    problem_type: ClassVar[str | None] = None
    needs_pair: ClassVar[bool] = True
    predicts_label: ClassVar[bool] = False

    def fits(self, config: BertConfig) -> bool:
        """Returns True: this head always has the same labels."""
        return True

    def list_label_names(self, config: BertConfig) -> Sequence[str]:
        """Returns the two labels."""
        return LABELS

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the two labels."""
        return list(LABELS)

    def make_config_changes(self, labels: list[str]) -> dict[str, Any]:
        """Returns no fields: the labels of this head are not in the configuration."""
        return {}

    def from_texts(self, texts: Sequence[str], text_pairs: Sequence[Any] | None = None) -> Columns:
        """Returns columns without labels for pairs of texts.

        Raises:
            InputError: there are no second texts.
        """
        if text_pairs is None:
            raise InputError(
                "there are no second texts; give pairs, to predict whether the second text follows the first."
            )
        return super().from_texts(texts, text_pairs)

    def can_summarize(self, row: "EncodedText") -> bool:
        """Whether there are two texts."""
        return row.text_pair is not None

    def summarize(self, prediction: Prediction) -> Summary:
        """Both labels with their probabilities."""
        return Summary("Second text", sort_predictions(prediction["scores"]))

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logit of the more likely label."""
        return find_next_sentence_target(row, outputs, "logits", target)


def find_next_sentence_target(
    row: "EncodedText", outputs: Outputs, output: str, target: str | None
) -> list[TargetLogit]:
    """Returns the logit of the more likely label in the output of that name."""
    refuse_target(target, "the more likely of the two labels is explained")
    if row.text_pair is None:
        raise InputError("there is one text; give two to explain whether the second follows the first.")
    index = int(outputs[output][0].argmax())
    return [TargetLogit(f"logit of {LABELS[index]!r}", output, index)]
