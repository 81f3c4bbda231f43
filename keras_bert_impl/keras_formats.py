"""What Keras and KerasHub write around weights: configurations in ``.keras`` files and presets, and names of layers.

Nothing is deserialized: classes that a file names are looked up in tables, never imported.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import parse_json, read_json
from keras_bert_impl.sources import Source

# The files of a KerasHub preset besides the backbone's `config.json` and `model.weights.h5`.
TASK_CONFIG = "task.json"
TASK_WEIGHTS = "task.weights.h5"
VOCABULARY = "assets/tokenizer/vocabulary.txt"

# Key of ``config.json``: argument of KerasHub's ``BertBackbone``.
SIZES = {
    "vocab_size": "vocabulary_size",
    "hidden_size": "hidden_dim",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "intermediate_dim",
    "max_position_embeddings": "max_sequence_length",
    "type_vocab_size": "num_segments",
}
# The epsilon of every layer norm in KerasHub's backbone; no argument changes it.
LAYER_NORM_EPS = 1e-12
# The activation of KerasHub's backbone: GELU by tanh; no argument changes it either.
HIDDEN_ACT = "gelu_new"

# Path of a layer in KerasHub: path of the same layer here. Their weights have the same names and the same layout, but
# KerasHub's kernels and biases of attention have an axis for the heads.
LAYERS = {
    "token_embedding": "embeddings/word_embeddings",
    "position_embedding": "embeddings/position_embeddings",
    "segment_embedding": "embeddings/token_type_embeddings",
    "embeddings_layer_norm": "embeddings/LayerNorm",
    "transformer_layer_{i}/self_attention_layer/query": "encoder/layer_{i}/attention/self/query",
    "transformer_layer_{i}/self_attention_layer/key": "encoder/layer_{i}/attention/self/key",
    "transformer_layer_{i}/self_attention_layer/value": "encoder/layer_{i}/attention/self/value",
    "transformer_layer_{i}/self_attention_layer/attention_output": "encoder/layer_{i}/attention/output/dense",
    "transformer_layer_{i}/self_attention_layer_norm": "encoder/layer_{i}/attention/output/LayerNorm",
    "transformer_layer_{i}/feedforward_intermediate_dense": "encoder/layer_{i}/intermediate/dense",
    "transformer_layer_{i}/feedforward_output_dense": "encoder/layer_{i}/output/dense",
    "transformer_layer_{i}/feedforward_layer_norm": "encoder/layer_{i}/output/LayerNorm",
    "pooled_dense": "pooler/dense",
}
# The same for the layers of tasks.
TASK_LAYERS = {
    "mlm_head": "cls/predictions",
    "mlm_head/intermediate_dense": "cls/predictions/transform/dense",
    "mlm_head/intermediate_layer_norm": "cls/predictions/transform/LayerNorm",
    "logits": "classifier",
}
# Class of a layer, or attribute that contains it: its name. Keras before 3.10 did not write the name.
_OLD_NAMES = {
    "reversible_embedding": "token_embedding",
    "embedding": "segment_embedding",
    "layer_normalization": "embeddings_layer_norm",
    "transformer_encoder": "transformer_layer_0",
    "query_dense": "query",
    "key_dense": "key",
    "value_dense": "value",
    "output_dense": "attention_output",
    "dense": "pooled_dense",
    "masked_lm_head": "mlm_head",
}
_BACKBONE = "BertBackbone"
# The classes of tasks in KerasHub, and in KerasNLP before it.
_TASKS = {
    "BertMaskedLM": "BertForMaskedLM",
    "BertTextClassifier": "BertForSequenceClassification",
    "BertClassifier": "BertForSequenceClassification",
}
_LAYER_NUMBER = re.compile(r"^transformer_layer_(\d+)(?=/)")


def find_layer(path: str) -> str | None:
    """Returns the path here of a layer of KerasHub; None if BERT has no such layer.

    >>> find_layer("transformer_layer_11/feedforward_output_dense")
    'encoder/layer_11/output/dense'
    """
    number = _LAYER_NUMBER.match(path)
    layer = (LAYERS | TASK_LAYERS).get(_LAYER_NUMBER.sub("transformer_layer_{i}", path))
    return layer.format(i=number[1]) if layer and number else layer


def rename_old_layer(name: str, *, is_task: bool) -> str:
    """Returns the name of a layer of KerasHub in a file of Keras before 3.10, which has its class or attribute instead.

    Args:
        name: the class or the attribute, as in the file.
        is_task: whether it is the file of a task's head, where the same class is another layer.

    >>> rename_old_layer("transformer_encoder_3", is_task=False), rename_old_layer("_query_dense", is_task=False)
    ('transformer_layer_3', 'query')
    """
    name = name.lstrip("_")
    if is_task and name == "dense":
        return "logits"
    stem, _, number = name.rpartition("_")
    if stem == "transformer_encoder" and number.isdecimal():
        return f"transformer_layer_{number}"
    return _OLD_NAMES.get(name, name)


def find_archive(source: Source) -> Path | None:
    """Returns the ``.keras`` file of a source: the one that the user named, or the only one without other files."""
    if source.weights is not None:
        return source.weights if source.weights.suffix == ".keras" else None
    if source.directory is None or source.find_config() is not None:
        return None
    archives = [source.directory / name for name in source.list_files() if name.endswith(".keras")]
    return archives[0] if len(archives) == 1 else None


def read_archive(path: Path, member: str) -> bytes:
    """Returns a member of a ``.keras`` file.

    Raises:
        InputError: the file is truncated or damaged, or is not a ``.keras`` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(member).compress_type != zipfile.ZIP_STORED:
                raise InputError(
                    f"{path}: {member} is compressed, which Keras never does. Unpack it, and save it again."
                )
            return archive.read(member)
    except KeyError as error:
        raise InputError(f"{path} has no {member}; a file that Keras 3 wrote (model.save) was expected.") from error
    # zipfile raises NotImplementedError for versions and methods of compression that it does not know, RuntimeError for
    # encrypted members, and the last three for damaged sizes, offsets and names.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is truncated, damaged or not a .keras file: {error}. Save or copy it again."
        ) from error


