"""Which model classes a checkpoint is for."""

from collections.abc import Iterable, Sequence

from keras_bert_impl.checkpoints.names import published_name
from keras_bert_impl.checkpoints.readers import read_tensors
from keras_bert_impl.config import BertConfig
from keras_bert_impl.models.base import BertPreTrainedModel
from keras_bert_impl.models.bert import BertModel
from keras_bert_impl.models.classification import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from keras_bert_impl.models.pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from keras_bert_impl.sources import Source

# What the names of a head's tensors start with. A class that holds more comes before one that holds less.
_HEADS: tuple[tuple[type[BertPreTrainedModel], tuple[str, ...]], ...] = (
    (BertForPreTraining, ("cls.predictions.", "cls.seq_relationship.")),
    (BertForMaskedLM, ("cls.predictions.",)),
    (BertForNextSentencePrediction, ("cls.seq_relationship.",)),
    (BertForQuestionAnswering, ("qa_outputs.",)),
    (BertForSequenceClassification, ("classifier.",)),
    (BertForTokenClassification, ("classifier.",)),
    (BertForMultipleChoice, ("classifier.",)),
)


def head_classes(names: Iterable[str], architectures: Sequence[str] = ()) -> list[type[BertPreTrainedModel]]:
    """The model classes that together have every head of a checkpoint; none if it is a backbone alone.

    Args:
        names: the names of its tensors, in any spelling.
        architectures: what its configuration says. It settles what a ``classifier`` is for; else one beside a pooler is
            for sequences, one without for tokens.

    >>> names = ["bert.pooler.dense.bias", "cls.predictions.bias", "classifier.bias"]
    >>> [model.__name__ for model in head_classes(names)]
    ['BertForMaskedLM', 'BertForSequenceClassification']
    >>> [model.__name__ for model in head_classes(names, ["BertForTokenClassification"])]
    ['BertForMaskedLM', 'BertForTokenClassification']
    """
    left = {published_name(name) for name in names}
    with_pooler = any(name.startswith("pooler.") for name in left)
    chosen = []
    # A stable sort: only the classes of a classifier change places.
    by_choice = sorted(_HEADS, key=lambda head: "classifier." in head[1] and head[0].__name__ not in architectures)
    for model, prefixes in by_choice:
        fits = all(any(name.startswith(prefix) for name in left) for prefix in prefixes)
        if fits and (with_pooler or not model.has_pooler):
            chosen.append(model)
            left = {name for name in left if not name.startswith(prefixes)}
    return chosen


def class_of(source: Source) -> type[BertPreTrainedModel]:
    """The class that takes the most of a checkpoint: the first of its heads, or the backbone.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    architectures = BertConfig.from_pretrained(source).extra.get("architectures") or ()
    return (head_classes(read_tensors(source), architectures) or [BertModel])[0]
