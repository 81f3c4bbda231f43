"""Files that torch writes, and files that torch would not write, for functions that run in the torch process."""

import argparse
import datetime
import io
import os
import pickle
import random
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def make_tensors() -> dict[str, torch.Tensor]:
    """Returns a tensor of every dtype and every kind of view."""
    torch.manual_seed(0)
    base = torch.randn(5, 7, 3)
    return {
        "complete": base,
        "transposed": base.permute(2, 0, 1),
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


def make_small_tensors() -> dict[str, torch.Tensor]:
    """Returns tensors of three dtypes, one of them transposed."""
    torch.manual_seed(0)
    return {"a": torch.randn(5, 7), "b": torch.arange(3), "c": torch.randn(3, 2).half().t()}


def make_module_state() -> dict[str, torch.Tensor]:
    """Returns a state dict as modules do: an OrderedDict with an attribute ``_metadata``."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5)).state_dict()


def make_training_checkpoint(key: str) -> dict[str, Any]:
    """Returns a checkpoint that is typical of training: the tensors are one entry, ``key``, of several."""
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999)}]}
    return {
        "epoch": 3,
        key: OrderedDict(make_tensors()),
        "optimizer": optimizer,
        "best": None,
        "size": torch.Size([2, 3]),
    }


def make_lightning_checkpoint(key: str) -> dict[str, Any]:
    """Returns a checkpoint with the objects that training frameworks put next to the tensors."""
    steps = defaultdict(dict, {1: {"step": 2}})
    steps[7]["exp_avg"] = torch.ones(3)
    return {
        "hyper_parameters": argparse.Namespace(rate=1e-3, path=Path("/data"), layers=(1, 2)),
        "callbacks": {"best": np.float64(0.5), "scores": np.arange(4.0), "seen": {1, 2}, "names": frozenset("ab")},
        "optimizer_states": [{"state": steps}],
        "lr_schedulers": [{"milestones": Counter({30: 1}), "last": deque([1.0], maxlen=3)}],
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "random": {"python": random.Random(1).getstate(), "numpy": np.random.RandomState(1).get_state()},
        "bytes": b"\x00\xff",
        "written": datetime.datetime(2026, 1, 2),
        key: OrderedDict(make_small_tensors()),
    }


class UnpicklingCall:
    """An object whose unpickling calls ``function`` with ``arguments``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


# By name: content that calls a function when it is unpickled; most of them create the file ``marker``.
ATTACKS: dict[str, Callable[[str], Any]] = {
    "system": lambda marker: UnpicklingCall(os.system, f"touch {marker}"),
    "in a state dict": lambda marker: {"a": torch.zeros(2), "b": UnpicklingCall(os.system, f"touch {marker}")},
    "as a key": lambda marker: {UnpicklingCall(os.system, f"touch {marker}"): torch.zeros(2)},
    "eval": lambda marker: {"a": UnpicklingCall(eval, f"open({marker!r}, 'w')")},
    "partial": lambda marker: {"a": UnpicklingCall(__import__, "os")},
    "getattr": lambda marker: {"a": UnpicklingCall(getattr, UnpicklingCall(__import__, "os"), "system")},
    "as settings": lambda marker: {
        "hyper_parameters": argparse.Namespace(a=UnpicklingCall(os.system, f"touch {marker}")),
        "state_dict": {"a": torch.zeros(2)},
    },
    "as attributes": lambda marker: {"a": UnpicklingCall(torch.nn.Linear, 2, 3)},
}

# By name: content that is not a state dict.
OTHER_CONTENT: dict[str, Callable[[], Any]] = {
    "a model": lambda: torch.nn.Linear(2, 3),
    "a list": lambda: [torch.zeros(2)],
    "nothing": dict,
    "nested": lambda: {"bert": {"a": torch.zeros(2)}},
    "a number as name": lambda: {0: torch.zeros(2)},
}


class _Storage:
    """A reference to a storage, which torch's pickles contain in place of the numbers."""

    def __init__(self, *entry: Any) -> None:
        self.entry = entry


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.entry if isinstance(obj, _Storage) else None


def make_view(
    *,
    offset: Any = 0,
    shape: Any = (2, 3),
    strides: Any = (3, 1),
    storage: Any = ("storage", torch.FloatStorage, "0", "cpu", 6),
    metadata: tuple[Any, ...] = (),
) -> UnpicklingCall:
    """Returns what torch pickles for a tensor. A storage type may also be its name in torch."""
    if isinstance(storage, tuple):
        kind, dtype, *others = storage
        storage = _Storage(kind, getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype, *others)
    return UnpicklingCall(
        torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, OrderedDict(), *metadata
    )


def write_zip(path: Path, content: Any, *, compression: int = zipfile.ZIP_STORED, **members: bytes) -> None:
    """Writes a zip archive in torch's format; its storage '0' contains the six float32 numbers 0 to 5."""
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(content)
    numbers = np.arange(6, dtype="<f4").tobytes()
    files = {"data.pkl": stream.getvalue(), "version": b"3", "byteorder": b"little", "data/0": numbers}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**files, **members}.items():
            archive.writestr(f"model/{name}", data)
