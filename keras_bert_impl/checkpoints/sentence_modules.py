"""Reads and writes the files of a sentence-transformers directory besides the BERT in it.

Nothing that a file names is imported or executed: the classes of modules and activations are looked up in tables.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from keras_bert_impl.checkpoints.sentence_settings import (
    ACTIVATIONS,
    POOLING_MODES,
    DenseSettings,
    SentenceSettings,
)
from keras_bert_impl.checkpoints.weight_files import TRANSFORMERS_WEIGHTS, read_tensor_file, write_tensors
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import parse_json, read_json, read_text, to_json, write_text
from keras_bert_impl.sources import TRANSFORMER_FOLDER, Source

MODULES_FILE = "modules.json"
_PROMPTS_FILE = "config_sentence_transformers.json"
_TRANSFORMER_FILE = "sentence_bert_config.json"

_ADVICE = "Use sentence-transformers for this model."

# Types of modules: the prefix in files of all versions of sentence-transformers, the prefix that is written, which
# versions 2 to 6 know, and the last parts of the supported types.
_TYPE_PREFIX = "sentence_transformers."
_WRITTEN_PREFIX = "sentence_transformers.models."
_KINDS = ("Transformer", "Pooling", "Dense", "Normalize")

# The flag of each pooling mode in files before version 5.4.
_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}

# Keys of `sentence_bert_config.json` that change the ids or the states, and the values with which they change nothing.
_TRANSFORMER_KEYS: dict[str, tuple[Any, ...]] = {
    "transformer_task": ("feature-extraction",),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
    "module_output_name": ("token_embeddings",),
    **dict.fromkeys(("model_args", "tokenizer_args", "config_args"), ({},)),
    **dict.fromkeys(("model_kwargs", "processor_kwargs", "config_kwargs", "processing_kwargs"), ({},)),
    **dict.fromkeys(("query_length", "document_length", "query_expansion"), ()),
}


@dataclasses.dataclass(frozen=True)
class _Module:
    """One entry of `modules.json`: its number, the last part of its type, and its folder."""

    number: int
    kind: str
    folder: str


def is_sentence_directory(source: Source) -> bool:
    """Whether a source is an embedding model of sentence-transformers: one of its modules is a pooling.

    Raises:
        InputError: its ``modules.json`` is damaged.
    """
    path = source.find_file(MODULES_FILE)
    return path is not None and any(entry["type"].endswith(".Pooling") for entry in _read_entries(path))


def read_cross_encoder_activation(source: Source) -> str | None:
    """Returns the class of the activation that version 6 of sentence-transformers saved with a cross-encoder.

    None if the source is not such a directory; older ones have the activation in ``config.json``.

    Raises:
        InputError: a file is not JSON, or the cross-encoder has a default prompt.
    """
    path = source.find_file(_PROMPTS_FILE)
    if path is None or source.find_file(MODULES_FILE) is None:
        return None
    values = read_json(path)
    if values.get("model_type") != "CrossEncoder":
        return None
    name = values.get("default_prompt_name")
    if name is not None and (prompt := (values.get("prompts") or {}).get(name)):
        raise InputError(
            f"{path}: default_prompt_name is {name!r}, the prompt {prompt!r}; prompts of cross-encoders are not "
            "supported. Set it to null, and put the prompt before each query."
        )
    return values.get("activation_fn")


def read_settings(
    source: Source, config: BertConfig, *, pooling: str | None = None, normalize: bool | None = None
) -> SentenceSettings:
    """Reads the settings of a sentence-transformers directory of any version.

    Args:
        source: a directory or a model on the hub.
        config: its configuration.
        pooling: a pooling mode that replaces that of the files; None: as the files say.
        normalize: whether vectors are L2-normalized; None: as the files say.

    Raises:
        InputError: a file is damaged, contradicts the model, or contains something that is not supported.

    Warns:
        UserWarning: there is no ``modules.json``, and ``pooling`` is None: mean pooling is used.
    """
    path = source.find_file(MODULES_FILE)
    if path is not None:
        settings = _read_directory(source, path, config)
    else:
        settings = SentenceSettings()
        if pooling is None:
            warnings.warn(
                f"{source.name} has no modules.json: mean pooling is used, without normalization, as "
                "sentence-transformers does. Pass pooling and normalize if the model was trained with others.",
                stacklevel=2,
            )
    return settings.change_head(pooling=pooling, normalize=normalize)


def read_dense_tensors(source: Source) -> dict[str, np.ndarray]:
    """Reads the weights of the dense modules, float32: ``sentence_dense.0.linear.weight`` ``[out, in]`` and so on.

    Raises:
        InputError: a file is missing, damaged or unsafe, or lacks a tensor.
    """
    path = source.find_file(MODULES_FILE)
    if path is None:
        return {}
    dense = [module for module in _read_modules(path) if module.kind == "Dense"]
    tensors: dict[str, np.ndarray] = {}
    for number, module in enumerate(dense):
        bias = _read_dense(source, module).bias
        weights = _find_weights(source, module)
        stored = read_tensor_file(weights)
        for name in ("linear.weight", "linear.bias") if bias else ("linear.weight",):
            if name not in stored:
                raise InputError(f"{weights} lacks {name}; it has {', '.join(stored)}. Download it again.")
        tensors |= {f"sentence_dense.{number}.{name}": array for name, array in stored.items()}
    return tensors


def _read_directory(source: Source, path: Path, config: BertConfig) -> SentenceSettings:
    """Reads the settings of a directory with the ``modules.json`` at ``path``."""
    settings = _read_transformer(source, _read_prompts(source, SentenceSettings()))
    _, pooling, *others = _read_modules(path)
    settings = _read_pooling(source, pooling, settings, hidden_size=config.hidden_size)
    size = settings.count_dimensions(config.hidden_size)
    modules: list[Any] = []
    for module in others:
        if module.kind == "Normalize":
            _check_normalize(source, module)
            modules.append("normalize")
            continue
        dense = _read_dense(source, module)
        if dense.in_features != size:
            raise InputError(
                f"{path}: module {module.number} takes {dense.in_features} dimensions, but module {module.number - 1} "
                f"gives {size}. The directory mixes modules of different models."
            )
        size = dense.out_features
        modules.append(dense)
    with _name_file(path):
        return dataclasses.replace(settings, modules=modules)


def _read_entries(path: Path) -> list[dict[str, Any]]:
    """Returns the list in a ``modules.json``, whose entries have at least the strings ``path`` and ``type``."""
    entries = parse_json(read_text(path), path)
    for entry in entries if isinstance(entries, list) else [entries]:
        if not (isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("path", "type"))):
            raise InputError(
                f"{path}: {entry!r:.200} was found; a list of modules, each with the strings 'path' and 'type', was "
                "expected. Download it again."
            )
    return entries


def _read_modules(path: Path) -> list[_Module]:
    """Reads ``modules.json``: a transformer, a pooling, and then any number of dense and normalize modules."""
    modules = []
    for number, entry in enumerate(_read_entries(path)):
        kind = entry["type"].rsplit(".", 1)[-1]
        if kind not in _KINDS or not entry["type"].startswith(_TYPE_PREFIX):
            raise InputError(
                f"{path}: module {number} is a {kind} ({entry['type']}), which is not supported; supported are "
                f"Transformer, Pooling, Dense and Normalize. {_ADVICE}"
            )
        expected = _KINDS[number : number + 1] if number < 2 else _KINDS[2:]
        if kind not in expected:
            raise InputError(
                f"{path}: module {number} is a {kind}; a {' or '.join(expected)} was expected. Supported are "
                f"a Transformer, a Pooling, and then Dense and Normalize modules. {_ADVICE}"
            )
        _check_folder(path, number, entry["path"])
        if entry.get("kwargs"):
            raise InputError(
                f"{path}: module {number} has kwargs {entry['kwargs']!r}, which are not supported. {_ADVICE}"
            )
        modules.append(_Module(number, kind, entry["path"]))
    if len(modules) < 2:
        raise InputError(
            f"{path}: the Pooling is missing; a Transformer and a Pooling were expected. Add it, or "
            "remove this file, which gives mean pooling."
        )
    return modules


def _check_folder(path: Path, number: int, folder: str) -> None:
    """Raises ``InputError`` unless a module's folder is inside the directory, and that of the BERT has a known name."""
    parts = PureWindowsPath(folder)  # It recognizes the absolute paths of all systems.
    if parts.anchor or ".." in parts.parts or "\0" in folder:
        raise InputError(f"{path}: module {number} has the path {folder!r}; a folder in the directory was expected.")
    if number == 0 and folder not in ("", TRANSFORMER_FOLDER):
        raise InputError(
            f"{path}: module 0 has the path {folder!r}; '' or {TRANSFORMER_FOLDER!r} was expected. Rename the folder, "
            "in this file and on the disk."
        )


