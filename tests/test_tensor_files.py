"""Files that the safetensors library wrote or reads, and files whose header and content disagree."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from torch_process import run_in_torch_process

from keras_bert_impl.errors import InputError
from keras_bert_impl.tensor_files import DTYPES, read_safetensors, to_safetensors, write_safetensors


def write_file(path: Path, header: Any, data: bytes = b"") -> Path:
    """Writes a file with a header, which is converted to JSON unless it is a string; returns the path."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def make_entry(dtype: str, shape: list[Any], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@run_in_torch_process
def save_every_dtype(path: Path) -> dict[str, tuple[tuple[int, ...], np.ndarray]]:
    """Saves a tensor of each supported dtype, a scalar and an empty one; returns shapes and float64 numbers."""
    import safetensors.torch
    import torch

    torch.manual_seed(0)
    tensors = {
        f"{dtype}".removeprefix("torch."): (torch.randn(5, 7) * 9).abs().to(dtype)
        for dtype in safetensors.torch._TYPES.values()
        if dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool)
        or str(dtype).startswith(("torch.int", "torch.uint"))
    }
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    return {name: (tuple(tensor.shape), tensor.double().numpy()) for name, tensor in tensors.items()}


@run_in_torch_process
def save_small_tensors(path: Path) -> None:
    import safetensors.torch
    import torch

    torch.manual_seed(0)
    tensors = {"a": torch.randn(5, 7), "b": torch.arange(3), "c": torch.randn(3, 2).half()}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


@run_in_torch_process
def load_with_torch(path: Path) -> dict[str, np.ndarray]:
    import safetensors.torch

    return {name: tensor.numpy() for name, tensor in safetensors.torch.load_file(path).items()}


def test_reads_what_torch_wrote(tmp_path: Path) -> None:
    expected = save_every_dtype(tmp_path / "model.safetensors")
    assert len(expected) == len(DTYPES) + 2
    arrays = read_safetensors(tmp_path / "model.safetensors").tensors
    assert arrays.keys() == expected.keys()
    for name, (shape, numbers) in expected.items():
        assert arrays[name].shape == shape
        assert name in ("scalar", "empty", arrays[name].dtype.name)
        assert not arrays[name].flags.owndata
        assert not arrays[name].flags.writeable
        np.testing.assert_array_equal(arrays[name].astype(np.float64), numbers)


@pytest.mark.parametrize("checkpoint", ["minilm", "tiny_cassette"])
def test_real_files(checkpoint: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(checkpoint) / "model.safetensors"
    arrays, expected = read_safetensors(path).tensors, load_with_torch(path)
    assert arrays.keys() == expected.keys()
    for name, numbers in expected.items():
        np.testing.assert_array_equal(arrays[name], numbers)


def test_every_truncation_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_small_tensors(path)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"model\.safetensors is (empty|truncated)"):
            read_safetensors(path)


