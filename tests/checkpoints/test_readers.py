"""Reading the tensors of a source: which file is read, shards of transformers, messages without weights."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import msgpack
import numpy as np
import pytest
import transformers_models
from hub_server import Hub, serve
from torch_process import run_in_torch_process

from keras_bert_impl.checkpoints.weight_files import READERS, WEIGHTS, read_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import WEIGHTS_SUFFIXES, open_source

LAYERS = {"num_hidden_layers": 3}


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    """The tensors of a random model."""
    return transformers_models.make_state_dict("BertModel", **LAYERS)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """The same model, saved in small shards."""
    transformers_models.save("BertModel", tmp_path, max_shard_size="20KB", **LAYERS)
    return tmp_path


def edit_index(directory: Path, name: str, shard: str | None) -> None:
    """Changes the index: the tensor ``name`` is in ``shard``, or is not listed."""
    path = directory / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][name] = shard
    if shard is None:
        del index["weight_map"][name]
    path.write_text(json.dumps(index))


def assert_same(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)


@run_in_torch_process
def save(path: Path, numbers: dict[str, list[float]], *, dtypes: dict[str, str] | None = None) -> None:
    """Saves tensors with torch, or with its safetensors library, depending on the suffix."""
    import safetensors.torch
    import torch

    tensors = {
        name: torch.tensor(values, dtype=getattr(torch, (dtypes or {}).get(name, "float32")))
        for name, values in numbers.items()
    }
    (safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)


def test_all_names_of_weights_files_have_a_reader() -> None:
    """The index of shards, a ``.json`` file, needs none: it is read before them."""
    assert {Path(f"x{suffix}").suffix for suffix in WEIGHTS_SUFFIXES} == {*READERS, ".json"}
    assert all(name.endswith(WEIGHTS_SUFFIXES) for name in WEIGHTS)


def test_one_file(state: dict[str, np.ndarray], tmp_path: Path) -> None:
    transformers_models.save("BertModel", tmp_path, **LAYERS)
    assert_same(read_tensors(open_source(tmp_path)), state)
    assert_same(read_tensors(open_source(tmp_path / "model.safetensors")), state)


def test_shards(state: dict[str, np.ndarray], shards: Path) -> None:
    assert len(list(shards.glob("model-*.safetensors"))) > 3
    assert_same(read_tensors(open_source(shards)), state)
    assert_same(read_tensors(open_source(shards / "model.safetensors.index.json")), state)


def test_bin_shards(tmp_path: Path) -> None:
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    save(tmp_path / first, {"a": [1.0] * 3})
    save(tmp_path / second, {"b": [0.0] * 2})
    index = {"metadata": {}, "weight_map": {"a": first, "b": second}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert_same(read_tensors(open_source(tmp_path)), {"a": np.ones(3), "b": np.zeros(2)})


@run_in_torch_process
def round_numbers(values: list[float], dtype: str) -> np.ndarray:
    """The numbers rounded to another precision, in float32."""
    import torch

    return torch.tensor(values).to(getattr(torch, dtype)).float().numpy()


def test_16_bit_numbers_become_float32(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=9).tolist()
    tensors = {"half": numbers, "bfloat16": numbers[::-1], "ids": [0, 1, 2, 3]}
    for name in ("model.safetensors", "pytorch_model.bin"):
        save(tmp_path / name, tensors, dtypes={"half": "float16", "bfloat16": "bfloat16", "ids": "int64"})
        arrays = read_tensors(open_source(tmp_path / name))
        assert {name: array.dtype.name for name, array in arrays.items()} == {
            "half": "float32",
            "bfloat16": "float32",
            "ids": "int64",
        }
        half, bfloat16 = round_numbers(numbers, "float16"), round_numbers(numbers[::-1], "bfloat16")
        assert_same(arrays, {"half": half, "bfloat16": bfloat16, "ids": np.arange(4)})


def test_the_order_of_formats(tmp_path: Path) -> None:
    assert WEIGHTS[0] == "model.safetensors"
    for index, name in enumerate(("model.safetensors", "pytorch_model.bin")):
        save(tmp_path / name, {"pooler.dense.bias": [index + 1.0], "other": [index]})
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file["bert/tf_bert/bert/pooler/dense/bias:0"] = np.array([3.0], "float32")
    tree = {"bert": {"pooler": {"dense": {"bias": msgpack.ExtType(1, msgpack.packb(((1,), "float32", b"\0\0\x80@")))}}}}
    (tmp_path / "flax_model.msgpack").write_bytes(msgpack.packb(tree))
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.array([[0.0]], "float32")
        file["layers/dense/vars/1"] = np.array([5.0], "float32")
        file["layers/dense/vars"].attrs["name"] = "pooled_dense"
    names = ["model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.weights.h5"]
    assert [name for name in WEIGHTS if name in names] == names
    for number, name in enumerate(names, 1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (array,) = (array for key, array in read_tensors(open_source(tmp_path)).items() if key.endswith("bias"))
        assert array == number
        assert [str(warning.message).split(" weights ")[1] for warning in caught] == [
            f"in {name} and in {other}, which differ (pooler.dense.bias): {name} is used. Remove the other, or name "
            "the file to read."
            for other in names[number:]
        ]
        (tmp_path / name).unlink()


@pytest.mark.parametrize("prefix", ["", "module.bert."])
def test_names_of_a_wrapper_are_compared_too(state: dict[str, np.ndarray], tmp_path: Path, prefix: str) -> None:
    transformers_models.save("BertModel", tmp_path, **LAYERS)
    changed = {**state, "pooler.dense.bias": state["pooler.dense.bias"] + 1}
    other = {prefix + name: array for name, array in changed.items()}
    (tmp_path / "flax_model.msgpack").write_bytes(
        msgpack.packb(
            {
                key: msgpack.ExtType(1, msgpack.packb((array.shape, "float32", array.tobytes())))
                for key, array in other.items()
            }
        )
    )
    with pytest.warns(UserWarning, match=r"which differ \(pooler\.dense\.bias\): model\.safetensors is used"):
        read_tensors(open_source(tmp_path))


def test_formats_that_agree(state: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Also if one of them is rounded, transposed, or lacks a head; a file that cannot be read is not compared."""
    transformers_models.save("BertModel", tmp_path, **LAYERS)
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        for name in ("pooler.dense.weight", "pooler.dense.bias"):
            key = name.replace(".", "/").replace("weight", "kernel")
            file[f"bert/x/bert/{key}:0"] = state[name].T.astype("float16")
    (tmp_path / "pytorch_model.bin").write_bytes(b"?")
    assert_same(read_tensors(open_source(tmp_path)), state)
    with h5py.File(tmp_path / "tf_model.h5", "r+") as file:
        file["bert/x/bert/pooler/dense/bias:0"][3] += 1
    with pytest.warns(UserWarning, match=r"which differ \(pooler\.dense\.bias\): model\.safetensors is used"):
        read_tensors(open_source(tmp_path))
    assert_same(read_tensors(open_source(tmp_path / "model.safetensors")), state)


