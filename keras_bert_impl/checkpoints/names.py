"""The name table: one row per kind of tensor, with its names in PyTorch, in Google's TF1 code and in this package."""

import dataclasses
import re
from collections.abc import Collection, Iterator

from keras_bert_impl.errors import InputError


@dataclasses.dataclass(frozen=True)
class NameRow:
    """One kind of tensor. ``{i}`` in a name is the number of the layer.

    Attributes:
        path: the path of the variable in this package, in every model that has it.
        torch: the name in PyTorch files, without the prefix ``bert.`` that they may have.
        tf1: the name in Google's files, without ``bert/``; None if the published code has no such tensor.
        torch_transposed: whether the PyTorch array is the transpose of the variable, as for every dense kernel.
        tf1_transposed: the same for TF1, where it is true for kernels of heads only.
    """

    path: str
    torch: str
    tf1: str | None
    torch_transposed: bool = False
    tf1_transposed: bool = False

    def is_transposed(self, key: str) -> bool:
        """Whether a file's array is the transpose of the variable; ``key`` is its name in the file."""
        if "/" in key or key.startswith("output_"):
            # TFBert, Flax and Keras name a kernel `kernel` and do not transpose it.
            return self.tf1_transposed and key.endswith("output_weights")
        return self.torch_transposed


def _make_dense_rows(
    path: str, torch: str, tf1_kernel: str | None = None, tf1_bias: str | None = None
) -> list[NameRow]:
    """Kernel and bias; ``tf1_kernel`` and ``tf1_bias`` if TF1 has other names, then with a transposed kernel."""
    kernel = NameRow(f"{path}/kernel", f"{torch}.weight", tf1_kernel or f"{path}/kernel", True, tf1_kernel is not None)
    return [kernel, NameRow(f"{path}/bias", f"{torch}.bias", tf1_bias or f"{path}/bias")]


def _make_sentence_rows(number: int) -> list[NameRow]:
    """A dense layer after the pooling of a sentence embedding, which a checkpoint has in a separate folder."""
    path, torch = f"dense_{number}", f"sentence_dense.{number}.linear"
    return [NameRow(f"{path}/kernel", f"{torch}.weight", None, True), NameRow(f"{path}/bias", f"{torch}.bias", None)]


def _make_norm_rows(path: str, torch: str) -> list[NameRow]:
    return [
        NameRow(f"{path}/gamma", f"{torch}.weight", f"{path}/gamma"),
        NameRow(f"{path}/beta", f"{torch}.bias", f"{path}/beta"),
    ]


def _make_table_row(name: str) -> NameRow:
    return NameRow(f"embeddings/{name}/embeddings", f"embeddings.{name}.weight", f"embeddings/{name}")


# Published models have one such layer.
MAX_SENTENCE_DENSE = 4

ROWS: tuple[NameRow, ...] = (
    _make_table_row("word_embeddings"),
    _make_table_row("position_embeddings"),
    _make_table_row("token_type_embeddings"),
    *_make_norm_rows("embeddings/LayerNorm", "embeddings.LayerNorm"),
    *_make_dense_rows("encoder/layer_{i}/attention/self/query", "encoder.layer.{i}.attention.self.query"),
    *_make_dense_rows("encoder/layer_{i}/attention/self/key", "encoder.layer.{i}.attention.self.key"),
    *_make_dense_rows("encoder/layer_{i}/attention/self/value", "encoder.layer.{i}.attention.self.value"),
    *_make_dense_rows("encoder/layer_{i}/attention/output/dense", "encoder.layer.{i}.attention.output.dense"),
    *_make_norm_rows("encoder/layer_{i}/attention/output/LayerNorm", "encoder.layer.{i}.attention.output.LayerNorm"),
    *_make_dense_rows("encoder/layer_{i}/intermediate/dense", "encoder.layer.{i}.intermediate.dense"),
    *_make_dense_rows("encoder/layer_{i}/output/dense", "encoder.layer.{i}.output.dense"),
    *_make_norm_rows("encoder/layer_{i}/output/LayerNorm", "encoder.layer.{i}.output.LayerNorm"),
    *_make_dense_rows("pooler/dense", "pooler.dense"),
    *_make_dense_rows("cls/predictions/transform/dense", "cls.predictions.transform.dense"),
    *_make_norm_rows("cls/predictions/transform/LayerNorm", "cls.predictions.transform.LayerNorm"),
    NameRow("cls/predictions/bias", "cls.predictions.bias", "cls/predictions/output_bias"),
    NameRow("cls/predictions/decoder/kernel", "cls.predictions.decoder.weight", None, True),
    *_make_dense_rows(
        "cls/seq_relationship",
        "cls.seq_relationship",
        "cls/seq_relationship/output_weights",
        "cls/seq_relationship/output_bias",
    ),
    *_make_dense_rows("classifier", "classifier", "output_weights", "output_bias"),
    *_make_dense_rows("qa_outputs", "qa_outputs", "cls/squad/output_weights", "cls/squad/output_bias"),
    *(row for number in range(MAX_SENTENCE_DENSE) for row in _make_sentence_rows(number)),
)