def test_damaged_headers_are_refused_or_consistent(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_small_tensors(path)
    content = path.read_bytes()
    generator = random.Random(0)
    (length,) = struct.unpack_from("<Q", content)
    numbers = 5 * 7 * 4 + 3 * 8 + 3 * 2 * 2
    for _ in range(500):
        damaged = bytearray(content)
        for _ in range(generator.choice([1, 1, 1, 2, 8])):
            damaged[generator.randrange(8 + length)] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            arrays = read_safetensors(path).tensors
        except InputError:
            continue
        # The damage changed only a name: the header must still account for every byte.
        assert sum(array.nbytes for array in arrays.values()) == numbers


@pytest.mark.parametrize(
    ("header", "size"),
    [
        pytest.param({"a": make_entry("F32", [3], 0, 8)}, 8, id="shape and offsets disagree"),
        pytest.param({"a": make_entry("F32", [2], 0, 800)}, 8, id="beyond the end"),
        pytest.param({"a": make_entry("F32", [2], 8, 0)}, 8, id="backwards"),
        pytest.param({"a": make_entry("F32", [2], 0, 8), "b": make_entry("F32", [2], 4, 12)}, 12, id="overlap"),
        pytest.param({"a": make_entry("F32", [2], 0, 8), "b": make_entry("F32", [2], 0, 8)}, 8, id="the same bytes"),
        pytest.param({"a": make_entry("F32", [2], 0, 8)}, 12, id="bytes left over"),
        pytest.param({"a": make_entry("F32", [2], 4, 12)}, 12, id="a hole"),
        pytest.param({"a": make_entry("F32", [2**40, 2**40], 0, 8)}, 8, id="a shape that is too large"),
        pytest.param({"a": make_entry("F32", [-2], 0, 8)}, 8, id="a negative size"),
        pytest.param({"a": make_entry("F32", [2.0], 0, 8)}, 8, id="a size that is not an integer"),
        pytest.param({"a": make_entry("F99", [2], 0, 8)}, 8, id="an unknown dtype"),
        pytest.param({"a": {"dtype": "F32"}}, 0, id="no shape"),
        pytest.param({"a": None}, 0, id="no entry"),
        pytest.param([1, 2], 0, id="a list"),
        pytest.param("{'a'", 0, id="not JSON"),
        pytest.param("[" * 5000, 0, id="nested deeply"),
        pytest.param({"__metadata__": {"format": 3}}, 0, id="metadata that is not text"),
    ],
)
def test_headers_that_contradict_the_content(tmp_path: Path, header: Any, size: int) -> None:
    with pytest.raises(InputError, match=r"model\.safetensors is truncated or damaged"):
        read_safetensors(write_file(tmp_path / "model.safetensors", header, bytes(size)))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**8 + 1, 100])
def test_a_header_longer_than_the_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(InputError, match=r"model\.safetensors is truncated or damaged"):
        read_safetensors(path)


def test_a_repeated_name(tmp_path: Path) -> None:
    one, two = json.dumps(make_entry("F32", [1], 0, 4)), json.dumps(make_entry("F32", [2], 0, 8))
    with pytest.raises(InputError, match="contains 'a' twice"):
        read_safetensors(write_file(tmp_path / "model.safetensors", f'{{"a": {one}, "a": {two}}}', bytes(8)))


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_unsupported_dtypes(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(InputError, match=f"the tensor 'w' is {dtype}; supported are F64, F32"):
        read_safetensors(write_file(tmp_path / "model.safetensors", {"w": make_entry(dtype, [8], 0, 8)}, bytes(8)))


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InputError, match="git lfs pull"):
        read_safetensors(tmp_path / "model.safetensors")


def test_written_files_are_read(tmp_path: Path) -> None:
    tensors = {"ids": np.arange(7, dtype=np.uint16), "weights": np.ones((3, 5), np.float32)}
    metadata = {"text": "Größe"}
    write_safetensors(tmp_path / "file.safetensors", tensors, metadata=metadata)
    (tmp_path / "bytes.safetensors").write_bytes(to_safetensors(tensors, metadata=metadata))
    for name in ("file.safetensors", "bytes.safetensors"):
        read = read_safetensors(tmp_path / name)
        assert read.metadata == metadata
        assert read.tensors.keys() == tensors.keys()
        for key, array in tensors.items():
            assert read.tensors[key].dtype == array.dtype
            np.testing.assert_array_equal(read.tensors[key], array)


def test_the_caller_sets_the_advice(tmp_path: Path) -> None:
    for content in (b"", b"something else"):
        (tmp_path / "shard.safetensors").write_bytes(content)
        with pytest.raises(InputError, match=r"Prepare the corpus again\.$"):
            read_safetensors(tmp_path / "shard.safetensors", advice="Prepare the corpus again.")


def test_tensors_larger_than_one_piece(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    tensors = {
        "small": draw.integers(0, 255, 5, dtype=np.uint8),
        "large": draw.normal(size=(2_100_003, 3)).astype(np.float32),
        "seeds": draw.integers(0, 1 << 32, 2, dtype=np.uint32),
        "flags": draw.integers(0, 2, (3, 0, 7)).astype(bool),
        "double": draw.normal(size=(1_100_001, 2)),
    }
    write_safetensors(tmp_path / "model.safetensors", tensors, metadata={"seed": "0"})
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"seed": "0"}
        assert set(file.keys()) == set(tensors)
        for name, array in tensors.items():
            assert file.get_tensor(name).dtype == array.dtype
            np.testing.assert_array_equal(file.get_tensor(name), array)