def test_a_missing_shard(shards: Path) -> None:
    name = min(shards.glob("model-*.safetensors")).name
    (shards / name).unlink()
    with pytest.raises(InputError, match=f"index.json names the shard {name}, which is missing"):
        read_tensors(open_source(shards))


def test_a_tensor_missing_in_its_shard(shards: Path) -> None:
    shard = min(shards.glob("model-*.safetensors")).name
    edit_index(shards, "cls.predictions.bias", shard)
    with pytest.raises(InputError, match=r"lacks 'cls\.predictions\.bias'"):
        read_tensors(open_source(shards))


def test_a_tensor_that_the_index_does_not_list(state: dict[str, np.ndarray], shards: Path) -> None:
    edit_index(shards, "pooler.dense.bias", None)
    assert_same(read_tensors(open_source(shards)), state)


@pytest.mark.parametrize(
    "shard",
    ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", "config.json", "model.ckpt.index"],
)
def test_shards_from_elsewhere(shards: Path, shard: str) -> None:
    edit_index(shards, "pooler.dense.bias", shard)
    with pytest.raises(
        InputError, match=r"the bare name of a \.safetensors, \.bin, \.h5 or \.msgpack file was expected"
    ):
        read_tensors(open_source(shards))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 3}}']
)
def test_an_invalid_index(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json"):
        read_tensors(open_source(tmp_path))


def test_no_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with pytest.raises(InputError, match=r"has no weights: looked for model\.safetensors, .*It contains config\.json"):
        read_tensors(open_source(tmp_path))
    (tmp_path / "tf_model.h5").touch()
    with pytest.raises(InputError, match=r"tf_model\.h5 is empty"):
        read_tensors(open_source(tmp_path))


def test_several_tensorflow_checkpoints(tmp_path: Path) -> None:
    for step in (100, 200):
        (tmp_path / f"model.ckpt-{step}.index").touch()
    with pytest.raises(InputError, match=r"several checkpoints: model\.ckpt-100\.index, model\.ckpt-200\.index"):
        read_tensors(open_source(tmp_path))


CLIENT = """
import sys
from keras_bert_impl.checkpoints.weight_files import read_tensors
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import open_source
try:
    print(sum(float(array.sum()) for array in read_tensors(open_source(sys.argv[1])).values()))
except InputError as error:
    print(error)
"""


def test_the_hub(state: dict[str, np.ndarray], shards: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty, home = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("home")
    with serve(Hub({"org/model": {"main": shards}, "org/empty": {"main": empty}})) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home)}
        results = [
            subprocess.run(
                [sys.executable, "-c", CLIENT, name], env=env, capture_output=True, text=True, check=True
            ).stdout
            for name in ("org/model", "org/empty")
        ]
    expected = sum(float(tensor.sum()) for tensor in state.values())
    assert float(results[0]) == pytest.approx(expected, rel=1e-4)
    assert "org/empty has no weights: looked for model.safetensors" in results[1]
    assert "The hub has none of these" in results[1]


def test_real_files(rxn: Path) -> None:
    arrays = read_tensors(open_source(rxn / "bert_pretrained"))
    assert arrays["bert.embeddings.word_embeddings.weight"].shape == (591, 256)
    assert arrays["cls.predictions.bias"].dtype == np.float32