# The name of the tensor that every BERT has.
WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"

# What torch.compile, FSDP and activation checkpointing put between the parts of names.
_INSERTED = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")

# If a file has this bias of the decoder, PyTorch adds it; the name in the table is an older spelling.
DECODER_BIAS = "cls.predictions.decoder.bias"

# Tensors that are not weights: the pattern of the name, and the reason why it is ignored.
IGNORED: dict[str, str] = {
    r"embeddings\.position_ids": "a buffer with the numbers 0, 1, 2 …",
    r"embeddings\.token_type_ids": "a buffer of zeros",
    r".*/adam_[mv]": "a slot of the optimizer",
    r"global_step": "the training step counter",
    r"_CHECKPOINTABLE_OBJECT_GRAPH|save_counter": "bookkeeping of TensorFlow",
    r"optimizer/.*": "a variable of the optimizer",
    r".*/seed_generator/.*": "the state of a random generator",
}

_LAYER_NUMBER = re.compile(r"(encoder[./]layer[._])(\d+)([./])")

# How names in `tf_model.h5` and in Flax's files begin, and how those in the table do.
_BEGINNINGS = {
    "encoder/layer_._": "encoder/layer_",
    "encoder/layer/": "encoder/layer_",
    "mlm___cls/": "cls/",
    "nsp___cls/": "cls/",
}


def to_torch_name(key: str) -> str:
    """Converts a tensor name in any published spelling to the PyTorch name; unknown names are returned unchanged.

    >>> to_torch_name("bert.encoder.layer.11.output.LayerNorm.gamma")
    'encoder.layer.11.output.LayerNorm.weight'
    >>> to_torch_name("bert/encoder/layer_11/output/LayerNorm/gamma")
    'encoder.layer.11.output.LayerNorm.weight'
    >>> to_torch_name("bert/encoder/layer/11/output/LayerNorm/scale")
    'encoder.layer.11.output.LayerNorm.weight'
    """
    if "/" in key or key in _WITH_SLASHES:
        key = key.removeprefix("bert/")
        for theirs, ours in _BEGINNINGS.items():
            if key.startswith(theirs):
                key = ours + key.removeprefix(theirs)
        number, template = _split_layer_number(key)
        return _WITH_SLASHES[template].replace("{i}", number) if template in _WITH_SLASHES else key
    key = key.removeprefix("bert.")
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if key.endswith("LayerNorm" + old):
            key = key.removesuffix(old) + new
    return key


def to_torch_names(keys: Collection[str], *, source: str = "the file") -> dict[str, str]:
    """Converts all tensor names of a file to PyTorch names, without what wrappers of the model added to them.

    Args:
        keys: the names, in any published spelling.
        source: the name of the file, for messages.

    Raises:
        InputError: the file contains several BERTs.

    >>> to_torch_names(["module.bert.embeddings.word_embeddings.weight", "module.classifier.bias"])
    {'module.bert.embeddings.word_embeddings.weight': 'embeddings.word_embeddings.weight',
     'module.classifier.bias': 'classifier.bias'}
    """
    prefix, _ = _find_prefix(keys, source)
    return {key: to_torch_name(_unwrap(key, prefix)) for key in keys}


