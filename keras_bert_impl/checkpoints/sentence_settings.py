"""``SentenceSettings``: the settings that a sentence-transformers directory adds to its BERT."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from keras_bert_impl.checkpoints.names import MAX_SENTENCE_DENSE
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError, check_field, join_names
from keras_bert_impl.vectors.similarity import SIMILARITIES

# The key of `BertConfig.extra` that contains the settings of a model in memory and of an export.
CONFIG_KEY = "sentence_embedding"

# In the order in which sentence-transformers concatenates the vectors if a file has one flag for each mode.
POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

# Activations of dense modules: the name in Keras, and the class in PyTorch.
ACTIVATIONS = {
    "linear": "torch.nn.modules.linear.Identity",
    "tanh": "torch.nn.modules.activation.Tanh",
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "relu": "torch.nn.modules.activation.ReLU",
    "gelu": "torch.nn.modules.activation.GELU",
    "silu": "torch.nn.modules.activation.SiLU",
}


@dataclasses.dataclass(frozen=True)
class DenseSettings:
    """A dense module: a linear layer and an activation.

    Args:
        in_features: size of its input.
        out_features: size of its output.
        bias: whether it has a bias.
        activation: a key of `ACTIVATIONS`.
    """

    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "tanh"

    def __post_init__(self) -> None:
        for name in ("in_features", "out_features"):
            check_field(self, name, _is_size(getattr(self, name)), "an integer above 0")
        check_field(self, "bias", isinstance(self.bias, bool), "true or false")
        check_field(self, "activation", self.activation in ACTIVATIONS, join_names(ACTIVATIONS))


@dataclasses.dataclass(frozen=True)
class SentenceSettings:
    """How texts become vectors: prompts, length, pooling, and the modules after it.

    Args:
        pooling: a pooling mode of `POOLING_MODES`, or several, whose vectors are concatenated.
        include_prompt: whether the tokens of a prompt count in the pooling.
        modules: the modules after the pooling, in their order: ``"normalize"`` for L2 normalization, or the settings of
            a dense module.
        max_seq_length: the maximum number of tokens of a text; None: that of the tokenizer.
        do_lower_case: whether text is lower-cased even if the tokenizer is cased.
        prompts: the prompts by name: texts that are put before a text. ``query`` and ``document`` always exist.
        default_prompt_name: the prompt that is used if none is named.
        similarity_fn_name: how two vectors are compared: ``cosine``, ``dot``, ``euclidean`` or ``manhattan``.
        truncate_dim: how many dimensions of a vector remain; None: all.

    Raises:
        InputError: a value has the wrong type or is unknown, or ``default_prompt_name`` is not a name in ``prompts``.

    Source: https://github.com/huggingface/sentence-transformers

    >>> settings = SentenceSettings(pooling=("cls", "mean"), modules=("normalize",), prompts={"query": "query: "})
    >>> settings.count_dimensions(hidden_size=384)
    768
    >>> settings.prompts
    {'query': 'query: ', 'document': ''}
    """

    pooling: str | Sequence[str] = ("mean",)
    include_prompt: bool = True
    modules: Sequence[DenseSettings | Literal["normalize"]] = ()
    max_seq_length: int | None = None
    do_lower_case: bool = False
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    default_prompt_name: str | None = None
    similarity_fn_name: str = "cosine"
    truncate_dim: int | None = None

    def __post_init__(self) -> None:
        is_named = isinstance(self.pooling, str | Sequence) and len(self.pooling) > 0
        check_field(self, "pooling", is_named, join_names(POOLING_MODES))
        check_field(self, "modules", isinstance(self.modules, Sequence), "a list of modules")
        check_field(self, "prompts", isinstance(self.prompts, Mapping), "an object of names and texts")
        self._normalize_types()
        for mode in self.pooling:
            if mode not in POOLING_MODES:
                raise InputError(f"the pooling mode {mode!r} is unknown; {join_names(POOLING_MODES)} was expected.")
        for module in self.modules:
            if module != "normalize" and not isinstance(module, DenseSettings):
                raise InputError(f"modules contains {module!r}; 'normalize' or DenseSettings was expected.")
        if len(self.dense) > MAX_SENTENCE_DENSE:
            raise InputError(
                f"there are {len(self.dense)} dense modules; at most {MAX_SENTENCE_DENSE} are supported. Use "
                "sentence-transformers for this model."
            )
        for name in ("include_prompt", "do_lower_case"):
            check_field(self, name, isinstance(getattr(self, name), bool), "true or false")
        for name in ("max_seq_length", "truncate_dim"):
            value = getattr(self, name)
            check_field(self, name, value is None or _is_size(value), "null or an integer above 0")
        texts = [*self.prompts, *self.prompts.values()]
        check_field(self, "prompts", all(isinstance(text, str) for text in texts), "an object of names and texts")
        if self.default_prompt_name is not None and self.default_prompt_name not in self.prompts:
            raise InputError(
                f"default_prompt_name is {self.default_prompt_name!r}, which is not one of the prompts "
                f"{', '.join(map(repr, self.prompts))}. Correct the name, or add the prompt."
            )
        known = self.similarity_fn_name in SIMILARITIES
        check_field(self, "similarity_fn_name", known, join_names(SIMILARITIES))

    def _normalize_types(self) -> None:
        """Converts the values of a JSON file to the types of the fields; a prompt that is null or missing is empty."""
        modules = [
            _make_settings(DenseSettings, module) if isinstance(module, Mapping) else module for module in self.modules
        ]
        texts = {name: "" if text is None else text for name, text in self.prompts.items()}
        object.__setattr__(self, "pooling", (self.pooling,) if isinstance(self.pooling, str) else tuple(self.pooling))
        object.__setattr__(self, "modules", tuple(modules))
        object.__setattr__(self, "prompts", {"query": "", "document": "", **texts})

    @classmethod
    def from_config(cls, config: BertConfig) -> "SentenceSettings":
        """Returns the settings in ``config.extra``; the defaults if it has none.

        Raises:
            InputError: ``config.extra`` has something else under the key of the settings.
        """
        return _make_settings(cls, config.extra.get(CONFIG_KEY, {}))

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as a JSON object, for ``config.extra``."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        modules = [module if isinstance(module, str) else dataclasses.asdict(module) for module in self.modules]
        return {**values, "pooling": list(self.pooling), "modules": modules, "prompts": dict(self.prompts)}

    def add_to(self, config: BertConfig) -> BertConfig:
        """Returns the configuration with these settings in ``extra``."""
        return dataclasses.replace(config, extra={**config.extra, CONFIG_KEY: self.to_dict()})

    def change_head(self, *, pooling: str | Sequence[str] | None, normalize: bool | None) -> "SentenceSettings":
        """Returns the settings with another pooling, and with or without a final L2 normalization; None: unchanged."""
        modules = self.modules
        if normalize is not None:
            modules = [module for module in modules if module != "normalize"] + ["normalize"] * normalize
        return dataclasses.replace(self, pooling=self.pooling if pooling is None else pooling, modules=modules)

    @property
    def dense(self) -> list[DenseSettings]:
        """The dense modules, in their order."""
        return [module for module in self.modules if isinstance(module, DenseSettings)]

    def get_document_prompt(self, advice: str) -> str:
        """Returns the prompt of documents: ``document``, as in sentence-transformers, also if it is empty.

        Args:
            advice: the end of the warning: what the user can do.

        Warns:
            UserWarning: it is empty, and the files have ``passage`` or ``corpus`` instead.
        """
        others = [name for name in ("passage", "corpus") if self.prompts.get(name)]
        if others and not self.prompts["document"]:
            warnings.warn(
                f"the model has the prompt {others[0]!r} but no 'document', so documents get no prompt, as in "
                f"sentence-transformers. {advice}",
                stacklevel=4,
            )
        return self.prompts["document"]

    def count_dimensions(self, hidden_size: int) -> int:
        """Returns the number of dimensions of the vectors with this hidden size, before ``truncate_dim``."""
        return self.dense[-1].out_features if self.dense else len(self.pooling) * hidden_size

    def resolve_max_length(self, config: BertConfig, tokenizer_length: int | None) -> int:
        """Returns the maximum number of tokens of a text, special tokens included, at most the model's positions.

        Args:
            config: the configuration of the model.
            tokenizer_length: ``model_max_length`` of the tokenizer, which is used if ``max_seq_length`` is None.
        """
        length = self.max_seq_length or tokenizer_length or config.max_position_embeddings
        return min(length, config.max_position_embeddings)


def _make_settings(settings_class: Any, values: Any) -> Any:
    """Makes settings from a JSON object in ``config.json``, which a later version may have written."""
    if not isinstance(values, Mapping):
        raise InputError(f"config.json: {CONFIG_KEY} is {values!r:.200}; an object with settings was expected.")
    known = [field.name for field in dataclasses.fields(settings_class)]
    if unknown := [name for name in values if name not in known]:
        raise InputError(
            f"config.json: {CONFIG_KEY} has the unknown key {unknown[0]!r}; known are {', '.join(known)}. Use the "
            "version of keras_bert_impl that wrote the file, or remove the key."
        )
    needed = [field.name for field in dataclasses.fields(settings_class) if _is_needed(field)]
    if missing := [name for name in needed if name not in values]:
        raise InputError(
            f"config.json: {CONFIG_KEY} contains {dict(values)!r:.200}, without {join_names(missing)}. Add it, or use "
            "the config.json that keras_bert_impl wrote."
        )
    return settings_class(**values)


def _is_needed(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
