"""The table of model classes, and functions that find the classes of a checkpoint."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keras_bert_impl.checkpoints.names import to_torch_names
from keras_bert_impl.checkpoints.sentence_modules import is_sentence_directory
from keras_bert_impl.checkpoints.weight_files import read_tensors
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.base import BertPreTrainedModel
from keras_bert_impl.models.bert import BertModel
from keras_bert_impl.models.classification import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from keras_bert_impl.models.pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from keras_bert_impl.models.sentence_embedding import BertForSentenceEmbedding
from keras_bert_impl.sources import Source


@dataclass(frozen=True)
class Output:
    """One output of a model class.

    Attributes:
        title: its name in reports.
        per_token: whether it has one entry per token; otherwise it has one per sequence.
    """

    title: str
    per_token: bool


@dataclass(frozen=True)
class Head:
    """One row of `HEADS`: a model class with its head.

    Attributes:
        model_class: the class.
        prefixes: how the names of the head's tensors start in checkpoints; empty for the backbone.
        outputs: the outputs that the class adds to the backbone's hidden states, by name.
    """

    model_class: type[BertPreTrainedModel]
    prefixes: tuple[str, ...]
    outputs: Mapping[str, Output]


_MASKED_LM = Output("masked-LM logits", per_token=True)
_NEXT_SENTENCE = Output("next-sentence logits", per_token=False)
_ANSWER_START = Output("answer starts", per_token=True)
_ANSWER_END = Output("answer ends", per_token=True)

# By class name. A class with more heads comes before one with fewer.
HEADS: dict[str, Head] = {
    head.model_class.__name__: head
    for head in (
        Head(
            BertForPreTraining,
            ("cls.predictions.", "cls.seq_relationship."),
            {"prediction_logits": _MASKED_LM, "seq_relationship_logits": _NEXT_SENTENCE},
        ),
        Head(BertForMaskedLM, ("cls.predictions.",), {"logits": _MASKED_LM}),
        Head(BertForNextSentencePrediction, ("cls.seq_relationship.",), {"logits": _NEXT_SENTENCE}),
        Head(
            BertForQuestionAnswering,
            ("qa_outputs.",),
            {
                "start_logits": _ANSWER_START,
                "end_logits": _ANSWER_END,
            },
        ),
        Head(BertForSequenceClassification, ("classifier.",), {"logits": Output("label logits", per_token=False)}),
        Head(BertForTokenClassification, ("classifier.",), {"logits": Output("label logits", per_token=True)}),
        Head(BertForMultipleChoice, ("classifier.",), {"logits": Output("choice logits", per_token=False)}),
        Head(BertForSentenceEmbedding, (), {"sentence_embedding": Output("sentence embedding", per_token=False)}),
        Head(BertModel, (), {"pooler_output": Output("pooler", per_token=False)}),
    )
}


def get_model_class(name: str) -> type[BertPreTrainedModel]:
    """Returns the model class of that name.

    Raises:
        InputError: there is none.
    """
    if name not in HEADS:
        raise InputError(f"No model class is named {name!r}; the classes are {', '.join(HEADS)}.")
    return HEADS[name].model_class


def find_named_class(architectures: Sequence[str]) -> type[BertPreTrainedModel] | None:
    """Returns the first of the model classes that a configuration names; None if there is none."""
    return next((HEADS[name].model_class for name in architectures if name in HEADS), None)


def find_head_classes(names: Iterable[str], architectures: Sequence[str] = ()) -> list[type[BertPreTrainedModel]]:
    """Returns the model classes that together cover every head of a checkpoint; none for a backbone alone.

    Args:
        names: the names of the checkpoint's tensors, in any published spelling.
        architectures: the class names in its configuration. They decide which class a ``classifier`` belongs to;
            without them, a checkpoint with a pooler classifies sequences, and one without a pooler classifies tokens.

    >>> names = ["bert.pooler.dense.bias", "cls.predictions.bias", "classifier.bias"]
    >>> [model.__name__ for model in find_head_classes(names)]
    ['BertForMaskedLM', 'BertForSequenceClassification']
    >>> [model.__name__ for model in find_head_classes(names, ["BertForTokenClassification"])]
    ['BertForMaskedLM', 'BertForTokenClassification']
    """
    remaining = set(to_torch_names(list(names)).values())
    has_pooler = any(name.startswith("pooler.") for name in remaining)
    # Classes that share a prefix: the one that the configuration names comes first. The sort is stable.
    shared = [head.prefixes for head in HEADS.values()]
    order = sorted(HEADS.items(), key=lambda item: shared.count(item[1].prefixes) > 1 and item[0] not in architectures)
    classes = []
    for _, head in order:
        is_there = all(any(name.startswith(prefix) for name in remaining) for prefix in head.prefixes)
        if head.prefixes and is_there and (has_pooler or not head.model_class.has_pooler):
            classes.append(head.model_class)
            remaining = {name for name in remaining if not name.startswith(head.prefixes)}
    return classes


def find_model_with(model_class: type[BertPreTrainedModel], source: Source) -> type[BertPreTrainedModel]:
    """Returns the class of a checkpoint if it has the heads of ``model_class`` and more; else ``model_class``.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    found = find_model_class(source)
    prefixes = HEADS[model_class.__name__].prefixes
    return found if set(prefixes) <= set(HEADS[found.__name__].prefixes) else model_class


def find_model_class(source: Source) -> type[BertPreTrainedModel]:
    """Returns the class that uses the largest part of a checkpoint: that of its first head, or the backbone.

    For a directory of sentence-transformers, it is ``BertForSentenceEmbedding``; for an adapter the class that the
    adapter names, because its base may have other heads.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    architectures = BertConfig.from_pretrained(source).architectures
    # The second: a `.keras` file. It has no tensor that only this class has.
    if is_sentence_directory(source) or architectures == (BertForSentenceEmbedding.__name__,):
        return BertForSentenceEmbedding
    if source.base is not None and (named := find_named_class(architectures)):
        return named
    return (find_head_classes(read_tensors(source), architectures) or [BertModel])[0]