def find_wrappers(keys: Collection[str], *, source: str = "the file") -> list[str]:
    """Returns what `to_torch_names` removes from the names of a file: a common prefix, and parts of names.

    >>> find_wrappers(["module._orig_mod.bert.embeddings.word_embeddings.weight"])
    ['module.', '_orig_mod.']
    """
    prefix, parts = _find_prefix(keys, source)
    return [*([prefix] if prefix else []), *parts]


def _find_prefix(keys: Collection[str], source: str) -> tuple[str, list[str]]:
    """Returns what wrappers put before ``bert.`` or ``embeddings.``, and the parts that they put anywhere."""
    names = [_INSERTED.sub("", key) for key in keys if f".{_INSERTED.sub('', key)}".endswith(f".{WORD_EMBEDDINGS}")]
    wrapped = {f".{name.removesuffix(WORD_EMBEDDINGS)}".removesuffix(".bert.").strip(".") for name in names}
    if len(wrapped) > 1 and "" not in wrapped:
        listed = " and ".join(repr(f"{prefix}.") for prefix in sorted(wrapped))
        raise InputError(
            f"{source} contains several BERTs, whose names start with {listed}; one was expected. Save the state_dict "
            "of one of them alone."
        )
    prefix = "" if "" in wrapped or not wrapped else f"{wrapped.pop()}."
    return prefix, list(dict.fromkeys(part for key in keys for part in _INSERTED.findall(key)))


def _unwrap(key: str, prefix: str) -> str:
    """Removes a prefix from a name; if it has only the first parts of the prefix, as a head may, those."""
    key = _INSERTED.sub("", key)
    for part in prefix.split(".")[:-1]:
        if not key.startswith(f"{part}."):
            break
        key = key.removeprefix(f"{part}.")
    return key


def remove_scopes(key: str) -> str:
    """Removes what comes before the part of a name in ``tf_model.h5`` that the table contains.

    It is the name of a group, and that of the model, which each user chose.

    >>> remove_scopes("bert/tf_bert_model_3/bert/pooler/dense/kernel:0")
    'bert/pooler/dense/kernel'
    """
    parts = key.removesuffix(":0").split("/")
    names = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((name for name in names if find_path(to_torch_name(name))), key)


def find_path(torch: str) -> tuple[NameRow, str] | None:
    """Returns the row of a PyTorch name, and the path of the variable; None if the table does not contain the name."""
    number, template = _split_layer_number(torch)
    row = _BY_TORCH.get(template)
    return None if row is None else (row, row.path.replace("{i}", number))


def find_torch_name(path: str) -> tuple[NameRow, str] | None:
    """Returns the row of a variable, and its PyTorch name; None if the table does not contain the path."""
    number, template = _split_layer_number(path)
    row = _BY_PATH.get(template)
    return None if row is None else (row, row.torch.replace("{i}", number))


def list_names(num_hidden_layers: int) -> Iterator[tuple[str, str]]:
    """Yields the path and the PyTorch name of every tensor, in the order of the table."""
    for row in ROWS:
        for number in range(num_hidden_layers) if "{i}" in row.path else (0,):
            yield row.path.replace("{i}", str(number)), row.torch.replace("{i}", str(number))


def _split_layer_number(name: str) -> tuple[str, str]:
    """Returns the number of the layer in a name, and the name with ``{i}`` instead of the number."""
    match = _LAYER_NUMBER.match(name)
    if match is None:
        return "", name
    return match[2], f"{match[1]}{{i}}{match[3]}{name[match.end() :]}"


def _list_names_with_slashes(row: NameRow) -> Iterator[str]:
    """Yields the names that end with those of variables: in TF1, here, in TFBert, and in Flax.

    TFBert and Flax have the modules of this package, and other names for some of the variables.
    """
    if row.tf1:
        yield row.tf1
    yield row.path
    module, _, variable = row.path.rpartition("/")
    for other in _OTHER_VARIABLES.get(variable, ()):
        yield f"{module}/{other}"


# Names of variables in TFBert and in Flax.
_OTHER_VARIABLES = {"embeddings": ("weight", "embedding"), "gamma": ("scale",), "beta": ("bias",)}

_BY_TORCH = {row.torch: row for row in ROWS}
_BY_PATH = {row.path: row for row in ROWS}
_WITH_SLASHES = {name: row.torch for row in ROWS for name in _list_names_with_slashes(row)}