def _find_module_file(source: Source, module: _Module, name: str) -> Path | None:
    return source.find_file(f"{module.folder}/{name}")


def _read_module_config(source: Source, module: _Module) -> tuple[Path, dict[str, Any]]:
    """Returns the path and the values of a module's ``config.json``."""
    path = _find_module_file(source, module, "config.json")
    if path is None:
        raise InputError(
            f"{source.name} lacks {module.folder}/config.json, the file of module {module.number}. Download the "
            "directory again."
        )
    return path, read_json(path)


def _find_weights(source: Source, module: _Module) -> Path:
    names = [name for name in TRANSFORMERS_WEIGHTS if not name.endswith(".json")]
    path = next((path for name in names if (path := _find_module_file(source, module, name))), None)
    if path is None:
        raise InputError(
            f"{source.name}/{module.folder} has no weights: looked for {', '.join(names)}. Download the directory "
            "again."
        )
    return path


def _read_pooling(source: Source, module: _Module, settings: SentenceSettings, *, hidden_size: int) -> SentenceSettings:
    """Adds the settings in the ``config.json`` of the pooling, with the keys of any version."""
    path, values = _read_module_config(source, module)
    size = values.get("embedding_dimension", values.get("word_embedding_dimension", hidden_size))
    if size != hidden_size:
        raise InputError(
            f"{path}: the embedding dimension is {size}, but the model's hidden size is {hidden_size}. The pooling "
            "belongs to another model."
        )
    flags = {flag: mode for mode, flag in _FLAGS.items()}
    true = [key for key in values if key.startswith("pooling_mode_") and values[key]]
    modes = sorted((flags.get(key, key.removeprefix("pooling_mode_")) for key in true), key=_get_mode_order)
    pooling, include_prompt = values.get("pooling_mode", modes or "mean"), values.get("include_prompt", True)
    with _name_file(path):
        return dataclasses.replace(settings, pooling=pooling, include_prompt=include_prompt)


