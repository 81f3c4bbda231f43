"""Files written by torch itself, and files that torch would not write, in both formats."""

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keras_bert_impl.checkpoints.torch_file import read_torch
from keras_bert_impl.errors import InputError

FORMATS = {"zip": True, "legacy": False}


def save(content: Any, path: Path, *, form: str, protocol: int = 2) -> Path:
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=FORMATS[form])
    return path


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.randn(5, 7, 3)
    return {
        "whole": base,
        "turned": base.permute(2, 0, 1),
        "part": base[1:4:2, 2:, 1],
        "repeated": torch.randn(1, 4).expand(3, 4),
        "double": torch.randn(4, 2, dtype=torch.float64),
        "half": torch.randn(3, 5).half(),
        "bfloat16": torch.randn(2, 9).bfloat16(),
        "position_ids": torch.arange(11).expand((1, -1)),
        "int32": torch.arange(6, dtype=torch.int32),
        "int16": torch.arange(6, dtype=torch.int16),
        "int8": torch.arange(6, dtype=torch.int8),
        "uint8": torch.arange(6, dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2, 6)),
    }


def assert_same(arrays: dict[str, np.ndarray], tensors: dict[str, torch.Tensor]) -> None:
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        assert arrays[name].shape == tuple(tensor.shape), name
        assert arrays[name].dtype.name == str(tensor.dtype).removeprefix("torch."), name
        np.testing.assert_array_equal(arrays[name].astype(np.float64), tensor.detach().double().numpy())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_what_torch_wrote(state: dict[str, torch.Tensor], tmp_path: Path, form: str, protocol: int) -> None:
    arrays = read_torch(save(state, tmp_path / "model.bin", form=form, protocol=protocol))
    assert_same(arrays, state)
    assert not any(array.flags.owndata or array.flags.writeable for name, array in arrays.items() if name != "empty")


@pytest.mark.parametrize("form", FORMATS)
def test_reads_the_state_dict_of_a_module(tmp_path: Path, form: str) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    # An OrderedDict with an attribute `_metadata`.
    assert_same(read_torch(save(module.state_dict(), tmp_path / "model.bin", form=form)), module.state_dict())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_finds_the_state_dict_in_a_training_checkpoint(
    state: dict[str, torch.Tensor], tmp_path: Path, form: str, key: str
) -> None:
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999)}]}
    content = {"epoch": 3, key: OrderedDict(state), "optimizer": optimizer, "best": None, "size": torch.Size([2, 3])}
    assert_same(read_torch(save(content, tmp_path / "last.pt", form=form)), state)


def test_real_files_of_the_older_format(rxn: Path) -> None:
    for path in sorted(rxn.glob("**/pytorch_model.bin")):
        assert_same(read_torch(path), torch.load(path, map_location="cpu", weights_only=True))


def test_does_not_need_torch(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    paths = [str(save(state, tmp_path / form, form=form)) for form in FORMATS]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from keras_bert_impl.checkpoints.torch_file import read_torch\n"
        "for path in sys.argv[1:]: print(len(read_torch(Path(path))))"
    )
    process = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert process.stdout.split() == [str(len(state))] * 2


