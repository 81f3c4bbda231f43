"""``BertConfig``: the sizes and settings of a BERT, under the names of the published ``config.json``."""

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError, check_field
from keras_bert_impl.files import read_json, to_json
from keras_bert_impl.sources import Source, open_source

# Layers, hidden size and heads of the sizes that Turc et al. 2019 (arXiv:1908.08962) and Devlin et al. 2018 published.
PRESETS = {
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
    "large": (24, 1024, 16),
}

# Google's directories hold the same keys under the second name.
FILE_NAMES = ("config.json", "bert_config.json")

# A file must state these: a default in their place would build another model than the file's.
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)

# Settings that change the computation in ways which these layers do not have: key, the values that mean "not used".
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, []),
}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes and settings of a BERT; the fields are the keys of ``config.json``, the defaults those of base uncased.

    Args:
        vocab_size: number of tokens in the vocabulary.
        hidden_size: width of the hidden states; the heads divide it.
        num_hidden_layers: number of encoder blocks.
        num_attention_heads: heads in each block.
        intermediate_size: width inside the feed-forward.
        hidden_act: activation of the feed-forward and of the masked-LM head: ``gelu`` is the exact one (with erf).
        hidden_dropout_prob: dropout on embeddings and on the output of each sublayer.
        attention_probs_dropout_prob: dropout on the attention probabilities.
        max_position_embeddings: longest sequence in tokens.
        type_vocab_size: number of segments.
        initializer_range: standard deviation of the truncated normal for new weights.
        layer_norm_eps: what the layer norms add to the variance.
        pad_token_id: the id that fills batches.
        classifier_dropout: dropout before the classification heads; None means ``hidden_dropout_prob``.
        tie_word_embeddings: whether the masked-LM decoder is the word embedding matrix.
        id2label: the name of each label.
        problem_type: ``regression``, ``single_label_classification`` or None.
        extra: other keys of the file, kept for writing back.

    Raises:
        InputError: a value has the wrong type or range, contradicts another, or asks for what is not supported.

    Source: https://arxiv.org/abs/1810.04805; key names from the published ``bert_config.json`` files.

    >>> config = BertConfig.preset("tiny", vocab_size=8000)
    >>> config.num_hidden_layers, config.hidden_size, config.intermediate_size
    (2, 128, 512)
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    classifier_dropout: float | None = None
    tie_word_embeddings: bool = True
    id2label: Mapping[int, str] = dataclasses.field(default_factory=lambda: _label_names(2), hash=False)
    problem_type: str | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for key in (*_SIZES, "type_vocab_size"):
            check_field(self, key, _is_int(getattr(self, key)) and getattr(self, key) > 0, "a whole number above 0")
        for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            check_field(
                self, key, _is_number(getattr(self, key)) and 0 <= getattr(self, key) < 1, "a number from 0 to below 1"
            )
        for key in ("initializer_range", "layer_norm_eps"):
            check_field(self, key, _is_number(getattr(self, key)) and getattr(self, key) > 0, "a number above 0")
        check_field(self, "hidden_act", isinstance(self.hidden_act, str), "the name of an activation")
        check_field(self, "tie_word_embeddings", isinstance(self.tie_word_embeddings, bool), "true or false")
        dropout = self.classifier_dropout
        check_field(
            self,
            "classifier_dropout",
            dropout is None or (_is_number(dropout) and 0 <= dropout < 1),
            "null or a number from 0 to below 1",
        )
        check_field(
            self,
            "pad_token_id",
            _is_int(self.pad_token_id) and 0 <= self.pad_token_id < self.vocab_size,
            f"an id of the vocabulary, 0 to {self.vocab_size - 1}",
        )
        check_field(
            self,
            "problem_type",
            self.problem_type in (None, "regression", "single_label_classification"),
            "null, regression or single_label_classification",
        )
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}: "
                "every head gets an equal share of the hidden size."
            )
        labels = self.id2label
        if sorted(labels) != list(range(len(labels))) or not all(isinstance(name, str) for name in labels.values()):
            raise InputError(f"id2label is {dict(labels)}; a name for each of the ids 0, 1, 2 … was expected.")
        object.__setattr__(self, "id2label", dict(sorted(labels.items())))
        for key, unused in _UNSUPPORTED.items():
            if key in self.extra and self.extra[key] is not None and self.extra[key] not in unused:
                raise InputError(
                    f"{key} {self.extra[key]!r} is not supported: this package computes BERT encoders with "
                    f"{key} {unused[0]!r} only."
                )

    @property
    def architectures(self) -> tuple[str, ...]:
        """The names of the model classes that the file was written by; empty if it does not say."""
        return tuple(self.extra.get("architectures") or ())

    @property
    def num_labels(self) -> int:
        """Number of labels, the length of ``id2label``."""
        return len(self.id2label)

    @property
    def label2id(self) -> dict[str, int]:
        """``id2label`` the other way round."""
        return {name: number for number, name in self.id2label.items()}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "BertConfig":
        """The configuration of a published size, ``tiny`` to ``large``, with other fields changed by keyword."""
        if name not in PRESETS:
            raise InputError(f"No preset is named {name!r}; there are {', '.join(PRESETS)}.")
        layers, hidden, heads = PRESETS[name]
        sizes = {
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "num_attention_heads": heads,
            "intermediate_size": 4 * hidden,
        }
        return cls(**{**sizes, **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BertConfig":
        """Reads the object of a ``config.json``. Sizes must be there; unknown keys go to ``extra``.

        Warns:
            UserWarning: ``num_labels`` contradicts ``id2label``; ``num_labels`` wins, as in transformers.
        """
        values = dict(values)
        lacking = [key for key in _SIZES if key not in values]
        if lacking:
            raise InputError(f"the configuration lacks {', '.join(lacking)}; a BERT config.json states these sizes.")
        values.pop("label2id", None)
        labels = _read_labels(values.pop("id2label", None), values.pop("num_labels", None))
        known = {field.name for field in dataclasses.fields(cls)} - {"extra", "id2label"}
        fields = {key: values.pop(key) for key in list(values) if key in known}
        # Old files write null where they mean the default.
        fields = {key: value for key, value in fields.items() if value is not None or key == "classifier_dropout"}
        return cls(**fields, id2label=labels, extra=values)

    @classmethod
    def from_pretrained(cls, source: str | Path | Source, *, revision: str | None = None) -> "BertConfig":
        """Reads the configuration of a directory, a bundled model or a hub name, or a JSON file itself.

        Raises:
            InputError: nothing there, no configuration in it, or one that is not a supported BERT's.
        """
        path: Path | None
        if isinstance(source, str | Path) and Path(source).suffix == ".json" and Path(source).is_file():
            path = Path(source)
        else:
            opened = source if isinstance(source, Source) else open_source(source, revision=revision)
            path = next((found for name in FILE_NAMES if (found := opened.file(name))), None)
            if path is None:
                raise InputError(f"{opened.name} holds neither {' nor '.join(FILE_NAMES)}: it is no BERT checkpoint.")
        values = read_json(path)
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """All keys for a ``config.json``, the kept unknown ones included."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "extra"}
        values["id2label"] = dict(self.id2label)
        values["label2id"] = self.label2id
        return {"model_type": "bert", **values, **self.extra}

    def __str__(self) -> str:
        return to_json(self.to_dict()).rstrip()


def _label_names(count: int) -> dict[int, str]:
    return {number: f"LABEL_{number}" for number in range(count)}


def _read_labels(id2label: Any, num_labels: Any) -> dict[int, str]:
    """The label names of a file, whose JSON has the ids as strings."""
    if num_labels is not None and not (_is_int(num_labels) and num_labels > 0):
        raise InputError(f"num_labels is {num_labels!r}; a whole number above 0 was expected.")
    if id2label is None:
        return _label_names(2 if num_labels is None else num_labels)
    if not isinstance(id2label, Mapping):
        raise InputError(f"id2label is {id2label!r}; an object of ids and names was expected.")
    try:
        labels = {int(number): name for number, name in id2label.items()}
    except ValueError as error:
        raise InputError(f"id2label has a key that is no whole number: {list(id2label)}.") from error
    if num_labels is not None and num_labels != len(labels):
        warnings.warn(
            f"num_labels is {num_labels} beside an id2label of {len(labels)}: {num_labels} labels are taken, "
            "with names made from their numbers.",
            stacklevel=4,
        )
        return _label_names(num_labels)
    return dict(sorted(labels.items()))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or isinstance(value, float)
