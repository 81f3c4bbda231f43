"""Pickles, byte by byte: the instructions that the reader executes, and those that it refuses."""

import argparse
import io
import pickle
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_bert_impl.checkpoints.torch_pickle import SKIPPED, Storage, Tensor, read_pickle
from keras_bert_impl.errors import InputError

PATH = Path("model.bin")


def read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data), path=PATH).value


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values(protocol: int) -> None:
    shared = [1, -2, 300, 70_000, -(2**40), 2.5, None, True, False, "é", "x" * 300]
    value = {"a": shared, "b": shared, "c": (1, (2, 3), (4, 5, 6), (7, 8, 9, 10), ()), "d": {}, "e": {1: []}}
    result = read(pickle.dumps(value, protocol=protocol))
    assert result == value
    assert result["a"] is result["b"]


def test_a_pickle_of_python_2() -> None:
    # protocol 2, OrderedDict([('weight', <tensor of 6 in shape (2, 3)>)]), with byte strings for str
    entry = b"(U\x07storagectorch\nFloatStorage\nU\x0212U\x06cuda:0K\x06Ntq\x01Q"
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + entry + b"K\x00K\x02K\x03\x86K\x03K\x01\x86tR"
    result = read(b"\x80\x02ccollections\nOrderedDict\n(]](U\x06weight" + tensor + b"eatR.")
    storage = Storage("12", np.dtype("<f4"), 6)
    assert result == {"weight": Tensor(storage, 0, (2, 3), (3, 1))}


class Settings(argparse.Namespace):
    pass


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [argparse.Namespace(a=[1]), {1, 2}, frozenset("ab"), np.float32(2.5), np.arange(3), Path("x"), Counter("aab")],
    ids=lambda value: type(value).__name__,
)
def test_data_that_is_skipped(protocol: int, value: Any) -> None:
    assert read(pickle.dumps({"a": value, "b": [value, 1]}, protocol=protocol)) == {"a": SKIPPED, "b": [SKIPPED, 1]}
    with pytest.raises(InputError, match="refused"):
        read(pickle.dumps({"a": value, "b": Settings(c=value)}, protocol=protocol))


def test_the_stream_is_after_the_pickle() -> None:
    stream = io.BytesIO(pickle.dumps([1], protocol=2) + pickle.dumps("two", protocol=2) + b"rest")
    assert [read_pickle(stream, path=PATH).value for _ in range(2)] == [[1], "two"]
    assert stream.read() == b"rest"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"cos\nsystem\n.", id="a name alone"),
        pytest.param(b"\x8c\x02os\x8c\x06system\x93.", id="a name from the stack"),
        pytest.param(b"(S'echo'\nios\nsystem\n.", id="INST"),
        pytest.param(b"(cos\nsystem\nS'echo'\no.", id="OBJ"),
        pytest.param(b"\x82\x01.", id="EXT1"),
        pytest.param(b"Pid\n.", id="a persistent id as text"),
        pytest.param(b"ccollections\nOrderedDict\n)\x81.", id="NEWOBJ"),
        pytest.param(b"ctorch.storage\nUntypedStorage\n.", id="a storage without dtype"),
        pytest.param(b"ctorch._utils\n_rebuild_tensor_v3\n.", id="a tensor of a newer dtype"),
        pytest.param(b"ctorch\n_utils._rebuild_tensor_v2.__globals__\n.", id="an attribute of a name"),
    ],
)
def test_refused_instructions(data: bytes) -> None:
    with pytest.raises(InputError, match=r"model\.bin is refused: this file would run or build"):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b".", id="an empty stack"),
        pytest.param(b"K\x01", id="no STOP"),
        pytest.param(b"h\x07.", id="an empty memo"),
        pytest.param(b"t.", id="no mark"),
        pytest.param(b"}(K\x01u.", id="a key without value"),
        pytest.param(b"]K\x01K\x02s.", id="an item for a list"),
        pytest.param(b"}K\x01a.", id="an element for a dict"),
        pytest.param(b"}]K\x02s.", id="a list as key"),
        pytest.param(b"X\xff\xff\xff\xffabc.", id="a string beyond the end"),
        pytest.param(b"K\x01)R.", id="calling a number"),
        pytest.param(b"X\x17\x00\x00\x00collections.OrderedDict)R.", id="calling a string"),
        pytest.param(b"ctorch\nFloatStorage\n)R.", id="calling a storage type"),
        pytest.param(b"ccollections\nOrderedDict\nK\x01R.", id="arguments that are not a tuple"),
        pytest.param(b"ccollections\nOrderedDict\n(K\x01K\x02K\x03tR.", id="too many arguments"),
        pytest.param(b"ccollections\nOrderedDict\n(K\x01tR.", id="a dict from a number"),
        pytest.param(b"ctorch._utils\n_rebuild_parameter\n(K\x01tR.", id="a parameter that is a number"),
        pytest.param(b"ccollections\nOrderedDict\n}b.", id="attributes for a name"),
        pytest.param(b"K\x01Q.", id="a storage that is a number"),
        pytest.param(b"ctorch\n\\_\n.", id="a stray backslash"),
        pytest.param(b"L" + b"9" * 10_000 + b"L\n.", id="a very long number"),
    ],
)
def test_malformed_pickles(data: bytes) -> None:
    with pytest.raises(InputError, match=r"model\.bin is (truncated|refused)"):
        read(data)


def test_malicious_pickles_need_little_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # CPython's unpickler reserves memory for as many memo entries as the largest index says.
    assert read(b"K\x07r\xff\xff\xff\x7f.") == 7
    # Hashing a tuple nested so deeply overflows the C stack, and hashing a doubled one takes forever.
    for nest in (b"\x85" * 200_000, b"q\x00h\x00\x86" * 200):
        with pytest.raises(InputError):
            read(b"})" + nest + b"K\x01s.")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"