def read_archive_config(path: Path) -> dict[str, Any]:
    """Returns the configuration in a ``.keras`` file, as Keras wrote it."""
    name = f"config.json in {path}"
    try:
        values = parse_json(read_archive(path, "config.json").decode("utf-8"), name)
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8. Save or copy the file again.") from error
    if not isinstance(values, dict):
        raise InputError(f"{name} contains a JSON {type(values).__name__}; an object in braces was expected.")
    return values


def is_serialized(values: Mapping[str, Any]) -> bool:
    """Whether the content of a JSON file is an object that Keras serialized, and not a published configuration."""
    return isinstance(values.get("class_name"), str) and isinstance(values.get("config"), dict)


def read_config(source: Source) -> tuple[Path, dict[str, Any]]:
    """Returns the file with the configuration of a source, and its content with the keys of a ``config.json``.

    Raises:
        InputError: the source has no configuration, it is damaged, or it is that of another model.
    """
    path = find_archive(source) or source.get_config()
    return path, convert_config(_read_values(path), source, path)


def _read_values(path: Path) -> dict[str, Any]:
    return read_archive_config(path) if path.suffix == ".keras" else read_json(path)


def convert_config(values: dict[str, Any], source: Source, path: Path) -> dict[str, Any]:
    """Returns the keys of a published ``config.json`` for a model that Keras serialized.

    Args:
        values: the model: one of this package, or the backbone of a KerasHub preset. Other values are returned as they
            are.
        source: the source, which has the task of a preset.
        path: the file with the values, for messages.

    Raises:
        InputError: it is another model, or keys are missing.
    """
    if not is_serialized(values):
        return values
    name, config = values["class_name"], values["config"]
    if str(values.get("registered_name")).startswith("keras_bert_impl>") and isinstance(config.get("config"), dict):
        return {**config["config"], "architectures": [name]}
    if name != _BACKBONE:
        raise InputError(
            f"{path} contains a {name}; a model of this package or KerasHub's BertBackbone was expected. Save the BERT "
            "in it alone: model.save_weights, with its config.json next to the file."
        )
    missing = [key for key in (*SIZES.values(), "dropout") if key not in config]
    if missing:
        raise InputError(f"{path}: the BertBackbone lacks {', '.join(missing)}. Save the preset again.")
    result = {key: config[argument] for key, argument in SIZES.items()}
    result |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), config["dropout"])
    result |= {"layer_norm_eps": LAYER_NORM_EPS, "hidden_act": HIDDEN_ACT}
    task_name, task = _read_task(source)
    if task_name in _TASKS:
        result["architectures"] = [_TASKS[task_name]]
    if "num_classes" in task:
        result |= {"num_labels": task["num_classes"], "classifier_dropout": task.get("dropout")}
    return result


