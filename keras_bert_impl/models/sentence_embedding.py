"""Sentence embeddings: one vector per text, as the models of sentence-transformers give it."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import keras
import numpy as np

from keras_bert_impl import __version__
from keras_bert_impl.checkpoints.matching import LoadReport
from keras_bert_impl.checkpoints.names import to_torch_names
from keras_bert_impl.checkpoints.sentence_modules import read_dense_tensors, read_settings, write_modules
from keras_bert_impl.checkpoints.sentence_settings import CONFIG_KEY, SentenceSettings
from keras_bert_impl.checkpoints.weight_files import cast_checked
from keras_bert_impl.config import BertConfig
from keras_bert_impl.layers.base import make_initializer
from keras_bert_impl.layers.sentence import L2Normalization, SentencePooling
from keras_bert_impl.models.base import BertPreTrainedModel, Parts, Tensors
from keras_bert_impl.sources import Source, open_source
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.tokenization.sentence import open_sentence_tokenizer


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertForSentenceEmbedding(BertPreTrainedModel):
    """Sentence embeddings: a pooling of the hidden states, dense modules, and L2 normalization.

    It reads and writes directories of sentence-transformers. ``config.extra["sentence_embedding"]`` has the settings
    that such a directory adds to its BERT: see ``SentenceSettings``. A configuration without it gets mean pooling.

    Args: see ``BertPreTrainedModel``.

    Inputs, int ``[batch, length]``:
        input_ids, token_type_ids, attention_mask, position_ids: see ``BertPreTrainedModel``; padding must be on the
            right.
        pooling_mask: 0 for tokens that are not pooled, such as those of a prompt; default 1. Models that pool ``[CLS]``
            alone and include prompts do not use it.

    Outputs:
        sentence_embedding: float32 ``[batch, dimensions]``.
        hidden_states, attentions: on request.

    >>> import numpy as np
    >>> from keras_bert_impl import BertConfig
    >>> model = BertForSentenceEmbedding(BertConfig.preset("tiny", vocab_size=99))
    >>> tuple(model({"input_ids": np.array([[2, 71, 3]])})["sentence_embedding"].shape)
    (1, 128)
    """

    input_names: ClassVar[tuple[str, ...]] = (
        "input_ids",
        "token_type_ids",
        "attention_mask",
        "position_ids",
        "pooling_mask",
    )
    has_pooler: ClassVar[bool] = False
    checkpoint_prefix: ClassVar[str] = ""

    # The tensors of the file's pooler. It is not part of this model, but other libraries expect it in a BERT.
    _pooler: Mapping[str, np.ndarray] = MappingProxyType({})

    @classmethod
    def make_head(cls, config: BertConfig, policy: Any) -> Parts:
        """Creates the pooling and the modules after it. They compute in float32 under every policy."""
        settings = SentenceSettings.from_config(config)
        parts: Parts = {"pooling": SentencePooling(settings.pooling, name="pooling")}
        for index, dense in enumerate(settings.dense):
            parts[f"dense_{index}"] = keras.layers.Dense(
                dense.out_features,
                dense.activation,
                use_bias=dense.bias,
                kernel_initializer=make_initializer(config),
                dtype="float32",
                name=f"dense_{index}",
            )
        if "normalize" in settings.modules:
            parts["normalize"] = L2Normalization(name="normalize")
        return parts

    @classmethod
    def connect(cls, parts: Parts, inputs: Tensors, **extra: bool) -> Tensors:
        """Connects named inputs to named outputs."""
        settings = SentenceSettings.from_config(parts["encoder"].config)
        first_token_only = settings.pooling == ("cls",) and settings.include_prompt and not any(extra.values())
        outputs = cls.connect_encoder(
            parts, {**inputs, "sequence_ids": None}, first_token_only=first_token_only, **extra
        )
        masks = {} if first_token_only else {name: inputs[name] for name in ("attention_mask", "pooling_mask")}
        vectors = parts["pooling"](outputs.pop("last_hidden_state"), **masks)
        indices = iter(range(len(settings.dense)))
        for module in settings.modules:
            vectors = parts["normalize" if module == "normalize" else f"dense_{next(indices)}"](vectors)
        return {"sentence_embedding": vectors, **outputs}

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Source,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        pooling: str | None = None,
        normalize: bool | None = None,
        **options: Any,
    ) -> Self:
        """Creates the model of a checkpoint and loads its weights.

        Args:
            source: a directory of sentence-transformers, or any other checkpoint of a BERT, which gets mean pooling.
            revision: branch, tag or commit of a hub name.
            subfolder: the folder of the files in a directory or in a repository of the hub.
            token: the access token for the hub; None: that of ``HF_TOKEN`` or of ``hf auth login``.
            cache_dir: the directory of downloads; None: the cache of huggingface_hub.
            pooling: a pooling mode, such as ``cls``; None: as the directory says.
            normalize: whether vectors are L2-normalized; None: as the directory says.
            **options: see ``BertPreTrainedModel.from_pretrained``.

        Raises:
            InputError: ``source`` does not exist, is damaged, contradicts itself or is not supported.

        Warns:
            UserWarning: ``source`` does not say how states are pooled, and ``pooling`` is None.

        >>> model = BertForSentenceEmbedding.from_pretrained("sentence-transformers/all-MiniLM-L6-v2")  # doctest: +SKIP
        >>> model.encode(["A sentence.", "Another one."]).shape  # doctest: +SKIP
        (2, 384)
        """
        opened = open_source(source, revision, subfolder=subfolder, token=token, cache_dir=cache_dir)
        config = BertConfig.from_pretrained(opened)
        extra = options.pop("extra", config.extra)
        if CONFIG_KEY not in extra:
            settings = read_settings(opened, config, pooling=pooling, normalize=normalize)
            extra = {**extra, CONFIG_KEY: settings.to_dict()}
        return super().from_pretrained(opened, extra=extra, **options)

    def load_pretrained(
        self, source: str | Path | Source, *, strict: bool = False, new_heads: bool = False
    ) -> LoadReport:
        """Loads the weights of a checkpoint that has the same configuration; see ``from_pretrained``.

        The pooler is not part of this model, but ``save_pretrained`` writes it back, so it counts as loaded.
        """
        report = super().load_pretrained(source, strict=strict, new_heads=new_heads)
        names = to_torch_names([entry.name for entry in report.entries], source=report.source)
        entries = [
            dataclasses.replace(entry, status="loaded", reason="") if names[entry.name] in self._pooler else entry
            for entry in report.entries
        ]
        self.load_report = dataclasses.replace(report, entries=tuple(entries))
        return self.load_report

    def _read_tensors(self, source: Source) -> dict[str, np.ndarray]:
        tensors = super()._read_tensors(source)
        names = to_torch_names([key for key in tensors if "/" not in key], source=source.name)
        self._pooler = {name: np.array(tensors[key]) for key, name in names.items() if name.startswith("pooler.")}
        return {**tensors, **read_dense_tensors(source)}

    def _open_tokenizer(self, source: Source) -> BertTokenizer:
        return open_sentence_tokenizer(source, do_lower_case=self.settings.do_lower_case)

    def _write_files(
        self,
        directory: Path,
        config: dict[str, Any],
        tensors: dict[str, np.ndarray],
        write: Callable[[dict[str, Any], dict[str, np.ndarray]], None],
    ) -> None:
        """Writes the files of a BERT without this head, and those that sentence-transformers adds."""
        dense = {name: tensor for name, tensor in tensors.items() if name.startswith("sentence_dense.")}
        backbone = {name: tensor for name, tensor in tensors.items() if name not in dense}
        backbone |= {name: cast_checked(array, config["dtype"], name=name) for name, array in self._pooler.items()}
        config = {key: value for key, value in config.items() if key != CONFIG_KEY} | {"architectures": ["BertModel"]}
        super()._write_files(directory, config, backbone, write)
        if self._has_tokenizer():
            assert self.tokenizer is not None
            self.tokenizer.save_pretrained(directory)
        write_modules(directory, self.settings, dense, hidden_size=self.config.hidden_size, version=__version__)

    @property
    def _adapter_class(self) -> str:
        """The backbone: sentence-transformers pools its output."""
        return "BertModel"

    def __dir__(self) -> list[str]:
        # Keras reads every listed attribute when it saves a model; this one would read files.
        return [name for name in super().__dir__() if name != "max_seq_length"]

    @property
    def settings(self) -> SentenceSettings:
        """Pooling, modules, prompts and the other settings of the model."""
        return SentenceSettings.from_config(self.config)

    @property
    def max_seq_length(self) -> int:
        """The maximum number of tokens of a text, special tokens included. It can be assigned."""
        tokenizer = self.tokenizer if self._has_tokenizer() else None
        limit = None if tokenizer is None else tokenizer.model_max_length
        return self.settings.resolve_max_length(self.config, limit)

    @max_seq_length.setter
    def max_seq_length(self, length: int | None) -> None:
        self.config = dataclasses.replace(self.settings, max_seq_length=length).add_to(self.config)

    def get_sentence_embedding_dimension(self) -> int:
        """Returns the number of dimensions of the vectors that ``encode`` returns."""
        settings = self.settings
        dimensions = settings.count_dimensions(self.config.hidden_size)
        return min(dimensions, settings.truncate_dim or dimensions)

    def encode(self, inputs: str | Iterable[str], **options: Any) -> Any:
        """Computes the vectors of texts: see `keras_bert_impl.prediction.encode` for the options and the result."""
        from keras_bert_impl.prediction.encoding import encode

        return encode(self, inputs, **options)

    def encode_query(self, inputs: str | Iterable[str], **options: Any) -> Any:
        """Computes the vectors of queries: see `keras_bert_impl.prediction.encode_query`."""
        from keras_bert_impl.prediction.encoding import encode_query

        return encode_query(self, inputs, **options)

    def encode_document(self, inputs: str | Iterable[str], **options: Any) -> Any:
        """Computes the vectors of documents: see `keras_bert_impl.prediction.encode_document`."""
        from keras_bert_impl.prediction.encoding import encode_document

        return encode_document(self, inputs, **options)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Compares each vector of ``embeddings1`` with each of ``embeddings2``, by the model's similarity function.

        Args:
            embeddings1: ``[a, dimensions]``, or one vector ``[dimensions]``.
            embeddings2: ``[b, dimensions]``, or one vector ``[dimensions]``.

        Returns float32 ``[a, b]``; more similar is higher.
        """
        from keras_bert_impl.vectors.similarity import SIMILARITIES

        return SIMILARITIES[self.settings.similarity_fn_name].of_all(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Compares vectors ``[pairs, dimensions]`` in the same row: float32 ``[pairs]``; see `similarity`."""
        from keras_bert_impl.vectors.similarity import SIMILARITIES

        return SIMILARITIES[self.settings.similarity_fn_name].of_pairs(embeddings1, embeddings2)
