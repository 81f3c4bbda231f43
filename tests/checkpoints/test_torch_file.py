"""Files written by torch itself, and files that torch would not write, in both formats."""

import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from torch_process import run_in_torch_process

from keras_bert_impl.checkpoints.torch_file import read_torch
from keras_bert_impl.errors import InputError

FORMATS = {"zip": True, "legacy": False}


class Expected(NamedTuple):
    """A tensor of torch."""

    dtype: str
    shape: tuple[int, ...]
    numbers: np.ndarray  # float64


@run_in_torch_process
def save_tensors(path: Path, *, content: str, new_format: bool, protocol: int = 2, key: str = "") -> dict[str, Any]:
    """Saves what a function of `torch_files` returns; returns its tensors, or those under ``key``, as `Expected`."""
    import torch
    import torch_files

    saved = getattr(torch_files, content)(*[key] if key else [])
    torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new_format)
    tensors = saved[key] if key else saved
    return {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), tensor.detach().double().numpy())
        for name, tensor in tensors.items()
    }


@run_in_torch_process
def save_other(path: Path, name: str, *, new_format: bool, protocol: int = 2, marker: str | None = None) -> None:
    """Saves an attack of `torch_files`, or content that is not a state dict."""
    import torch
    import torch_files

    content = torch_files.ATTACKS[name](marker) if marker else torch_files.OTHER_CONTENT[name]()
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new_format)


@run_in_torch_process
def load_with_torch(path: Path, *, weights_only: bool) -> dict[str, Any]:
    """The tensors that torch reads."""
    import torch

    return {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), tensor.double().numpy())
        for name, tensor in torch.load(path, map_location="cpu", weights_only=weights_only).items()
        if isinstance(tensor, torch.Tensor)
    }


def assert_same(arrays: dict[str, np.ndarray], tensors: dict[str, Any]) -> None:
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        expected = Expected(*tensor)
        assert arrays[name].shape == expected.shape, name
        assert arrays[name].dtype.name == expected.dtype, name
        np.testing.assert_array_equal(arrays[name].astype(np.float64), expected.numbers)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_what_torch_wrote(tmp_path: Path, form: str, protocol: int) -> None:
    path = tmp_path / "model.bin"
    expected = save_tensors(path, content="make_tensors", new_format=FORMATS[form], protocol=protocol)
    arrays = read_torch(path)
    assert len(arrays) == 16
    assert_same(arrays, expected)
    assert not any(array.flags.owndata or array.flags.writeable for name, array in arrays.items() if name != "empty")


@pytest.mark.parametrize("form", FORMATS)
def test_reads_the_state_dict_of_a_module(tmp_path: Path, form: str) -> None:
    expected = save_tensors(tmp_path / "model.bin", content="make_module_state", new_format=FORMATS[form])
    assert_same(read_torch(tmp_path / "model.bin"), expected)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_finds_the_state_dict_in_a_training_checkpoint(tmp_path: Path, form: str, key: str) -> None:
    expected = save_tensors(tmp_path / "last.pt", content="make_training_checkpoint", new_format=FORMATS[form], key=key)
    assert_same(read_torch(tmp_path / "last.pt"), expected)


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("key", ["state_dict", "module"])
def test_skips_what_training_frameworks_save(tmp_path: Path, protocol: int, key: str) -> None:
    path = tmp_path / "last.ckpt"
    expected = save_tensors(path, content="make_lightning_checkpoint", new_format=True, protocol=protocol, key=key)
    assert_same(read_torch(path), expected)


def test_real_files_of_the_older_format(rxn: Path) -> None:
    for path in sorted(rxn.glob("**/pytorch_model.bin")):
        assert_same(read_torch(path), load_with_torch(path, weights_only=True))