class Run:
    """Unpickling this calls ``function`` with ``arguments``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


ATTACKS: dict[str, Callable[[str], Any]] = {
    "system": lambda marker: Run(os.system, f"touch {marker}"),
    "in a state dict": lambda marker: {"a": torch.zeros(2), "b": Run(os.system, f"touch {marker}")},
    "as a key": lambda marker: {Run(os.system, f"touch {marker}"): torch.zeros(2)},
    "eval": lambda marker: {"a": Run(eval, f"open({marker!r}, 'w')")},
    "partial": lambda marker: {"a": Run(__import__, "os")},
    "getattr": lambda marker: {"a": Run(getattr, Run(__import__, "os"), "system")},
    "as attributes": lambda marker: {"a": Run(torch.nn.Linear, 2, 3)},
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("attack", ATTACKS)
def test_refuses_to_run_code(tmp_path: Path, form: str, protocol: int, attack: str) -> None:
    marker = tmp_path / "marker"
    path = save(ATTACKS[attack](str(marker)), tmp_path / "evil.bin", form=form, protocol=protocol)
    with pytest.raises(InputError, match="is refused: this file would run or build"):
        read_torch(path)
    assert not marker.exists()


def test_the_attack_works_elsewhere(tmp_path: Path) -> None:
    path = save(ATTACKS["in a state dict"](str(tmp_path / "marker")), tmp_path / "evil.bin", form="zip")
    torch.load(path, weights_only=False)
    assert (tmp_path / "marker").exists()


def test_names_what_a_pickled_model_would_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'torch\.nn\.modules\.linear\.Linear'.*save `model\.state_dict\(\)`"):
        read_torch(save(torch.nn.Linear(2, 3), tmp_path / "model.bin", form="zip"))


@pytest.mark.parametrize("form", FORMATS)
def test_truncation_is_noticed(tmp_path: Path, form: str) -> None:
    whole = save({"a": torch.ones(5, 7), "b": torch.arange(3)}, tmp_path / "whole.bin", form=form).read_bytes()
    path = tmp_path / "model.bin"
    for size in [*range(0, len(whole), 7), *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"model\.bin is "):
            read_torch(path)


@pytest.mark.parametrize("form", FORMATS)
def test_no_damaged_byte_crashes(tmp_path: Path, form: str) -> None:
    tensors = {"a": torch.randn(5, 7), "b": torch.arange(3), "c": torch.randn(3, 2).half().t()}
    whole = save(tensors, tmp_path / "whole.bin", form=form).read_bytes()
    path = tmp_path / "model.bin"
    generator = random.Random(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(generator.choice([1, 1, 1, 2, 8])):
            damaged[generator.randrange(len(whole))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            arrays = read_torch(path)
        except InputError:
            continue
        # The older format has no checksums, so that damaged names and numbers pass.
        if form == "zip":
            assert_same(arrays, tensors)


class Reference:
    """Stands for a storage in a pickle, as torch writes it."""

    def __init__(self, *entry: Any) -> None:
        self.entry = entry

    def __repr__(self) -> str:
        return f"Reference{self.entry}"  # The same in every process that runs tests.


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.entry if isinstance(obj, Reference) else None


FLOATS = Reference("storage", torch.FloatStorage, "0", "cpu", 6)


def write_zip(path: Path, content: Any, *, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    """A zip archive as torch writes it, whose storage '0' is the six float32 numbers 0 to 5."""
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(content)
    numbers = np.arange(6, dtype="<f4").tobytes()
    files = {"data.pkl": stream.getvalue(), "version": b"3", "byteorder": b"little", "data/0": numbers}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**files, **members}.items():
            archive.writestr(f"model/{name}", data)
    return path


def view(*, offset: Any = 0, shape: Any = (2, 3), strides: Any = (3, 1), storage: Any = FLOATS) -> dict[str, Run]:
    return {"a": Run(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, OrderedDict())}


def test_the_handmade_archive_is_right(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "model.bin", view())
    assert torch.load(path)["a"].tolist() == read_torch(path)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "lie",
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
        {"storage": Reference("storage", torch.FloatStorage, "1", "cpu", 6)},
        {"storage": Reference("storage", torch.FloatStorage, "0", "cpu", 7)},
        {"storage": Reference("storage", torch.FloatStorage, "0", "cpu", -6)},
        {"storage": Reference("storage", torch.FloatStorage, ("0",), "cpu", 6)},
        {"storage": Reference("storage", torch.FloatStorage, "0", "cpu", 6, ("1", 0, 6))},
        {"storage": Reference("module", torch.FloatStorage, "0", "cpu", 6)},
        {"storage": Reference("storage", "torch.FloatStorage", "0", "cpu", 6)},
        {"storage": Reference("storage", torch.QInt8Storage, "0", "cpu", 6)},
    ],
    ids=str,
)
def test_tensors_that_lie(tmp_path: Path, lie: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        read_torch(write_zip(tmp_path / "model.bin", view(**lie)))


def test_a_storage_of_two_dtypes(tmp_path: Path) -> None:
    ints = Reference("storage", torch.IntStorage, "0", "cpu", 6)
    with pytest.raises(InputError):
        read_torch(write_zip(tmp_path / "model.bin", view() | {"b": view(storage=ints)["a"]}))


def test_a_negated_view(tmp_path: Path) -> None:
    content = Run(torch._utils._rebuild_tensor_v2, FLOATS, 0, (2, 3), (3, 1), False, OrderedDict(), {"neg": True})
    with pytest.raises(InputError, match="negated"):
        read_torch(write_zip(tmp_path / "model.bin", {"a": content}))


def test_compressed_members(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not lie in it"):
        read_torch(write_zip(tmp_path / "model.bin", view(), compression=zipfile.ZIP_DEFLATED))


def test_members_of_another_size_or_byte_order(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data/0 has 28 bytes; 24 bytes were expected"):
        read_torch(write_zip(tmp_path / "model.bin", view(), **{"data/0": bytes(28)}))
    with pytest.raises(InputError, match="big-endian"):
        read_torch(write_zip(tmp_path / "model.bin", view(), byteorder=b"big"))


def test_a_big_endian_file_of_the_older_format(tmp_path: Path) -> None:
    path = save({"a": torch.zeros(2)}, tmp_path / "model.bin", form="legacy")
    little = pickle.dumps({"protocol_version": 1001, "little_endian": True}, protocol=2)
    big = pickle.dumps({"protocol_version": 1001, "little_endian": False}, protocol=2)
    with open(path, "rb") as file:
        header = [pickle.load(file) for _ in range(3)][:2]
        rest = file.read()
    start = b"".join(pickle.dumps(value, protocol=2) for value in header)
    path.write_bytes(start + little + rest)
    assert read_torch(path)["a"].tolist() == [0, 0]
    path.write_bytes(start + big + rest)
    with pytest.raises(InputError, match="big-endian"):
        read_torch(path)


def test_two_members_of_one_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "model.bin", view())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("model/data/0", bytes(24))
    with pytest.raises(InputError, match="two members of the same name"):
        read_torch(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "holds a list; a state dict"),
        ({}, "holds no tensors by name, but nothing"),
        ({"bert": {"a": torch.zeros(2)}}, "holds no tensors by name, but 'bert'"),
        ({0: torch.zeros(2)}, "holds no tensors by name, but 0"),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_other_content(tmp_path: Path, form: str, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_torch(save(content, tmp_path / "model.bin", form=form))


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
