"""From a source to its tensors: which file is read, shards as transformers cuts them, what is said without weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hub_server import Hub, serve
from transformers import BertConfig, BertModel

from keras_bert_impl.checkpoints.readers import WEIGHTS, read_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source


@pytest.fixture(scope="module")
def model() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=17,
    )
    return BertModel(config)


@pytest.fixture
def sharded(model: BertModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    return tmp_path


def edit_index(directory: Path, name: str, shard: str | None) -> None:
    """Says in the index that the tensor ``name`` is in ``shard``, or leaves it out."""
    path = directory / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][name] = shard
    if shard is None:
        del index["weight_map"][name]
    path.write_text(json.dumps(index))


def assert_same(arrays: dict[str, np.ndarray], tensors: dict[str, torch.Tensor]) -> None:
    assert arrays.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


def test_whole(model: BertModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert_same(read_tensors(open_source(tmp_path)), model.state_dict())
    assert_same(read_tensors(open_source(tmp_path / "model.safetensors")), model.state_dict())


def test_shards(model: BertModel, sharded: Path) -> None:
    assert len(list(sharded.glob("model-*.safetensors"))) > 3
    assert_same(read_tensors(open_source(sharded)), model.state_dict())
    assert_same(read_tensors(open_source(sharded / "model.safetensors.index.json")), model.state_dict())


def test_bin_shards(tmp_path: Path) -> None:
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    torch.save({"a": torch.ones(3)}, tmp_path / first)
    torch.save({"b": torch.zeros(2)}, tmp_path / second)
    index = {"metadata": {}, "weight_map": {"a": first, "b": second}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert_same(read_tensors(open_source(tmp_path)), {"a": torch.ones(3), "b": torch.zeros(2)})


def test_16_bit_numbers_become_float32(tmp_path: Path) -> None:
    tensors = {"half": torch.randn(3, 2).half(), "bfloat16": torch.randn(2, 5).bfloat16(), "ids": torch.arange(4)}
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    for name in ("model.safetensors", "pytorch_model.bin"):
        arrays = read_tensors(open_source(tmp_path / name))
        assert {name: array.dtype.name for name, array in arrays.items()} == {
            "half": "float32",
            "bfloat16": "float32",
            "ids": "int64",
        }
        assert_same(
            arrays, {"half": tensors["half"].float(), "bfloat16": tensors["bfloat16"].float(), "ids": tensors["ids"]}
        )


def test_the_order_of_formats(tmp_path: Path) -> None:
    assert WEIGHTS[0] == "model.safetensors"
    safetensors.torch.save_file({"a": torch.tensor([1.0])}, tmp_path / "model.safetensors")
    torch.save({"a": torch.tensor([2.0])}, tmp_path / "pytorch_model.bin")
    assert read_tensors(open_source(tmp_path))["a"] == 1
    (tmp_path / "model.safetensors").unlink()
    assert read_tensors(open_source(tmp_path))["a"] == 2


def test_a_missing_shard(sharded: Path) -> None:
    name = min(sharded.glob("model-*.safetensors")).name
    (sharded / name).unlink()
    with pytest.raises(InputError, match=f"index.json names the shard {name}, which is missing"):
        read_tensors(open_source(sharded))


def test_a_tensor_missing_in_its_shard(sharded: Path) -> None:
    shard = min(sharded.glob("model-*.safetensors")).name
    edit_index(sharded, "cls.predictions.bias", shard)
    with pytest.raises(InputError, match=r"lacks 'cls\.predictions\.bias'"):
        read_tensors(open_source(sharded))


def test_a_tensor_that_the_index_forgot(model: BertModel, sharded: Path) -> None:
    edit_index(sharded, "pooler.dense.bias", None)
    assert_same(read_tensors(open_source(sharded)), model.state_dict())


@pytest.mark.parametrize(
    "shard",
    ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", "config.json", "model.ckpt.index"],
)
def test_shards_from_elsewhere(sharded: Path, shard: str) -> None:
    edit_index(sharded, "pooler.dense.bias", shard)
    with pytest.raises(InputError, match=r"the bare name of a \.safetensors or \.bin file was expected"):
        read_tensors(open_source(sharded))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 3}}']
)
def test_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json"):
        read_tensors(open_source(tmp_path))


def test_no_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with pytest.raises(InputError, match=r"has no weights: looked for model\.safetensors, .*It holds config\.json"):
        read_tensors(open_source(tmp_path))
    (tmp_path / "tf_model.h5").touch()
    with pytest.raises(InputError, match=r"transformers 4 converts its tf_model\.h5: .*from_tf=True"):
        read_tensors(open_source(tmp_path))


def test_several_tensorflow_checkpoints(tmp_path: Path) -> None:
    for step in (100, 200):
        (tmp_path / f"model.ckpt-{step}.index").touch()
    with pytest.raises(InputError, match=r"several checkpoints: model\.ckpt-100\.index, model\.ckpt-200\.index"):
        read_tensors(open_source(tmp_path))


CLIENT = """
import sys
from keras_bert_impl.checkpoints.readers import read_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source
try:
    print(sum(float(array.sum()) for array in read_tensors(open_source(sys.argv[1])).values()))
except InputError as error:
    print(error)
"""


def test_the_hub(model: BertModel, sharded: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty, home = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("home")
    with serve(Hub({"org/model": {"main": sharded}, "org/empty": {"main": empty}})) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home)}
        results = [
            subprocess.run(
                [sys.executable, "-c", CLIENT, name], env=env, capture_output=True, text=True, check=True
            ).stdout
            for name in ("org/model", "org/empty")
        ]
    expected = sum(float(tensor.sum()) for tensor in model.state_dict().values())
    assert float(results[0]) == pytest.approx(expected, rel=1e-4)
    assert "org/empty has no weights: looked for model.safetensors" in results[1]
    assert "The hub has none of these" in results[1]


def test_real_files(rxn: Path) -> None:
    arrays = read_tensors(open_source(rxn / "bert_pretrained"))
    assert arrays["bert.embeddings.word_embeddings.weight"].shape == (591, 256)
    assert arrays["cls.predictions.bias"].dtype == np.float32
