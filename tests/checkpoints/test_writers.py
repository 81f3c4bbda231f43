"""Files that safetensors, torch and transformers open, whole or in shards."""

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from transformers import BertConfig, BertModel

from keras_bert_impl.checkpoints.readers import read_tensors
from keras_bert_impl.checkpoints.writers import write_tensors
from keras_bert_impl.sources import open_source


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
    loaded = safetensors.torch.load_file(path)
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        assert loaded[name].shape == array.shape
        np.testing.assert_array_equal(loaded[name].double().numpy(), np.asarray(array, np.float64))
    assert loaded["bfloat16"].dtype == torch.bfloat16
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"format": "pt"}
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_transformers_opens_shards(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=37)
    model = BertModel(config)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config.save_pretrained(tmp_path)
    write_tensors(tmp_path / "model.safetensors", tensors, max_shard_size=20_000)
    shards = sorted(path.name for path in tmp_path.glob("model-*.safetensors"))
    assert shards == [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in tensors.values())
    loaded, report = BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)
    for path in (tmp_path / name for name in shards):
        arrays = safetensors.torch.load_file(path)
        assert len(arrays) == 1 or sum(array.nbytes for array in arrays.values()) <= 20_000


def test_overwriting_the_file_that_arrays_are_mapped_from(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": np.arange(6.0), "b": np.zeros(3)})
    arrays = read_tensors(open_source(path))
    write_tensors(path, {"a": arrays["a"][::-1]})
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert read_tensors(open_source(path))["a"].tolist() == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("max_shard_size", [10**9, 300_000])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, max_shard_size: int) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from keras_bert_impl.checkpoints.writers import write_tensors
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
