"""Files that safetensors, torch and transformers open, as one file or in shards."""

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import transformers_models
from safetensors import safe_open
from safetensors.numpy import load_file
from torch_process import run_in_torch_process

from keras_bert_impl.checkpoints.weight_files import read_tensors, write_tensors
from keras_bert_impl.sources import open_source


@run_in_torch_process
def load_with_torch(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """The dtype of each tensor, and its numbers in float64."""
    import safetensors.torch

    tensors = safetensors.torch.load_file(path)
    return {name: (str(tensor.dtype), tensor.double().numpy()) for name, tensor in tensors.items()}


def test_torch_reads_it(tmp_path: Path) -> None:
    base = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    tensors = {
        "whole": base,
        "turned": base.transpose(2, 0, 1),
        "part": base[::2, 1:, 0],
        "scalar": np.float32(2.5),
        "ids": np.arange(11)[None],
        "bfloat16": base[0].astype(ml_dtypes.bfloat16),
    }
    path = tmp_path / "new" / "model.safetensors"
    write_tensors(path, tensors)
    loaded = load_with_torch(path)
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        dtype, numbers = loaded[name]
        assert dtype == f"torch.{array.dtype.name}"
        assert numbers.shape == array.shape
        np.testing.assert_array_equal(numbers, np.asarray(array, np.float64))
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"format": "pt"}
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_transformers_opens_shards(tmp_path: Path) -> None:
    transformers_models.save("BertModel", tmp_path, num_hidden_layers=3)
    (tmp_path / "model.safetensors").unlink()
    tensors = transformers_models.make_state_dict("BertModel", num_hidden_layers=3)
    write_tensors(tmp_path / "model.safetensors", tensors, max_shard_size=20_000)
    shards = sorted(path.name for path in tmp_path.glob("model-*.safetensors"))
    assert shards == [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in tensors.values())
    loaded = transformers_models.load_state_dict("BertModel", tmp_path)
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(loaded[name], array)
    for path in (tmp_path / name for name in shards):
        arrays = load_file(path)
        assert len(arrays) == 1 or sum(array.nbytes for array in arrays.values()) <= 20_000


def test_overwriting_the_file_that_arrays_are_mapped_from(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": np.arange(6.0), "b": np.zeros(3)})
    arrays = read_tensors(open_source(path))
    write_tensors(path, {"a": arrays["a"][::-1]})
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert read_tensors(open_source(path))["a"].tolist() == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("max_shard_size", [10**9, 300_000])
def test_a_full_disk_leaves_no_incomplete_file(tmp_path: Path, max_shard_size: int) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from keras_bert_impl.checkpoints.weight_files import write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))
tensors = {"a": np.ones(50_000, np.float32), "b": np.ones(70_000, np.float32)}
try:
    write_tensors(Path(sys.argv[1]), tensors, max_shard_size=int(sys.argv[2]))
except OSError as error:
    print(error)
"""
    arguments = [str(tmp_path / "model.safetensors"), str(max_shard_size)]
    process = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    assert "cannot be written" in process.stdout
    assert "File too large" in process.stdout
    left = [path.name for path in tmp_path.iterdir()]
    assert left == ([] if max_shard_size == 10**9 else ["model-00001-of-00002.safetensors"])