def test_does_not_need_torch(tmp_path: Path) -> None:
    for form, new_format in FORMATS.items():
        save_tensors(tmp_path / form, content="make_tensors", new_format=new_format)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from keras_bert_impl.checkpoints.torch_file import read_torch\n"
        "for path in sys.argv[1:]: print(len(read_torch(Path(path))))"
    )
    paths = [str(tmp_path / form) for form in FORMATS]
    process = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["16", "16"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "attack", ["system", "in a state dict", "as a key", "eval", "partial", "getattr", "as attributes"]
)
def test_refuses_to_run_code(tmp_path: Path, form: str, protocol: int, attack: str) -> None:
    path, marker = tmp_path / "evil.bin", tmp_path / "marker"
    save_other(path, attack, new_format=FORMATS[form], protocol=protocol, marker=str(marker))
    with pytest.raises(InputError, match="is refused: this file would run or build"):
        read_torch(path)
    assert not marker.exists()


def test_the_attack_works_in_an_unsafe_reader(tmp_path: Path) -> None:
    path, marker = tmp_path / "evil.bin", tmp_path / "marker"
    save_other(path, "in a state dict", new_format=True, marker=str(marker))
    load_with_torch(path, weights_only=False)
    assert marker.exists()


def test_names_what_a_pickled_model_would_run(tmp_path: Path) -> None:
    save_other(tmp_path / "model.bin", "a model", new_format=True)
    with pytest.raises(InputError, match=r"'torch\.nn\.modules\.linear\.Linear'.*save `model\.state_dict\(\)`"):
        read_torch(tmp_path / "model.bin")


@pytest.mark.parametrize("form", FORMATS)
def test_truncation_is_noticed(tmp_path: Path, form: str) -> None:
    path = tmp_path / "model.bin"
    save_tensors(path, content="make_small_tensors", new_format=FORMATS[form])
    complete = path.read_bytes()
    for size in [*range(0, len(complete), 7), *range(len(complete) - 40, len(complete))]:
        path.write_bytes(complete[:size])
        with pytest.raises(InputError, match=r"model\.bin is "):
            read_torch(path)


@pytest.mark.parametrize("form", FORMATS)
def test_no_damaged_byte_crashes(tmp_path: Path, form: str) -> None:
    path = tmp_path / "model.bin"
    expected = save_tensors(path, content="make_small_tensors", new_format=FORMATS[form])
    complete = path.read_bytes()
    generator = random.Random(0)
    for _ in range(500):
        damaged = bytearray(complete)
        for _ in range(generator.choice([1, 1, 1, 2, 8])):
            damaged[generator.randrange(len(complete))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            arrays = read_torch(path)
        except InputError:
            continue
        # The older format has no checksums, so that damaged names and numbers pass.
        if form == "zip":
            assert_same(arrays, expected)


@run_in_torch_process
def write_zip(
    path: Path, *views: dict[str, Any], compression: int = 0, members: dict[str, bytes] | None = None
) -> None:
    """Writes a zip archive by hand, with a tensor for each description of a view (see `torch_files.make_view`)."""
    import torch_files

    content = {name: torch_files.make_view(**view) for name, view in zip("ab", views, strict=False)}
    torch_files.write_zip(path, content, compression=compression, **(members or {}))


def test_the_handmade_archive_is_correct(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    write_zip(path, {})
    assert_same(read_torch(path), load_with_torch(path, weights_only=True))
    assert read_torch(path)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**70},
        {"offset": 0.0},
        {"shape": (3, 3)},
        {"shape": (-2, -3)},
        {"shape": (2, 3, 1)},
        {"shape": (2**40, 2**40), "strides": (0, 0)},
        {"shape": (100, 100), "strides": (0, 0)},
        {"shape": (0, 2**62)},
        {"shape": (0, 2**70)},
        {"shape": (1,) * 70, "strides": (1,) * 70},
        {"shape": [2, 3]},
        {"shape": (2, 1), "strides": (3, 2**70)},
        {"strides": (4, 1)},
        {"strides": (-3, 1)},
        {"strides": (2**62, 2**62)},
        {"storage": "0"},
        {"storage": ("storage", "FloatStorage", "1", "cpu", 6)},
        {"storage": ("storage", "FloatStorage", "0", "cpu", 7)},
        {"storage": ("storage", "FloatStorage", "0", "cpu", -6)},
        {"storage": ("storage", "FloatStorage", ("0",), "cpu", 6)},
        {"storage": ("storage", "FloatStorage", "0", "cpu", 6, ("1", 0, 6))},
        {"storage": ("module", "FloatStorage", "0", "cpu", 6)},
        {"storage": ("storage", "torch.FloatStorage", "0", "cpu", 6)},
        {"storage": ("storage", "QInt8Storage", "0", "cpu", 6)},
    ],
    ids=str,
)
def test_impossible_tensors(tmp_path: Path, change: dict[str, Any]) -> None:
    write_zip(tmp_path / "model.bin", change)
    with pytest.raises(InputError):
        read_torch(tmp_path / "model.bin")


