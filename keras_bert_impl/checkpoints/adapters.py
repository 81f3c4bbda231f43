"""LoRA adapters as PEFT's files: ``adapter_config.json`` and ``adapter_model.safetensors``.

PEFT names a tensor by the module of its model, with ``base_model.model.`` in front. Layers with LoRA have the matrices
``lora_A.weight``, ``[rank, inputs]``, and ``lora_B.weight``, ``[outputs, rank]``; layers that were trained completely,
such as a new head, have their own tensors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.checkpoints.names import (
    DECODER_BIAS,
    find_path,
    find_torch_name,
    list_names,
    to_torch_name,
    to_torch_names,
)
from keras_bert_impl.checkpoints.weight_files import read_tensor_file, write_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json, to_json, write_text
from keras_bert_impl.sources import ADAPTER_CONFIG, Source, locate_files

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_BACKBONE = ("embeddings.", "encoder.")

# Values of `init_lora_weights` that leave the weights of the base as they are; others, such as pissa, change them.
_PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
# Other keys that change the outputs, if they have a value.
_UNSUPPORTED = (
    *("use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "use_bdlora", "layer_replication", "target_parameters"),
    *("trainable_token_indices", "alora_invocation_tokens", "arrow_config", "kasa_config", "monteclora_config"),
    *("velora_config", "megatron_config"),
)
# Keys that exclude some of the layers that `target_modules` names.
_SELECTIONS = ("layers_to_transform", "exclude_modules")


@dataclass(frozen=True)
class LoraMatrices:
    """LoRA of one dense layer, which adds ``scale * a @ b`` to the kernel ``[inputs, outputs]``.

    Attributes:
        a: ``[inputs, rank]``.
        b: ``[rank, outputs]``.
        alpha: the scale, multiplied by the rank.

    >>> LoraMatrices(np.ones((3, 2)), np.ones((2, 1)), alpha=6.0).compute_update().tolist()
    [[6.0], [6.0], [6.0]]
    """

    a: np.ndarray
    b: np.ndarray
    alpha: float

    @property
    def rank(self) -> int:
        """The number of columns of ``a``, and of rows of ``b``."""
        return self.a.shape[1]

    def compute_update(self) -> np.ndarray:
        """Returns what is added to the kernel."""
        return (self.alpha / self.rank) * (self.a @ self.b)


@dataclass(frozen=True)
class Adapter:
    """The content of an adapter.

    Attributes:
        source: its name, for messages.
        lora: the matrices, by the path of the kernel that they belong to.
        tensors: complete tensors, such as those of a head, by their PyTorch names.
        targets: the ends of the names of all layers with LoRA; empty if the files do not list them.
    """

    source: str
    lora: Mapping[str, LoraMatrices]
    tensors: Mapping[str, np.ndarray]
    targets: tuple[str, ...] = ()

    def check_base(self, shapes: Mapping[str, tuple[int, ...]], base: str) -> None:
        """Checks that the adapter belongs to a model.

        Args:
            shapes: the shapes of the model's variables, by path.
            base: its name, for messages.

        Raises:
            InputError: a shape differs, or one of them has a layer that the other lacks.
        """
        advice = "The adapter belongs to another base model. Name that one."
        for path, matrices in self.lora.items():
            shape = (matrices.a.shape[0], matrices.b.shape[1])
            if path not in shapes and path.startswith("encoder/"):
                raise InputError(f"{self.source} has LoRA for {find_module(path)}, which {base} lacks. {advice}")
            if path in shapes and tuple(shapes[path]) != shape:
                raise InputError(
                    f"{self.source}: the LoRA of {find_module(path)} is for a kernel of the shape {list(shape)}, but "
                    f"that of {base} has {list(shapes[path])}. {advice}"
                )
        for path in shapes:
            is_target = path.startswith("encoder/") and path.endswith("/kernel") and self._targets(find_module(path))
            if is_target and path not in self.lora:
                raise InputError(f"{self.source} lacks the LoRA of {find_module(path)}, which {base} has. {advice}")

    def _targets(self, module: str) -> bool:
        return any(matches(target.removeprefix("bert."), module) for target in self.targets)


def matches(target: str, module: str) -> bool:
    """Whether a name in ``target_modules`` or in a pattern means a module, by PEFT's rule for lists.

    >>> [matches(target, "encoder.layer.0.attention.self.query") for target in ("query", "self.query", "uery")]
    [True, True, False]
    """
    return f".{module}".endswith(f".{target}")


def find_module(path: str) -> str:
    """Returns the PyTorch name of the module with a kernel, such as ``encoder.layer.0.attention.self.query``."""
    found = find_torch_name(path)
    assert found is not None
    return found[1].removesuffix(".weight")


def read_adapter(source: str | Path | Source) -> Adapter:
    """Reads the files that PEFT or this package wrote.

    Args:
        source: a directory with ``adapter_config.json`` and the tensors, a hub name, or an opened source.

    Raises:
        InputError: a file is missing or damaged; the adapter is not LoRA, is of a kind that is not supported, or has a
            tensor that no BERT has.
    """
    opened = locate_files(source)
    path = opened.find_own_file(ADAPTER_CONFIG)
    if path is None:
        raise InputError(f"{opened.name} has no {ADAPTER_CONFIG}: it is not an adapter. Check the path.")
    config = read_json(path)
    _check_config(config, path)
    file = next(filter(None, map(opened.find_own_file, _WEIGHTS)), None)
    if file is None:
        raise InputError(f"{opened.name} has {ADAPTER_CONFIG}, but none of {', '.join(_WEIGHTS)}. Copy it there too.")
    matrices: dict[str, dict[str, np.ndarray]] = {}
    tensors: dict[str, np.ndarray] = {}
    for key, tensor in read_tensor_file(file).items():
        name = key.removeprefix(_PREFIX)
        for suffix in (_A, _B):
            if name.endswith(suffix):
                matrices.setdefault(name.removesuffix(suffix), {})[suffix] = tensor
                break
        else:
            if find_path(to_torch_name(name)) is None and to_torch_name(name) != DECODER_BIAS:
                raise InputError(f"{file} contains {key}, which is neither LoRA of a dense layer nor a tensor of BERT.")
            tensors[to_torch_name(name)] = tensor
    lora = {}
    for module, pair in matrices.items():
        found = find_path(to_torch_name(f"{module}.weight"))
        if found is None or not found[0].torch_transposed:
            raise InputError(
                f"{file} has LoRA for {module}, which is not a dense layer of BERT. Merge the adapter with PEFT "
                "(merge_and_unload, then save_pretrained), and load the merged model."
            )
        lora[found[1]] = _make_matrices(module, pair, config, file)
    if not lora:
        raise InputError(f"{file} contains no LoRA: no tensor's name ends with {_A}.")
    targets = config.get("target_modules")
    is_complete = isinstance(targets, list) and not any(config.get(key) for key in _SELECTIONS)
    return Adapter(opened.name, lora, tensors, tuple(map(str, targets)) if is_complete and targets else ())


def _check_config(config: Mapping[str, Any], path: Path) -> None:
    """Raises ``InputError`` for an adapter that is not plain LoRA."""
    if config.get("peft_type") != "LORA":
        raise InputError(f"{path}: peft_type is {config.get('peft_type')!r}; LORA was expected.")
    unsupported = [key for key in _UNSUPPORTED if config.get(key)]
    unsupported += ["bias"] if config.get("bias", "none") != "none" else []
    unsupported += ["init_lora_weights"] if config.get("init_lora_weights") not in _PLAIN_STARTS else []
    if unsupported:
        raise InputError(
            f"{path}: {unsupported[0]} is {config[unsupported[0]]!r:.200}, which is not supported. Merge the adapter "
            "with PEFT (merge_and_unload, then save_pretrained), and load the merged model."
        )
    for key in ("r", "lora_alpha"):
        value = config.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise InputError(f"{path}: {key} is {value!r}; a number above 0 was expected.")
    for key in ("rank_pattern", "alpha_pattern"):
        # PEFT reads them as regular expressions. Those of a file are not executed: they could take forever.
        unusual = [name for name in config.get(key) or {} if not name.replace(".", "").replace("_", "").isalnum()]
        if unusual:
            raise InputError(f"{path}: {key} contains {unusual[0]!r}; names of modules were expected.")


def _make_matrices(module: str, pair: Mapping[str, np.ndarray], config: Mapping[str, Any], file: Path) -> LoraMatrices:
    """Returns the matrices of one module, checked."""
    for suffix in (_A, _B):
        if suffix not in pair:
            raise InputError(f"{file} lacks {module}{suffix}. Download it again.")
    a, b = pair[_A], pair[_B]
    rank = _find_pattern(config.get("rank_pattern"), module, config["r"])
    if a.ndim != 2 or b.ndim != 2 or not a.shape[0] == b.shape[1] == rank:
        raise InputError(
            f"{file}: the LoRA matrices of {module} have the shapes {list(a.shape)} and {list(b.shape)}; the rank in "
            f"{ADAPTER_CONFIG} is {rank}. The two files belong to different adapters."
        )
    alpha = _find_pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
    return LoraMatrices(a.T, b.T, alpha * math.sqrt(rank) if config.get("use_rslora") else alpha)


def _find_pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    return next((value for name, value in (patterns or {}).items() if matches(name, module)), default)


def merge_adapter(tensors: Mapping[str, np.ndarray], adapter: Adapter, *, base: str) -> dict[str, np.ndarray]:
    """Adds an adapter to the tensors of its base.

    Args:
        tensors: the tensors of the base by their names in its file, in any published spelling.
        adapter: the adapter.
        base: the name of the base, for messages.

    Returns:
        the tensors of the merged model. LoRA of a layer that the base lacks, such as a pooler, is not used.

    Raises:
        InputError: the adapter belongs to another base.
    """
    keys, transposed, shapes = {}, {}, {}
    names = to_torch_names(tensors.keys(), source=base)
    for key, tensor in tensors.items():
        if found := find_path(names[key]):
            row, path = found
            is_transposed = row.is_transposed(key)
            keys[path], transposed[path] = key, is_transposed
            shapes[path] = tensor.shape[::-1] if is_transposed else tensor.shape
    adapter.check_base(shapes, base)
    merged = dict(tensors)
    for path, matrices in adapter.lora.items():
        if path in keys:
            update = matrices.compute_update()
            merged[keys[path]] = tensors[keys[path]] + (update.T if transposed[path] else update)
    for name, tensor in adapter.tensors.items():
        found = find_path(name)
        merged.pop(keys.get(found[1], name) if found else name, None)
        merged[name] = tensor
    return merged


def write_adapter(directory: Path, adapter: Adapter, *, prefix: str, num_hidden_layers: int, **facts: Any) -> None:
    """Writes an adapter as PEFT does.

    Args:
        directory: an existing directory.
        adapter: the adapter, with the tensors under their PyTorch names.
        prefix: the prefix of the backbone's names: ``bert.`` in models with a head.
        num_hidden_layers: the number of layers of the base.
        **facts: ``task_type``, ``base_model_name_or_path`` and ``revision``.
    """
    modules = {path: find_module(path) for path in adapter.lora}
    # A layer may have other numbers than the first one.
    first = next(iter(adapter.lora.values()))
    full = {path: module if module.startswith("cls.") else prefix + module for path, module in modules.items()}
    tensors = dict(adapter.tensors)
    for path, matrices in adapter.lora.items():
        tensors[full[path] + _A], tensors[full[path] + _B] = matrices.a.T, matrices.b.T
    saved = {name.removeprefix("bert.").split(".")[0] for name in adapter.tensors} - {"sentence_dense"}
    config = {
        "peft_type": "LORA",
        **facts,
        "r": first.rank,
        "lora_alpha": first.alpha,
        "lora_dropout": 0.0,
        "target_modules": _list_targets(modules, full, num_hidden_layers),
        "modules_to_save": sorted(saved) or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "use_dora": False,
        "use_rslora": False,
        "rank_pattern": {full[path]: m.rank for path, m in adapter.lora.items() if m.rank != first.rank},
        "alpha_pattern": {full[path]: m.alpha for path, m in adapter.lora.items() if m.alpha != first.alpha},
    }
    arrays = {_PREFIX + name: np.ascontiguousarray(array, "float32") for name, array in tensors.items()}
    write_tensors(directory / _WEIGHTS[0], arrays)
    # Written last: a directory with this file is an adapter.
    write_text(directory / ADAPTER_CONFIG, to_json(config))


def _list_targets(modules: Mapping[str, str], full: Mapping[str, str], num_hidden_layers: int) -> list[str]:
    """Returns ``target_modules``: short names such as ``query`` if they mean only these modules, else full ones."""
    short = sorted({module.split(".")[-1] for module in modules.values()})
    every = {name.removesuffix(".weight") for _, name in list_names(num_hidden_layers)}
    meant = {module for module in every if any(matches(target, module) for target in short)}
    return short if meant == set(modules.values()) else sorted(full.values())


def is_backbone(name: str) -> bool:
    """Whether the PyTorch name of a tensor is that of the embeddings or the encoder, which an adapter leaves out."""
    return to_torch_name(name).startswith(_BACKBONE)
