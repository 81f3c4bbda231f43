"""Settings of sentence-transformers directories: what is read, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_models
import small
from hub_server import Hub, serve
from sentence_models import FIRST, HIDDEN, SECOND, make_dense, make_directory

from keras_bert_impl import BertConfig
from keras_bert_impl.checkpoints.sentence_modules import (
    is_sentence_directory,
    read_cross_encoder_activation,
    read_dense_tensors,
    read_settings,
    write_modules,
)
from keras_bert_impl.checkpoints.sentence_settings import DenseSettings, SentenceSettings
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source

CONFIG = BertConfig(**{key: value for key, value in small.SIZES.items() if key != "initializer_range"})


# Entries of `modules.json`.
TRANSFORMER = {"path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}


def read(directory: Path, **options: Any) -> SentenceSettings:
    return read_settings(open_source(directory), CONFIG, **options)


@pytest.fixture
def directory(tmp_path: Path, small_bert: Path) -> Path:
    """A transformer, mean pooling, two dense modules and a normalization."""
    return make_directory("dense", tmp_path / "embedder", bert=small_bert)


def change(path: Path, *keys: Any, value: Any) -> None:
    """Sets a value in a JSON file; ``keys`` lead to it. Without keys, ``value`` is the content."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    if keys:
        inner[keys[-1]] = value
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content if keys else value), encoding="utf-8")


def test_settings(directory: Path) -> None:
    assert read(directory) == SentenceSettings(
        pooling=("mean",),
        include_prompt=True,
        modules=(
            DenseSettings(HIDDEN, FIRST, bias=True, activation="tanh"),
            DenseSettings(FIRST, SECOND, bias=False, activation="linear"),
            "normalize",
        ),
        max_seq_length=53,
        do_lower_case=False,
        prompts={"query": "", "document": ""},
        default_prompt_name=None,
        similarity_fn_name="dot",
        truncate_dim=7,
    )
    assert read(directory).count_dimensions(HIDDEN) == SECOND
    tensors = read_dense_tensors(open_source(directory))
    assert {name: array.shape for name, array in tensors.items()} == {
        "sentence_dense.0.linear.weight": (FIRST, HIDDEN),
        "sentence_dense.0.linear.bias": (FIRST,),
        "sentence_dense.1.linear.weight": (SECOND, FIRST),
    }


def test_a_json_round_trip(directory: Path) -> None:
    settings = read(directory)
    assert SentenceSettings(**json.loads(json.dumps(settings.to_dict()))) == settings
    assert SentenceSettings.from_config(settings.add_to(CONFIG)) == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (True, "config.json: sentence_embedding is True; an object with settings was expected."),
        ({"poolings": ["cls"]}, "config.json: sentence_embedding has the unknown key 'poolings'; known are pooling"),
        ({"modules": [{"in_features": 7}]}, r"contains {'in_features': 7}, without out_features\. Add it"),
        ({"modules": [{"in_features": 7, "residual": True}]}, "has the unknown key 'residual'; known are in_features"),
    ],
)
def test_settings_that_another_program_wrote(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SentenceSettings.from_config(BertConfig(extra={"sentence_embedding": values}))


@pytest.mark.parametrize(
    ("values", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        # The order of old flags is fixed; the new key has an order, and takes precedence.
        ({"pooling_mode_lasttoken": True, "pooling_mode_cls_token": True}, ("cls", "lasttoken")),
        ({"pooling_mode": ["weightedmean", "max"], "pooling_mode_cls_token": True}, ("weightedmean", "max")),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, ("mean_sqrt_len_tokens",)),
        ({"embedding_dimension": HIDDEN, "pooling_mode": "cls"}, ("cls",)),
        ({}, ("mean",)),
    ],
)
def test_poolings(directory: Path, values: dict[str, Any], pooling: tuple[str, ...]) -> None:
    change(directory / "modules.json", value=[TRANSFORMER, POOLING])
    change(directory / "1_Pooling" / "config.json", value=values)
    assert read(directory).pooling == pooling


def test_prompts(directory: Path) -> None:
    values = {"prompts": {"passage": "passage: ", "query": None}, "default_prompt_name": "passage"}
    change(directory / "config_sentence_transformers.json", value=values)
    settings = read(directory)
    assert settings.prompts == {"query": "", "document": "", "passage": "passage: "}
    assert settings.default_prompt_name == "passage"