def _get_mode_order(mode: str) -> int:
    return POOLING_MODES.index(mode) if mode in POOLING_MODES else len(POOLING_MODES)


def _check_normalize(source: Source, module: _Module) -> None:
    """Raises ``InputError`` unless a normalize module, whose file may be missing, normalizes the vector of the text."""
    path = _find_module_file(source, module, "config.json")
    if path is not None:
        _check_names(path, read_json(path))


def _read_dense(source: Source, module: _Module) -> DenseSettings:
    """Reads the ``config.json`` of a dense module."""
    path, values = _read_module_config(source, module)
    _check_names(path, values)
    if values.get("use_residual"):
        raise InputError(f"{path}: use_residual is true, which is not supported. {_ADVICE}")
    keras_names = {torch: name for name, torch in ACTIVATIONS.items()}
    activation = values.get("activation_function", ACTIVATIONS["tanh"])
    if activation not in keras_names:
        raise InputError(
            f"{path}: activation_function {activation!r} is not supported; one of {', '.join(keras_names)} was "
            f"expected. {_ADVICE}"
        )
    with _name_file(path):
        sizes: dict[str, Any] = {name: values.get(name) for name in ("in_features", "out_features")}
        return DenseSettings(**sizes, bias=values.get("bias", True), activation=keras_names[activation])


def _check_names(path: Path, values: Mapping[str, Any]) -> None:
    """Raises ``InputError`` unless a module reads and writes the vector of the text."""
    for key in ("module_input_name", "module_output_name"):
        if values.get(key) not in (None, "sentence_embedding"):
            raise InputError(f"{path}: {key} is {values[key]!r}; only 'sentence_embedding' is supported. {_ADVICE}")


def _read_transformer(source: Source, settings: SentenceSettings) -> SentenceSettings:
    """Adds the settings in the file of the first module, which may be missing."""
    path = source.find_file(_TRANSFORMER_FILE)
    if path is None:
        return settings
    values = read_json(path)
    for key, accepted in _TRANSFORMER_KEYS.items():
        value = values.get(key)
        if isinstance(value, dict):
            value = {name: each for name, each in value.items() if name != "trust_remote_code"}
        if value is not None and value not in accepted:
            raise InputError(f"{path}: {key} is {value!r}, which is not supported. {_ADVICE}")
    keys = ("max_seq_length", "do_lower_case")
    with _name_file(path):
        return dataclasses.replace(settings, **{key: values[key] for key in keys if key in values})