def test_a_storage_of_two_dtypes(tmp_path: Path) -> None:
    write_zip(tmp_path / "model.bin", {}, {"storage": ("storage", "IntStorage", "0", "cpu", 6)})
    with pytest.raises(InputError):
        read_torch(tmp_path / "model.bin")


def test_a_negated_view(tmp_path: Path) -> None:
    write_zip(tmp_path / "model.bin", {"metadata": ({"neg": True},)})
    with pytest.raises(InputError, match="negated"):
        read_torch(tmp_path / "model.bin")


def test_compressed_members(tmp_path: Path) -> None:
    write_zip(tmp_path / "model.bin", {}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"is not stored as torch\.save writes it"):
        read_torch(tmp_path / "model.bin")


def test_members_of_another_size_or_byte_order(tmp_path: Path) -> None:
    write_zip(tmp_path / "model.bin", {}, members={"data/0": bytes(28)})
    with pytest.raises(InputError, match="data/0 has 28 bytes; 24 bytes were expected"):
        read_torch(tmp_path / "model.bin")
    write_zip(tmp_path / "model.bin", {}, members={"byteorder": b"big"})
    with pytest.raises(InputError, match="big-endian"):
        read_torch(tmp_path / "model.bin")


def test_a_big_endian_file_of_the_older_format(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    expected = save_tensors(path, content="make_small_tensors", new_format=False)
    little = pickle.dumps({"protocol_version": 1001, "little_endian": True}, protocol=2)
    big = pickle.dumps({"protocol_version": 1001, "little_endian": False}, protocol=2)
    with open(path, "rb") as file:
        header = [pickle.load(file) for _ in range(3)][:2]
        rest = file.read()
    start = b"".join(pickle.dumps(value, protocol=2) for value in header)
    path.write_bytes(start + little + rest)
    assert_same(read_torch(path), expected)
    path.write_bytes(start + big + rest)
    with pytest.raises(InputError, match="big-endian"):
        read_torch(path)


def test_two_members_with_the_same_name(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    write_zip(path, {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("model/data/0", bytes(24))
    with pytest.raises(InputError, match="two members with the same name"):
        read_torch(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a list", "contains a list; a state dict"),
        ("nothing", "contains no named tensors, only an empty dictionary;"),
        ("nested", "contains no named tensors, only 'bert'"),
        ("a number as name", "contains no named tensors, only 0;"),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_other_content(tmp_path: Path, form: str, content: str, message: str) -> None:
    save_other(tmp_path / "model.bin", content, new_format=FORMATS[form])
    with pytest.raises(InputError, match=message):
        read_torch(tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "not a file that torch.save wrote"),
        (pickle.dumps({"a": 1}), "not a file that torch.save wrote|is a pickle, but not one"),
        (struct.pack("<Q", 2) + b"{}", "not a file that torch.save wrote"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_torch(path)


def test_another_zip_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.bin", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(InputError, match=r"without data\.pkl"):
        read_torch(tmp_path / "model.bin")
