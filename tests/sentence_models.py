"""Directories of sentence-transformers over a small random BERT, and that library as a reference.

`KINDS` has the settings of a directory as its files contain them, in the form of versions before 5.4, in which most
models are published. `save_again` writes a directory in the form of the installed version.
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch_process import run_in_torch_process

# The sizes of dense modules; the hidden size of the BERT (`small.SIZES`) is 32.
HIDDEN, FIRST, SECOND = 32, 19, 11

TEXTS = [
    "A great film.",
    "",
    "Emoji 😀 and 日本語, and a café; İstanbul!",
    "It runs for two hours, and nothing happens. " * 20,
    "  [SEP] \t A\x00 dull, dull film ",
    "x",
]


@dataclass(frozen=True)
class Kind:
    """What the files of a directory contain.

    Attributes:
        pooling: ``1_Pooling/config.json`` without the dimension.
        modules: the modules after it: the ``config.json`` of a dense module, or "Normalize".
        transformer: ``sentence_bert_config.json``; None: there is no such file.
        prompts: ``config_sentence_transformers.json`` without versions.
        folder: the folder of the BERT.
        is_cased: whether the tokenizer is cased.
    """

    pooling: dict[str, Any]
    modules: tuple[Any, ...] = ()
    transformer: dict[str, Any] | None = field(default_factory=lambda: {"max_seq_length": 53, "do_lower_case": False})
    prompts: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    is_cased: bool = False


def make_flags(*names: str) -> dict[str, Any]:
    """Returns the flags of a pooling, of which those with these names are true."""
    flags = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return {f"pooling_mode_{flag}": flag in names for flag in flags}


def make_dense(inputs: int, outputs: int, activation: str | None, *, bias: bool = True) -> dict[str, Any]:
    """Returns the ``config.json`` of a dense module; None as the activation leaves it out."""
    values: dict[str, Any] = {"in_features": inputs, "out_features": outputs, "bias": bias}
    return values if activation is None else {**values, "activation_function": f"torch.nn.modules.{activation}"}


_PROMPTS = {"prompts": {"query": "a question: ", "passage": "the text: "}, "default_prompt_name": None}
_NO_PROMPT = {"include_prompt": False}

KINDS: dict[str, Kind] = {
    "cls": Kind(make_flags("cls_token"), ("Normalize",)),
    "max": Kind(make_flags("max_tokens")),
    "mean": Kind(make_flags("mean_tokens"), ("Normalize",), {"max_seq_length": 13, "do_lower_case": False}),
    "mean_sqrt_len_tokens": Kind(make_flags("mean_sqrt_len_tokens"), ("Normalize",), transformer=None),
    "weightedmean": Kind(make_flags("weightedmean_tokens")),
    "lasttoken": Kind(make_flags("lasttoken"), ("Normalize",), {"max_seq_length": 29, "do_lower_case": False}),
    "several": Kind(make_flags("mean_tokens", "cls_token", "max_tokens"), ("Normalize",)),
    "new keys": Kind({"pooling_mode": ["mean", "cls"], "include_prompt": True}),
    "two keys": Kind({"pooling_mode_mean_tokens": True}),
    "no mode": Kind(make_flags()),
    "dense": Kind(
        make_flags("mean_tokens"),
        (make_dense(HIDDEN, FIRST, None), make_dense(FIRST, SECOND, "linear.Identity", bias=False), "Normalize"),
        prompts={"truncate_dim": 7, "similarity_fn_name": "dot"},
    ),
    "dense of several": Kind(
        make_flags("max_tokens", "weightedmean_tokens"),
        ("Normalize", make_dense(2 * HIDDEN, FIRST, "activation.GELU"), make_dense(FIRST, FIRST, "activation.SiLU")),
    ),
    "prompts": Kind(
        make_flags("mean_tokens"),
        ("Normalize",),
        prompts={**_PROMPTS, "default_prompt_name": "passage", "similarity_fn_name": "euclidean"},
    ),
    "mean without prompt": Kind({**make_flags("mean_tokens"), **_NO_PROMPT}, ("Normalize",), prompts=_PROMPTS),
    "cls without prompt": Kind({**make_flags("cls_token"), **_NO_PROMPT}, prompts=_PROMPTS),
    "several without prompt": Kind(
        {**make_flags("max_tokens", "weightedmean_tokens", "lasttoken"), **_NO_PROMPT}, prompts=_PROMPTS
    ),
    "lower case": Kind(make_flags("mean_tokens"), transformer={"do_lower_case": True}, is_cased=True),
    "folder": Kind(make_flags("mean_tokens"), folder="0_Transformer"),
}


def make_directory(kind: str | Kind, directory: Path, *, bert: Path) -> Path:
    """Writes a directory of a kind.

    Args:
        kind: a key of `KINDS`, or another kind.
        directory: must not exist.
        bert: the directory of the BERT, as `small.write_checkpoint` writes it.
    """
    values = KINDS[kind] if isinstance(kind, str) else kind
    shutil.copytree(bert, directory / values.folder)
    entries = [("Transformer", values.folder), ("Pooling", "1_Pooling")]
    _write(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, **values.pooling})
    for number, module in enumerate(values.modules, start=2):
        name = module if isinstance(module, str) else "Dense"
        entries.append((name, f"{number}_{name}"))
        if isinstance(module, dict):  # The folder of a normalize module may be missing.
            _write(directory / f"{number}_Dense" / "config.json", module)
            sizes = module["in_features"], module["out_features"], module["bias"]
            _write_dense(directory / f"{number}_Dense", *sizes, seed=number)
    if values.transformer is not None:
        _write(directory / values.folder / "sentence_bert_config.json", values.transformer)
    if values.prompts:
        _write(directory / "config_sentence_transformers.json", {"__version__": {}, **values.prompts})
    _write(directory / values.folder / "tokenizer_config.json", {"do_lower_case": not values.is_cased})
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
        for number, (name, path) in enumerate(entries)
    ]
    _write(directory / "modules.json", modules)
    return directory


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


@run_in_torch_process
def _write_dense(folder: Path, inputs: int, outputs: int, bias: bool, *, seed: int) -> None:
    """Writes random weights, as PyTorch if ``bias``, which old versions did, and otherwise as safetensors."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    tensors = {"linear.weight": torch.randn(outputs, inputs) / 3}
    if bias:
        torch.save({**tensors, "linear.bias": torch.randn(outputs)}, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors")


@run_in_torch_process
def encode(directory: Path, texts: list[str], **options: Any) -> np.ndarray:
    """Returns the vectors that sentence-transformers gives, float32 ``[texts, size]``."""
    import warnings

    from sentence_transformers import SentenceTransformer

    warnings.simplefilter("ignore")  # It knows the old names of its modules, and warns about them.
    return SentenceTransformer(str(directory), device="cpu").encode(texts, **options)


@run_in_torch_process
def save_again(directory: Path, target: Path) -> None:
    """Opens a directory with sentence-transformers and saves it, in the form of the installed version."""
    import warnings

    from sentence_transformers import SentenceTransformer

    warnings.simplefilter("ignore")
    SentenceTransformer(str(directory), device="cpu").save_pretrained(str(target), create_model_card=False)


@run_in_torch_process
def save_cross_encoder(kind: str, bert: Path, directory: Path, *, max_length: int = 41) -> None:
    """Saves a random cross-encoder.

    Args:
        kind: "identity" (scores are not bounded) or "sigmoid": the files of the installed version; "key", "old key" or
            "no key": those of older versions; "three labels": no reranker.
        bert: the directory of the BERT.
        directory: must not exist.
        max_length: tokens of a pair, at most.
    """
    import json
    import warnings

    import torch
    from sentence_transformers import CrossEncoder

    warnings.simplefilter("ignore")
    torch.manual_seed(5)
    activation = torch.nn.Identity() if kind == "identity" else torch.nn.Sigmoid()
    labels = 3 if kind == "three labels" else 1
    model = CrossEncoder(str(bert), num_labels=labels, activation_fn=activation, device="cpu", max_length=max_length)
    if kind in ("identity", "sigmoid"):
        model.save_pretrained(str(directory), create_model_card=False)
        return
    model.model.save_pretrained(directory)
    model.tokenizer.save_pretrained(directory)
    identity = "torch.nn.modules.linear.Identity"
    keys = {"key": {"sentence_transformers": {"activation_fn": identity, "version": "4.1.0"}}}
    keys["old key"] = {"sbert_ce_default_activation_function": identity}
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **keys.get(kind, {})}))
