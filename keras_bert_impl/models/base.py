"""Base class of all BERT models: inputs, backbone, loading and saving."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from keras_bert_impl.checkpoints.adapters import Adapter, is_backbone, write_adapter
from keras_bert_impl.checkpoints.matching import TIED, LoadReport, make_state_dict, match_tensors
from keras_bert_impl.checkpoints.weight_files import FILE_DTYPES, cast_checked, read_tensors, write_tensors
from keras_bert_impl.config import ADAPTER_TASKS, INPUTS, BertConfig, read_labels
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import make_directory, to_json, write_text
from keras_bert_impl.keras_formats import list_differences
from keras_bert_impl.layers import BertAttentionBias, BertEmbeddings, BertEncoder, BertPooler
from keras_bert_impl.models.cache import CACHE
from keras_bert_impl.models.hub import HubMixin
from keras_bert_impl.models.lora import LoraMixin
from keras_bert_impl.models.multi_worker import MultiWorkerMixin
from keras_bert_impl.models.resizing import ResizeMixin
from keras_bert_impl.models.texts import TextsMixin, holds_strings
from keras_bert_impl.models.tree import format_tree
from keras_bert_impl.sources import ADAPTER_MODEL_CONFIG, Source, open_source
from keras_bert_impl.tokenization import BertTokenizer

# The layers of a model by the names of their attributes; and tensors by the names of inputs or outputs.
Parts = dict[str, keras.layers.Layer]
Tensors = dict[str, Any]


class _PrecomputedEmbeddings:
    """Takes the place of the embeddings in a graph whose input is their output."""

    def __init__(self, embeddings: BertEmbeddings, output: Any) -> None:
        self.word_embeddings = embeddings.word_embeddings  # The masked-LM decoder is tied to them.
        self._output = output

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self._output


class BertPreTrainedModel(TextsMixin, LoraMixin, ResizeMixin, HubMixin, MultiWorkerMixin, keras.Model):
    """A functional Keras model constructed from a ``BertConfig``.

    A subclass defines its inputs, the layers of its head (``make_head``) and how they connect (``connect``). All inputs
    but ``input_ids`` are optional: a dictionary of inputs may omit them.

    Args:
        config: the configuration.
        output_hidden_states: whether the outputs include ``hidden_states``, the ``num_hidden_layers + 1`` states
            ``[batch, length, hidden]`` from the embeddings on.
        output_attentions: whether the outputs include ``attentions``, ``num_hidden_layers`` tensors
            ``[batch, heads, queries, keys]``.
        dtype: a Keras dtype or policy: ``float32``, ``mixed_bfloat16``, ``bfloat16`` …; None takes Keras' global one.
        parts: the layers of another model, to share them; None creates new ones.

    Inputs, int ``[batch, length]`` unless noted:
        input_ids: ids of the vocabulary.
        token_type_ids: segments; default 0.
        attention_mask: 1 for tokens, 0 for padding; default 1.
        position_ids: default 0, 1, 2 …
        sequence_ids: for packed rows, the number of the sequence that a token belongs to, 0 for padding; default: one
            sequence per row.

    `fit`, `evaluate` and `predict` also take strings, if the model has a tokenizer and its class is that of a task.
    """

    input_names: ClassVar[tuple[str, ...]] = (
        "input_ids",
        "token_type_ids",
        "attention_mask",
        "position_ids",
        "sequence_ids",
    )
    input_rank: ClassVar[int] = 2
    has_pooler: ClassVar[bool] = True
    checkpoint_prefix: ClassVar[str] = "bert."

    def __init__(
        self,
        config: BertConfig | Mapping[str, Any],
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        dtype: Any = None,
        parts: Parts | None = None,
        **kwargs: Any,
    ) -> None:
        config = config if isinstance(config, BertConfig) else BertConfig.from_dict(config)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        parts = parts if parts is not None else {**self.make_backbone(config, policy), **self.make_head(config, policy)}
        inputs = {
            name: keras.Input((None,) * (self.input_rank - 1), dtype="int32", name=name, optional=name != "input_ids")
            for name in self.input_names
        }
        extra = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        super().__init__(inputs=inputs, outputs=self.connect(parts, inputs, **extra), **kwargs)
        self.config = config
        self.load_report: LoadReport | None = None
        self._source: Source | None = None
        self._tokenizer: BertTokenizer | None = None
        self._extra_outputs = extra
        self.dtype_policy = policy  # Keras scales the loss if this policy is float16.
        for name, part in parts.items():
            setattr(self, name, part)
        self._part_names = tuple(parts)

    @classmethod
    def make_backbone(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the layers of the backbone."""
        parts: Parts = {
            "attention_bias": BertAttentionBias(dtype=policy, name="attention_bias"),
            "embeddings": BertEmbeddings(config, dtype=policy, name="embeddings"),
            "encoder": BertEncoder(config, dtype=policy, name="encoder"),
        }
        if cls.has_pooler:
            parts["pooler"] = BertPooler(config, dtype=policy, name="pooler")
        return parts

    @classmethod
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the layers that this class adds to the backbone."""
        return {}

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        raise NotImplementedError(f"{cls.__name__} does not define how its layers connect")

    @staticmethod
    def connect_encoder(parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects the inputs to the outputs of the encoder."""
        bias = parts["attention_bias"](
            inputs["input_ids"], attention_mask=inputs["attention_mask"], sequence_ids=inputs["sequence_ids"]
        )
        embedded = parts["embeddings"](
            inputs["input_ids"], token_type_ids=inputs["token_type_ids"], position_ids=inputs["position_ids"]
        )
        return parts["encoder"](embedded, bias, **extra)

    @classmethod
    def pool(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects the inputs to ``pooler_output`` and the extra outputs, for heads on the first token alone."""
        outputs = cls.connect_encoder(parts, inputs, first_token_only=not any(extra.values()), **extra)
        pooled = parts["pooler"](outputs.pop("last_hidden_state"))
        return {**outputs, "pooler_output": pooled}

    def with_outputs(self, *, output_hidden_states: bool = False, output_attentions: bool = False) -> Self:
        """Returns a model with the same weights that also outputs hidden states or attentions."""
        return type(self)(
            self.config,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            dtype=self.dtype_policy,
            parts=self._share_parts(),
        )

    def from_embedding_output(self, *names: str) -> keras.Model:
        """Returns a model with the same weights whose input is the output of the embeddings, for gradients to it.

        Args:
            names: its inputs in addition to ``embedding_output``, ``[batch, length, hidden]``; all of them are
                required. The embedding output contains segments and positions; of ``input_ids`` only the shape is used.
        """
        output = keras.Input((None, self.config.hidden_size), dtype=self.compute_dtype, name="embedding_output")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
        parts = {**self._share_parts(), "embeddings": _PrecomputedEmbeddings(self.embeddings, output)}
        absent = dict.fromkeys(self.input_names)
        return keras.Model({"embedding_output": output, **inputs}, self.connect(parts, {**absent, **inputs}))

    def gradient_checkpointing_enable(self, enable: bool = True) -> None:
        """Makes training store only the inputs of each block, and compute the rest again in the backward pass.

        The gradients are the same. Call it before ``fit``.

        Args:
            enable: False turns it off.
        """
        self.encoder.gradient_checkpointing = enable
        self.train_function = None  # `fit` traces it again.

    def _share_parts(self) -> Parts:
        """Returns the layers for another graph with the same weights; the encoder only shares its blocks."""
        return {name: getattr(self, name) for name in self._part_names} | {"encoder": self.encoder.share_blocks()}

    @property
    def tokenizer(self) -> BertTokenizer | None:
        """The tokenizer of the checkpoint that `from_pretrained` loaded, read when it is first used.

        It can be assigned. It is None if the model was created without a checkpoint.

        Raises:
            InputError: the checkpoint has no tokenizer, or one that cannot be used.
        """
        if self._tokenizer is None and self._source is not None:
            self._tokenizer = self._open_tokenizer(self._source)
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: BertTokenizer | None) -> None:
        self._tokenizer = tokenizer

    def _open_tokenizer(self, source: Source) -> BertTokenizer:
        """Reads the tokenizer of a checkpoint."""
        return BertTokenizer.from_pretrained(source)

    def _has_tokenizer(self) -> bool:
        """Whether the model has a tokenizer, without reading it."""
        source = self._source
        return self._tokenizer is not None or (
            source is not None and any(map(source.find_file, ("tokenizer.json", "vocab.txt")))
        )

    @property
    def input_spec(self) -> None:
        """None: Keras would require the optional inputs; ``call`` checks the inputs instead."""
        return None

    def _complete_inputs(self, inputs: Any) -> Tensors:
        """Returns all inputs by name, None for those that are absent."""
        if not isinstance(inputs, Mapping):
            inputs = {"input_ids": inputs}
        unknown = sorted(set(inputs) - set(self.input_names))
        if unknown or inputs.get("input_ids") is None:
            problem = f"has the inputs {sorted(inputs)}" if unknown else "lacks input_ids"
            raise InputError(f"The call {problem}; {type(self).__name__} takes {', '.join(self.input_names)}.")
        return {name: inputs.get(name) for name in self.input_names}

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None, **kwargs: Any) -> Any:
        """Runs the graph; optional inputs that are absent become None."""
        return super().call(self._complete_inputs(inputs), training=training, mask=mask, **kwargs)

    def compute_output_spec(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the symbolic outputs for symbolic inputs."""
        complete = self._complete_inputs(inputs)
        return super().compute_output_spec(
            {name: self.input[name] if value is None else value for name, value in complete.items()}
        )

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the model on a dictionary of inputs, or on ``input_ids`` alone.

        Raises:
            InputError: NumPy ``input_ids`` are outside the vocabulary, rows are longer than the positions, a name is
                unknown, or the inputs are strings. (Tensors are not copied to the host for this check.)
        """
        ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else inputs
        if holds_strings(ids):
            raise InputError(
                "the inputs are strings; a call of the model takes ids. Tokenize them: model(model.tokenizer(texts)); "
                "or use fit, evaluate or predict, which take strings."
            )
        if (
            isinstance(ids, np.ndarray)
            and ids.size
            and not 0 <= int(ids.min()) <= int(ids.max()) < self.config.vocab_size
        ):
            raise InputError(
                f"input_ids go from {ids.min()} to {ids.max()}; the vocabulary of this model has "
                f"{self.config.vocab_size} tokens. Use the tokenizer of this model. If you added tokens, call "
                "resize_token_embeddings first."
            )
        return super().__call__(inputs, *args, **kwargs)

    def export(self, filepath: Any, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """``keras.Model.export``; the default signature has ids, segments and mask."""
        shape = (None,) * self.input_rank
        specs = {name: keras.InputSpec(shape=shape, dtype="int32", name=name) for name in INPUTS}
        kwargs.setdefault("input_signature", [specs])
        super().export(filepath, format=format, **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Source,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        strict: bool = False,
        new_heads: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        dtype: Any = None,
        **config_changes: Any,
    ) -> Self:
        """Creates the model of a checkpoint and loads its weights. ``load_report`` has the status of each tensor.

        Args:
            source: a directory, a weights file, the name of a bundled model, or a hub name, tried in this order.
            revision: branch, tag or commit of a hub name.
            subfolder: the folder of the files in a directory or in a repository of the hub.
            token: the access token for the hub; None: that of ``HF_TOKEN`` or of ``hf auth login``.
            cache_dir: the directory of downloads; None: the cache of huggingface_hub.
            strict: whether a tensor that no BERT model uses is an error.
            new_heads: whether a head for other labels gets new weights, as when fine-tuning a classifier for them.
                False: a head with another number of labels is refused; one with other names is loaded with a warning.
            output_hidden_states: see the class.
            output_attentions: see the class.
            dtype: see the class.
            **config_changes: fields of ``BertConfig`` to change, for example ``id2label`` or ``hidden_dropout_prob``;
                or ``num_labels``, for labels without names.

        Raises:
            InputError: ``source`` does not exist, is damaged, contradicts itself or is not supported.

        >>> model = BertModel.from_pretrained("bert-base-uncased")  # doctest: +SKIP
        >>> print(model.load_report)  # doctest: +SKIP
        """
        opened = open_source(source, revision, subfolder=subfolder, token=token, cache_dir=cache_dir)
        if "num_labels" in config_changes:  # As in transformers.
            config_changes["id2label"] = read_labels(config_changes.get("id2label"), config_changes.pop("num_labels"))
        config = dataclasses.replace(BertConfig.from_pretrained(opened), **config_changes)
        model = cls(config, output_hidden_states=output_hidden_states, output_attentions=output_attentions, dtype=dtype)
        model.load_pretrained(opened, strict=strict, new_heads=new_heads)
        model._source = opened
        return model

    def load_pretrained(
        self, source: str | Path | Source, *, strict: bool = False, new_heads: bool = False
    ) -> LoadReport:
        """Loads the weights of a checkpoint that has the same configuration; see ``from_pretrained``.

        LoRA starts again from a product of zero.
        """
        opened = open_source(source)
        variables = self.find_checkpoint_variables()
        arrays, report = match_tensors(
            self._read_tensors(opened),
            {path: tuple(variable.shape) for path, variable in variables.items()},
            source=opened.name,
            new_heads=new_heads,
            file_labels=tuple(BertConfig.from_pretrained(opened).id2label.values()) if opened.find_config() else (),
            labels=tuple(self.config.id2label.values()),
        )
        if strict and report.list_names("unexpected"):
            raise InputError(
                f"{opened.name} has unexpected tensors: {', '.join(report.list_names('unexpected'))}. Omit strict to "
                "ignore them."
            )
        for path, array in arrays.items():
            variables[path].assign(array)
        self.reset_lora()
        self.load_report = dataclasses.replace(report, notes=list_differences(opened))
        return self.load_report

    def _read_tensors(self, source: Source) -> dict[str, np.ndarray]:
        """Reads the tensors of a checkpoint, by their names in its files."""
        return read_tensors(source)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns all weights by their PyTorch names and in PyTorch's layout, float32; tied ones by both names.

        LoRA is merged into the weights.
        """
        variables = self.find_checkpoint_variables()
        arrays = {path: np.asarray(ops.convert_to_numpy(variable), "float32") for path, variable in variables.items()}
        for path, matrices in self.read_lora().items():
            arrays[path] = arrays[path] + matrices.compute_update()
        return make_state_dict(arrays, prefix=self.checkpoint_prefix, num_hidden_layers=self.config.num_hidden_layers)

    def save_pretrained(self, directory: str | Path, *, dtype: str = "float32") -> None:
        """Writes ``config.json`` and ``model.safetensors``, LoRA merged into the weights.

        If transformers has this class, it opens the files as the same model.

        Other files in the directory are not changed, so that a tokenizer can be saved there too. Each file is written
        under a temporary name and renamed.

        Args:
            directory: where to write.
            dtype: the dtype of the weights in the file: ``float32``; ``float16`` and ``bfloat16`` take half the size.

        Raises:
            InputError: the directory is a file, the dtype is another, or float16 cannot represent a weight.
        """
        if dtype not in FILE_DTYPES:
            raise InputError(f"dtype is {dtype!r}; {' or '.join(FILE_DTYPES)} was expected.")
        directory = make_directory(directory)
        omitted = TIED if self.config.tie_word_embeddings else ()
        tensors = {
            name: cast_checked(array, dtype, name=name)
            for name, array in self.state_dict().items()
            if name not in omitted
        }

        def write(config: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
            write_tensors(directory / "model.safetensors", tensors)
            write_text(directory / "config.json", to_json(config))

        self._write_files(directory, self._make_config_values(dtype), tensors, write)

    def _make_config_values(self, dtype: str) -> dict[str, Any]:
        """Returns the content of ``config.json``."""
        # Other libraries read the dtype of the weights from the configuration.
        values = {key: value for key, value in self.config.to_dict().items() if key not in ("torch_dtype", "dtype")}
        return {**values, "architectures": [type(self).__name__], "dtype": dtype}

    def _write_files(
        self,
        directory: Path,
        config: dict[str, Any],
        tensors: dict[str, np.ndarray],
        write: Callable[[dict[str, Any], dict[str, np.ndarray]], None],
    ) -> None:
        """Writes the files of `save_pretrained` or `save_adapter`.

        Args:
            directory: an existing directory.
            config: the configuration.
            tensors: weights by their PyTorch names, in the dtype of the file.
            write: writes the configuration and the weights of a BERT.
        """
        write(config, tensors)

    def save_adapter(self, directory: str | Path, *, base: str | None = None) -> None:
        """Writes LoRA, the pooler and the head as an adapter of PEFT, and ``model_config.json`` with the labels.

        PEFT and this package load it together with the base model.

        Args:
            directory: where to write.
            base: the name of the base model in ``adapter_config.json``; None: the name that ``from_pretrained`` was
                given.

        Raises:
            InputError: the model has no LoRA, the directory is a file, or the base is itself an adapter.
        """
        if not self.has_lora:
            raise InputError("This model has no LoRA to write. Call enable_lora before training, or save_pretrained.")
        source = self._source
        if base is None and source is not None and source.base is not None:
            raise InputError(
                f"The base of this model is {source.name}, itself an adapter. Write it with save_pretrained before "
                "enable_lora, and name that directory as the base."
            )
        path = make_directory(directory)
        # LoRA outside of the blocks is merged into the head.
        matrices = {kernel: own for kernel, own in self.read_lora().items() if kernel.startswith("encoder/")}
        head = {name: array for name, array in self.state_dict().items() if not is_backbone(name)}
        facts: dict[str, Any] = {
            "prefix": self.checkpoint_prefix,
            "num_hidden_layers": self.config.num_hidden_layers,
            "task_type": next((task for task, name in ADAPTER_TASKS.items() if name == self._adapter_class), None),
            "base_model_name_or_path": base or (source.name if source else None),
            "revision": source.revision if source and base is None else None,
        }

        def write(config: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
            write_text(path / ADAPTER_MODEL_CONFIG, to_json(config))
            adapter = Adapter(str(path), matrices, {name: tensors[name] for name in tensors if name in head})
            write_adapter(path, adapter, **facts)

        self._write_files(path, self._make_config_values("float32"), head, write)

    @property
    def _adapter_class(self) -> str:
        """The class of transformers that PEFT puts an adapter of this class into."""
        return type(self).__name__

    def get_config(self) -> dict[str, Any]:
        """Returns what ``.keras`` files store besides the weights."""
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        return {"config": self.config.to_dict(), **self._extra_outputs, "dtype": policy, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Creates the model of a ``get_config`` result, with new weights."""
        return cls(**config)

    def __dir__(self) -> list[str]:
        # Keras reads every listed attribute when it saves a model, and saves the models in it: it would read the
        # tokenizer from files, and save the models in the cache.
        return [name for name in super().__dir__() if name not in ("tokenizer", CACHE)]

    def __str__(self) -> str:
        return format_tree(self)