def _read_task(source: Source) -> tuple[str, Mapping[str, Any]]:
    """Returns the class of a preset's task and its configuration; both are empty if it has none."""
    path = source.find_file(TASK_CONFIG)
    values = read_json(path) if path else {}
    return (values["class_name"], values["config"]) if is_serialized(values) else ("", {})


def is_preset(source: Source) -> bool:
    """Whether a source is a preset of KerasHub, or a ``.keras`` file with its backbone."""
    path = find_archive(source) or source.find_config()
    return path is not None and _read_values(path).get("class_name") == _BACKBONE


def list_differences(source: Source) -> tuple[str, ...]:
    """Says where KerasHub's model differs from the published BERT; empty if a source is not a preset."""
    if not is_preset(source):
        return ()
    name, task = _read_task(source)
    notes = [
        f"KerasHub's encoder computes GELU by tanh, so hidden_act is {HIDDEN_ACT}. If the weights come from a "
        "published checkpoint, they were trained with the exact GELU: pass hidden_act='gelu', or write it into "
        "config.json after converting",
        "KerasHub's tokenizer keeps accents unless its settings say otherwise, and this package reads it so; BERT's "
        "removes them from lower-cased text",
    ]
    if name == "BertMaskedLM":
        notes.append(
            "KerasHub's masked-LM head computes the exact GELU, and its layer norm has the epsilon 1e-5: the logits "
            "here differ slightly, as BERT's head uses the activation and the epsilon of the encoder"
        )
    if task.get("activation") not in (None, "linear"):
        notes.append(f"the activation {task['activation']!r} of the {name} is not applied: the outputs are logits")
    if name == "BertTextEmbedder":
        notes.append(
            f"the pooling ({task.get('pooling_mode')}) and normalization ({task.get('normalize')}) of the {name} are "
            "not read: pass them to BertForSentenceEmbedding.from_pretrained"
        )
    return tuple(notes)


def read_tokenizer(values: Mapping[str, Any], source: Source, path: Path) -> tuple[Path, dict[str, Any]]:
    """Returns the vocabulary's file and the settings of a preset's tokenizer.

    Args:
        values: the content of its ``tokenizer.json``, as Keras serialized it.
        source: the preset.
        path: the ``tokenizer.json``, for messages.

    Raises:
        InputError: it is not the tokenizer of a BERT, or the vocabulary is missing.
    """
    if values["class_name"] != "BertTokenizer":
        raise InputError(f"{path} contains a {values['class_name']}; KerasHub's BertTokenizer was expected.")
    vocabulary = source.find_file(VOCABULARY)
    if vocabulary is None:
        raise InputError(f"{source.name} has no {VOCABULARY}, which the tokenizer needs. Copy it there too.")
    settings = values["config"]
    return vocabulary, {
        "do_lower_case": settings.get("lowercase", False),
        "strip_accents": settings.get("strip_accents", False),
    }