def _read_prompts(source: Source, settings: SentenceSettings) -> SentenceSettings:
    """Adds the settings in ``config_sentence_transformers.json``, which may be missing."""
    path = source.find_file(_PROMPTS_FILE)
    if path is None:
        return settings
    values = read_json(path)
    kind = values.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        advice = "Open it with Reranker, or with 'keras-bert rank'." if kind == "CrossEncoder" else _ADVICE
        raise InputError(f"{path}: model_type is {kind!r}; a SentenceTransformer was expected. {advice}")
    keys = ("prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim")
    with _name_file(path):
        return dataclasses.replace(settings, **{key: values[key] for key in keys if values.get(key) is not None})


@contextlib.contextmanager
def _name_file(path: Path) -> Iterator[None]:
    """Puts the path of a file before the message of an ``InputError``."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_modules(
    directory: Path,
    settings: SentenceSettings,
    dense_tensors: Mapping[str, np.ndarray],
    *,
    hidden_size: int,
    version: str,
) -> None:
    """Writes the files that make the directory of a BERT one of sentence-transformers, which versions 2 to 6 read.

    They have the keys that `SentenceSettings` knows; other keys of the files that were read, which do not change the
    vectors, are not kept.

    Args:
        directory: where the weights of the BERT are.
        settings: what to write.
        dense_tensors: by the names of `read_dense_tensors`, in the dtype of the file.
        hidden_size: the hidden size of the BERT.
        version: the version of this package.

    Raises:
        OSError: a file cannot be written.
    """
    folders = [("Transformer", ""), ("Pooling", "1_Pooling")]
    _write_json(directory / "1_Pooling" / "config.json", _make_pooling_config(settings, hidden_size))
    number = 0
    for index, module in enumerate(settings.modules, start=2):
        kind = "Dense" if isinstance(module, DenseSettings) else "Normalize"
        folder = directory / f"{index}_{kind}"
        folders.append((kind, folder.name))
        folder.mkdir(exist_ok=True)  # The folder of a normalize module remains empty.
        if isinstance(module, DenseSettings):
            prefix = f"sentence_dense.{number}."
            tensors = {name: tensor for name, tensor in dense_tensors.items() if name.startswith(prefix)}
            write_tensors(
                folder / "model.safetensors", {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            )
            values = dataclasses.asdict(module)
            values["activation_function"] = ACTIVATIONS[values.pop("activation")]
            _write_json(folder / "config.json", values)
            number += 1
    length = {} if settings.max_seq_length is None else {"max_seq_length": settings.max_seq_length}
    _write_json(directory / _TRANSFORMER_FILE, {**length, "do_lower_case": settings.do_lower_case})
    truncation = {} if settings.truncate_dim is None else {"truncate_dim": settings.truncate_dim}
    values = {
        "model_type": "SentenceTransformer",
        "__version__": {"keras_bert_impl": version},
        "prompts": dict(settings.prompts),
        "default_prompt_name": settings.default_prompt_name,
        "similarity_fn_name": settings.similarity_fn_name,
        **truncation,
    }
    _write_json(directory / _PROMPTS_FILE, values)
    # Written last, so that the files that it lists exist.
    entries = [
        {"idx": index, "name": str(index), "path": folder, "type": _WRITTEN_PREFIX + kind}
        for index, (kind, folder) in enumerate(folders)
    ]
    _write_json(directory / MODULES_FILE, entries)


def _make_pooling_config(settings: SentenceSettings, hidden_size: int) -> dict[str, Any]:
    """Returns the content of the pooling's ``config.json``: flags, unless they cannot express the order."""
    modes = list(settings.pooling)
    if modes != [mode for mode in POOLING_MODES if mode in modes]:
        return {
            "embedding_dimension": hidden_size,
            "pooling_mode": modes,
            "include_prompt": settings.include_prompt,
        }
    flags = {flag: mode in modes for mode, flag in _FLAGS.items()}
    return {"word_embedding_dimension": hidden_size, **flags, "include_prompt": settings.include_prompt}


def _write_json(path: Path, value: Any) -> None:
    write_text(path, to_json(value))
