"""``BertConfig``: the sizes and settings of a BERT, under the names of the published ``config.json``."""

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError, check_field
from keras_bert_impl.files import read_json, to_json
from keras_bert_impl.keras_formats import convert_config, read_config
from keras_bert_impl.sources import ADAPTER_MODEL_CONFIG, Source, open_source

# Layers, hidden size and heads of the sizes that Turc et al. 2019 (arXiv:1908.08962) and Devlin et al. 2018 published.
PRESETS = {
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
    "large": (24, 1024, 16),
}

# The inputs of a model for one row of tokens.
INPUTS = ("input_ids", "token_type_ids", "attention_mask")

# A file must have these keys: with default sizes, the model would not match the file's weights.
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)

# Keys that select features which these layers do not implement, and the supported values.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({}, []),
}

# PEFT's names of tasks in `adapter_config.json`, and the model classes.
ADAPTER_TASKS = {
    "SEQ_CLS": "BertForSequenceClassification",
    "TOKEN_CLS": "BertForTokenClassification",
    "QUESTION_ANS": "BertForQuestionAnswering",
    "FEATURE_EXTRACTION": "BertModel",
}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes and settings of a BERT. Its fields are the keys of ``config.json``; its defaults are those of base uncased.

    Args:
        vocab_size: number of tokens in the vocabulary.
        hidden_size: size of the hidden states, a multiple of ``num_attention_heads``.
        num_hidden_layers: number of encoder blocks.
        num_attention_heads: heads in each block.
        intermediate_size: size of the hidden layer of the feed-forward.
        hidden_act: activation of the feed-forward and of the masked-LM head; ``gelu`` is the exact one, with erf.
        hidden_dropout_prob: dropout on embeddings and on the output of each sublayer.
        attention_probs_dropout_prob: dropout on the attention probabilities.
        max_position_embeddings: maximum length of a sequence in tokens.
        type_vocab_size: number of segments.
        initializer_range: standard deviation of the truncated normal for new weights.
        layer_norm_eps: epsilon of the layer norms, added to the variance.
        pad_token_id: the id of padding.
        classifier_dropout: dropout before the classification heads; None means ``hidden_dropout_prob``.
        tie_word_embeddings: whether the masked-LM decoder is the word embedding matrix.
        id2label: the name of each label.
        problem_type: the type of the task, such as ``regression`` or ``single_label_classification``; or None.
        extra: other keys of the file; they are written back.

    Raises:
        InputError: a value has the wrong type or range, contradicts another, or asks for something unsupported.

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
    id2label: Mapping[int, str] = dataclasses.field(default_factory=lambda: _make_label_names(2), hash=False)
    problem_type: str | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for key in (*_SIZES, "type_vocab_size"):
            check_field(self, key, _is_int(getattr(self, key)) and getattr(self, key) > 0, "an integer above 0")
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
            self.problem_type is None or isinstance(self.problem_type, str),
            "null or a string",
        )
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}: "
                "the heads divide the hidden size equally."
            )
        labels = _read_names(self.id2label)
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
        """The names of the model classes in the file; empty if it does not name them."""
        return tuple(self.extra.get("architectures") or ())

    @property
    def num_labels(self) -> int:
        """The number of labels, which is the length of ``id2label``."""
        return len(self.id2label)

    @property
    def label2id(self) -> dict[str, int]:
        """The inverse of ``id2label``."""
        return {name: number for number, name in self.id2label.items()}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "BertConfig":
        """Returns the configuration of a published size, ``tiny`` to ``large``; keywords change other fields."""
        if name not in PRESETS:
            raise InputError(f"No preset is named {name!r}; the presets are {', '.join(PRESETS)}.")
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
        """Reads the object of a ``config.json``. It must have the sizes; unknown keys go to ``extra``.

        Warns:
            UserWarning: ``num_labels`` contradicts ``id2label``; ``num_labels`` is used, as in transformers.
        """
        values = dict(values)
        missing = [key for key in _SIZES if key not in values]
        if missing:
            raise InputError(
                f"the configuration lacks {', '.join(missing)}; the config.json of a BERT was expected, which has "
                "these sizes."
            )
        values.pop("label2id", None)
        labels = read_labels(values.pop("id2label", None), values.pop("num_labels", None))
        known = {field.name for field in dataclasses.fields(cls)} - {"extra", "id2label"}
        fields = {key: values.pop(key) for key in list(values) if key in known}
        # In old files null means the default.
        fields = {key: value for key, value in fields.items() if value is not None or key == "classifier_dropout"}
        return cls(**fields, id2label=labels, extra=values)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Source,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> "BertConfig":
        """Reads a configuration.

        Args:
            source: a directory, a bundled model, a hub name, or a JSON file itself.
            revision: branch, tag or commit of a hub name.
            subfolder: the folder of the files in a directory or in a repository of the hub.
            token: the access token for the hub; None: that of ``HF_TOKEN`` or of ``hf auth login``.
            cache_dir: the directory of downloads; None: the cache of huggingface_hub.

        Raises:
            InputError: the source or its configuration is missing, or it is not that of a supported BERT.
        """
        if isinstance(source, str | Path) and Path(source).suffix == ".json" and Path(source).is_file():
            path = Path(source)
            values = convert_config(read_json(path), Source(str(path), directory=path.parent), path)
        else:
            opened = open_source(source, revision, subfolder=subfolder, token=token, cache_dir=cache_dir)
            path, values = read_config(opened)
            values |= _read_adapter_changes(opened, path, values)
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def check_tokenizer(self, vocab_size: int) -> None:
        """Raises ``InputError`` if a tokenizer of this size has more tokens than the model."""
        if vocab_size > self.vocab_size:
            raise InputError(
                f"the tokenizer has {vocab_size} tokens, but the model's vocabulary has {self.vocab_size}. "
                "Use the tokenizer that belongs to the model. If you added tokens, give the model embeddings for them: "
                "model.resize_token_embeddings(len(tokenizer))."
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns all keys for a ``config.json``, including the unknown ones of ``extra``."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "extra"}
        values["id2label"] = dict(self.id2label)
        values["label2id"] = self.label2id
        return {"model_type": "bert", **values, **self.extra}

    def __str__(self) -> str:
        return to_json(self.to_dict()).rstrip()


def _read_adapter_changes(source: Source, path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what an adapter changes in the configuration ``values`` of its base.

    PEFT does not write a configuration, so the number of labels is that of the classifier in the adapter.
    """
    if source.base is None or path.name == ADAPTER_MODEL_CONFIG:
        return {}
    changes: dict[str, Any] = {}
    if source.adapter_task in ADAPTER_TASKS:
        changes["architectures"] = [ADAPTER_TASKS[source.adapter_task]]
    if weights := source.find_own_file("adapter_model.safetensors"):
        from keras_bert_impl.tensor_files import read_safetensors

        bias = read_safetensors(weights).tensors.get("base_model.model.classifier.bias")
        if bias is not None and len(bias) != len(read_labels(values.get("id2label"), values.get("num_labels"))):
            changes |= {"id2label": None, "num_labels": len(bias)}
    return changes


def map_layers(layers: int, larger: int) -> list[int]:
    """Maps the layers of a model uniformly to those of a larger one.

    Returns:
        for each of the hidden states, from the embeddings (0) to the last layer, the number of the hidden state of the
        larger model.

    >>> map_layers(3, 12)
    [0, 4, 8, 12]
    """
    return [round(number * larger / layers) for number in range(layers + 1)]


def _make_label_names(count: int) -> dict[int, str]:
    return {number: f"LABEL_{number}" for number in range(count)}


def read_labels(id2label: Any, num_labels: Any) -> dict[int, str]:
    """Returns the names of labels by their ids, from the values of a file or of an argument.

    Args:
        id2label: the names in any form, see `_read_names`; None: they have no names.
        num_labels: the number of labels; None: that of the names, or 2.

    Raises:
        InputError: one of them cannot be used.

    Warns:
        UserWarning: the names are not as many as the number says.
    """
    if num_labels is not None and not (_is_int(num_labels) and num_labels > 0):
        raise InputError(f"num_labels is {num_labels!r}; an integer above 0 was expected.")
    if id2label is None:
        return _make_label_names(2 if num_labels is None else num_labels)
    labels = _read_names(id2label)
    if num_labels is not None and num_labels != len(labels):
        warnings.warn(
            f"num_labels is {num_labels}, but id2label has {len(labels)} labels: {num_labels} labels are used, "
            "named by their numbers.",
            stacklevel=4,
        )
        return _make_label_names(num_labels)
    return dict(sorted(labels.items()))


def _read_names(id2label: Any) -> dict[int, Any]:
    """Returns the names of labels by their ids, from any of the forms that occur in files.

    These are a list of names; an object of ids and names, which may be numbers too; and an object of names and ids.
    """
    if isinstance(id2label, list | tuple):
        id2label = dict(enumerate(id2label))
    if not isinstance(id2label, Mapping):
        raise InputError(f"id2label is {id2label!r}; an object of ids and names was expected.")
    try:
        labels = {int(number): name for number, name in id2label.items()}
    except ValueError as error:
        if not all(map(_is_int, id2label.values())):
            raise InputError(f"id2label has the keys {list(id2label)}; integers were expected.") from error
        labels = {number: name for name, number in id2label.items()}
    return {number: str(name) if _is_int(name) else name for number, name in labels.items()}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or isinstance(value, float)