def test_another_head(directory: Path) -> None:
    settings = read(directory)
    assert settings.change_head(pooling="cls", normalize=None).pooling == ("cls",)
    assert settings.change_head(pooling=None, normalize=False).modules == settings.modules[:-1]
    without = settings.change_head(pooling=None, normalize=False)
    assert without.change_head(pooling=None, normalize=True) == settings


def test_harmless_settings(directory: Path) -> None:
    """What new versions write, and what cannot change the vectors."""
    text = {"method": "forward", "method_output_name": "last_hidden_state"}
    values = {
        "transformer_task": "feature-extraction",
        "modality_config": {"text": text},
        "module_output_name": "token_embeddings",
        "config_args": {"trust_remote_code": True},
        "processing_kwargs": {},
        "unpad_inputs": False,
    }
    change(directory / "sentence_bert_config.json", value=values)
    names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
    change(directory / "4_Normalize" / "config.json", value=names)
    assert read(directory).max_seq_length is None
    assert read(directory).modules[-1] == "normalize"


NO_MODULE = "a list of modules, each with the strings 'path' and 'type', was expected. Download it again."
# File, keys that lead to a value, the value, and the message after the path of the file.
WRONG: dict[str, tuple[str, list[Any], Any, str]] = {
    "unknown module": (
        "modules.json",
        [2, "type"],
        "sentence_transformers.models.WeightedLayerPooling",
        "module 2 is a WeightedLayerPooling (sentence_transformers.models.WeightedLayerPooling), which is not "
        "supported; supported are Transformer, Pooling, Dense and Normalize. Use sentence-transformers for this model.",
    ),
    "module of another library": (
        "modules.json",
        [1, "type"],
        "my_module.Pooling",
        "module 1 is a Pooling (my_module.Pooling), which is not supported; supported are Transformer, Pooling, Dense "
        "and Normalize. Use sentence-transformers for this model.",
    ),
    "order of modules": (
        "modules.json",
        [1, "type"],
        "sentence_transformers.models.Dense",
        "module 1 is a Dense; a Pooling was expected. Supported are a Transformer, a Pooling, and then Dense and "
        "Normalize modules. Use sentence-transformers for this model.",
    ),
    "two poolings": (
        "modules.json",
        [3],
        POOLING,
        "module 3 is a Pooling; a Dense or Normalize was expected. Supported are a Transformer, a Pooling, and then "
        "Dense and Normalize modules. Use sentence-transformers for this model.",
    ),
    "no pooling": (
        "modules.json",
        [],
        [TRANSFORMER],
        "the Pooling is missing; a Transformer and a Pooling were expected. Add it, or remove this file, which gives "
        "mean pooling.",
    ),
    "no list": ("modules.json", [], {"a": 1}, "{'a': 1} was found; " + NO_MODULE),
    "no path": (
        "modules.json",
        [1, "path"],
        3,
        "{'idx': 1, 'name': '1', 'path': 3, 'type': 'sentence_transformers.models.Pooling'} was found; " + NO_MODULE,
    ),
    "kwargs": (
        "modules.json",
        [0, "kwargs"],
        ["task"],
        "module 0 has kwargs ['task'], which are not supported. Use sentence-transformers for this model.",
    ),
    "path outside": (
        "modules.json",
        [1, "path"],
        "../1_Pooling",
        "module 1 has the path '../1_Pooling'; a folder in the directory was expected.",
    ),
    "absolute path": (
        "modules.json",
        [1, "path"],
        "C:/1_Pooling",
        "module 1 has the path 'C:/1_Pooling'; a folder in the directory was expected.",
    ),
    "another folder": (
        "modules.json",
        [0, "path"],
        "0_BERT",
        "module 0 has the path '0_BERT'; '' or '0_Transformer' was expected. Rename the folder, in this file and "
        "on the disk.",
    ),
    "sizes of modules": (
        "modules.json",
        [2, "path"],
        "3_Dense",
        "module 2 takes 19 dimensions, but module 1 gives 32. The directory mixes modules of different models.",
    ),
    "hidden size": (
        "1_Pooling/config.json",
        ["word_embedding_dimension"],
        48,
        "the embedding dimension is 48, but the model's hidden size is 32. The pooling belongs to another model.",
    ),
    "pooling mode": (
        "1_Pooling/config.json",
        ["pooling_mode"],
        "attention",
        "the pooling mode 'attention' is unknown; cls, max, mean, mean_sqrt_len_tokens, weightedmean or lasttoken was "
        "expected.",
    ),
    "pooling flag": (
        "1_Pooling/config.json",
        ["pooling_mode_attention"],
        True,
        "the pooling mode 'attention' is unknown; cls, max, mean, mean_sqrt_len_tokens, weightedmean or lasttoken was "
        "expected.",
    ),
    "no pooling mode": (
        "1_Pooling/config.json",
        ["pooling_mode"],
        [],
        "pooling is []; cls, max, mean, mean_sqrt_len_tokens, weightedmean or lasttoken was expected.",
    ),
    "include_prompt": (
        "1_Pooling/config.json",
        ["include_prompt"],
        "no",
        "include_prompt is 'no'; true or false was expected.",
    ),
    "activation": (
        "2_Dense/config.json",
        ["activation_function"],
        "my_module.Swish",
        "activation_function 'my_module.Swish' is not supported; one of torch.nn.modules.linear.Identity, "
        "torch.nn.modules.activation.Tanh, torch.nn.modules.activation.Sigmoid, torch.nn.modules.activation.ReLU, "
        "torch.nn.modules.activation.GELU, torch.nn.modules.activation.SiLU was expected. Use sentence-transformers "
        "for this model.",
    ),
    "no size": (
        "2_Dense/config.json",
        ["in_features"],
        None,
        "in_features is None; an integer above 0 was expected.",
    ),
    "residual": (
        "2_Dense/config.json",
        ["use_residual"],
        True,
        "use_residual is true, which is not supported. Use sentence-transformers for this model.",
    ),
    "input of a dense module": (
        "2_Dense/config.json",
        ["module_input_name"],
        "token_embeddings",
        "module_input_name is 'token_embeddings'; only 'sentence_embedding' is supported. Use sentence-transformers "
        "for this model.",
    ),
    "input of a normalization": (
        "4_Normalize/config.json",
        ["module_input_name"],
        "token_embeddings",
        "module_input_name is 'token_embeddings'; only 'sentence_embedding' is supported. Use sentence-transformers "
        "for this model.",
    ),
    "length": (
        "sentence_bert_config.json",
        ["max_seq_length"],
        "256",
        "max_seq_length is '256'; null or an integer above 0 was expected.",
    ),
    "task": (
        "sentence_bert_config.json",
        ["transformer_task"],
        "fill-mask",
        "transformer_task is 'fill-mask', which is not supported. Use sentence-transformers for this model.",
    ),
    "output": (
        "sentence_bert_config.json",
        ["modality_config"],
        {"text": {"method": "forward", "method_output_name": "pooler_output"}},
        "modality_config is {'text': {'method': 'forward', 'method_output_name': 'pooler_output'}}, which is not "
        "supported. Use sentence-transformers for this model.",
    ),
    "arguments of the tokenizer": (
        "sentence_bert_config.json",
        ["tokenizer_args"],
        {"model_max_length": 7},
        "tokenizer_args is {'model_max_length': 7}, which is not supported. Use sentence-transformers for this model.",
    ),
    "kind of model": (
        "config_sentence_transformers.json",
        ["model_type"],
        "SparseEncoder",
        "model_type is 'SparseEncoder'; a SentenceTransformer was expected. Use sentence-transformers for this model.",
    ),
    "default prompt": (
        "config_sentence_transformers.json",
        ["default_prompt_name"],
        "q",
        "default_prompt_name is 'q', which is not one of the prompts 'query', 'document'. Correct the name, or add the "
        "prompt.",
    ),
    "prompt": (
        "config_sentence_transformers.json",
        ["prompts"],
        {"query": 5},
        "prompts is {'query': 5, 'document': ''}; an object of names and texts was expected.",
    ),
    "similarity": (
        "config_sentence_transformers.json",
        ["similarity_fn_name"],
        "maxsim",
        "similarity_fn_name is 'maxsim'; cosine, dot, euclidean or manhattan was expected.",
    ),
    "truncate_dim": (
        "config_sentence_transformers.json",
        ["truncate_dim"],
        0,
        "truncate_dim is 0; null or an integer above 0 was expected.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(directory: Path, case: str) -> None:
    file, keys, value, message = WRONG[case]
    change(directory / file, *keys, value=value)
    with pytest.raises(InputError) as error:
        read(directory)
    assert str(error.value) == f"{directory / file}: {message}"


def test_too_many_dense_modules(directory: Path) -> None:
    change(directory / "2_Dense" / "config.json", value=make_dense(HIDDEN, HIDDEN, None))
    dense = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    change(directory / "modules.json", value=[TRANSFORMER, POOLING, *5 * [dense]])
    with pytest.raises(InputError, match=r"modules\.json: there are 5 dense modules; at most 4 are supported\. Use"):
        read(directory)


def test_missing_files(directory: Path) -> None:
    (directory / "2_Dense" / "pytorch_model.bin").unlink()
    source = open_source(directory)
    with pytest.raises(
        InputError,
        match=r"embedder/2_Dense has no weights: looked for model\.safetensors, pytorch_model\.bin\. Download",
    ):
        read_dense_tensors(source)
    (directory / "1_Pooling" / "config.json").unlink()
    with pytest.raises(InputError, match=r"embedder lacks 1_Pooling/config\.json, the file of module 1\. Download"):
        read(directory)


def test_a_missing_tensor(directory: Path) -> None:
    change(directory / "3_Dense" / "config.json", "bias", value=True)
    with pytest.raises(
        InputError, match=r"3_Dense/model\.safetensors lacks linear\.bias; it has linear\.weight\. Download it again\.$"
    ):
        read_dense_tensors(open_source(directory))


def test_cross_encoders_are_not_sentence_embeddings(directory: Path, small_bert: Path) -> None:
    """A cross-encoder of version 6 has a ``modules.json`` too, with one module."""
    source = open_source(directory)
    assert is_sentence_directory(source)
    assert read_cross_encoder_activation(source) is None
    assert not is_sentence_directory(open_source(small_bert))
    assert read_cross_encoder_activation(open_source(small_bert)) is None
    change(directory / "modules.json", value=[TRANSFORMER])
    sigmoid = "torch.nn.modules.activation.Sigmoid"
    values = {"model_type": "CrossEncoder", "activation_fn": sigmoid}
    change(directory / "config_sentence_transformers.json", value=values)
    assert not is_sentence_directory(source)
    assert read_cross_encoder_activation(source) == sigmoid
    with pytest.raises(
        InputError, match=r"model_type is 'CrossEncoder'; a SentenceTransformer was expected\. Open it with Reranker"
    ):
        read(directory)


def test_a_saved_cross_encoder(small_bert: Path, tmp_path: Path) -> None:
    sentence_models.save_cross_encoder("identity", small_bert, tmp_path / "reranker")
    source = open_source(tmp_path / "reranker")
    assert not is_sentence_directory(source)
    assert read_cross_encoder_activation(source) == "torch.nn.modules.linear.Identity"


def test_written_files(tmp_path: Path) -> None:
    settings = SentenceSettings(pooling=("mean", "cls"), modules=("normalize", DenseSettings(64, 5, bias=False)))
    weight = np.arange(320, dtype="float32").reshape(5, 64)
    names = {"sentence_dense.0.linear.weight": weight}
    write_modules(tmp_path, settings, names, hidden_size=HIDDEN, version="1.2.3")
    assert read(tmp_path) == settings
    found = read_dense_tensors(open_source(tmp_path))
    np.testing.assert_array_equal(found["sentence_dense.0.linear.weight"], weight)
    assert (tmp_path / "2_Normalize").is_dir()
    values = json.loads((tmp_path / "config_sentence_transformers.json").read_text())
    assert values["__version__"] == {"keras_bert_impl": "1.2.3"}


CLIENT = """
import json
from keras_bert_impl import BertConfig
from keras_bert_impl.checkpoints.sentence_modules import is_sentence_directory, read_dense_tensors, read_settings
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source

source = open_source("org/embedder")
assert is_sentence_directory(source)
print(json.dumps(read_settings(source, BertConfig.from_pretrained(source)).to_dict()))
print(*read_dense_tensors(source))
try:
    BertConfig.from_pretrained("org/old")
except InputError as error:
    print(error)
"""


def test_the_hub(directory: Path, small_bert: Path, tmp_path: Path) -> None:
    """The files of modules are in folders of the repository. Those of the BERT are not, except in old directories."""
    old = make_directory("folder", tmp_path / "old", bert=small_bert)
    with serve(Hub({"org/embedder": {"main": directory}, "org/old": {"main": old}})) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", CLIENT]
        printed = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    settings, names, message = printed.splitlines()
    assert SentenceSettings(**json.loads(settings)) == read(directory)
    assert names.split() == list(read_dense_tensors(open_source(directory)))
    assert message.startswith("org/old has the files of the BERT in the folder 0_Transformer, which is read from")
