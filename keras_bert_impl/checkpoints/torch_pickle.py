"""Reads the pickle inside a torch file as data: nothing that it names is imported, called or built.

A pickle is a program for a small stack machine, and unpickling it runs any function that it names. Here `pickletools`
splits it into instructions, and the machine below executes only the instructions that `torch.save` writes for tensors.
The result describes tensors; `torch_file.py` finds their data. Training scripts save more than tensors, such as states
of optimizers and settings: objects of the types in ``_SKIPPED`` are not made, and `SKIPPED` takes their place.

The standard `pickle.Unpickler` with a restricted `find_class` would not be enough: a few bytes can make it allocate
gigabytes (memo indices), and BUILD changes objects.
"""

import io
import mmap
import pickletools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from keras_bert_impl.errors import InputError
from keras_bert_impl.tensor_files import DTYPES

STORAGES = {
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": DTYPES["BF16"],
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}


class Storage(NamedTuple):
    """A flat array of numbers elsewhere in the file, which tensors may share."""

    key: str
    dtype: np.dtype
    size: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Pickle(NamedTuple):
    """A pickle's value (dicts, lists, strings, numbers and ``Tensor``), and all storages that it refers to."""

    value: Any
    storages: dict[str, Storage]


class _Skipped:
    """Takes the place of an object that is data, but not a tensor; whatever is put into it is dropped."""


SKIPPED = _Skipped()


class _RefusedError(Exception):
    """The pickle contains something that is not data."""


def read_pickle(stream: io.BytesIO | mmap.mmap, *, path: Path) -> Pickle:
    """Reads one pickle; the stream is at its end afterwards.

    Raises:
        InputError: the pickle runs or builds something that the tables here do not list, or is truncated or malformed.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", stream)):
            if opcode.name not in _INSTRUCTIONS:
                raise _RefusedError(f"the pickle instruction {opcode.name}")
            _INSTRUCTIONS[opcode.name](machine, argument)
        return Pickle(machine.pop(), machine.storages)
    except _RefusedError as error:
        raise InputError(
            f"{path} is refused: this file would run or build {error}. Only plain tensors are read from such files. If "
            "you trust it, open it with torch and save `model.state_dict()`, preferably as model.safetensors."
        ) from error
    except (ValueError, TypeError, IndexError, KeyError, DeprecationWarning) as error:
        # pickletools warns about stray backslashes in names, which is an exception if warnings are errors.
        raise InputError(
            f"{path} is truncated, damaged or not a file that torch.save wrote. Download it again."
        ) from error


class _Machine:
    """The stack machine: a stack, the stacks saved at each MARK, the memo, and the storages so far."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def mark(self, _: object) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.push(self.memo[index])

    def push_name(self, argument: str) -> None:
        module, name = argument.split(" ", 1)
        self.push(_check_name(f"{module}.{name}"))

    def push_stacked_name(self, _: object) -> None:
        module, name = self.pop_many(2)
        self.push(_check_name(f"{module}.{name}"))

    def call(self, _: object) -> None:
        function, arguments = self.pop_many(2)
        self.push(SKIPPED if function is SKIPPED else _CALLS[_check_type(_Name, function)](*arguments))

    def make_object(self, _: object) -> None:
        kind, _arguments = self.pop_many(2)
        if kind is not SKIPPED:
            raise _RefusedError(f"an object of {kind!r}")
        self.push(SKIPPED)

    def build(self, _: object) -> None:
        # Attributes of a state dict (`_metadata`) are not tensors.
        self.pop()
        if self.stack[-1] is not SKIPPED:
            _check_type(dict, self.stack[-1])

    def load_storage(self, _: object) -> None:
        # A sixth entry, in the older format only, makes it a view of another storage; torch has long written None.
        kind, type_name, key, _location, size, *view = _check_type(tuple, self.pop())
        storage = Storage(
            key=_check_type(str, key), dtype=STORAGES[_check_type(_Name, type_name)], size=_check_type(int, size)
        )
        if kind != "storage" or any(view) or self.storages.setdefault(key, storage) != storage:
            raise ValueError("not a storage, or one with two descriptions")
        self.push(storage)

    def append(self, items: Iterable[Any]) -> None:
        if self.stack[-1] is not SKIPPED:
            _check_type(list, self.stack[-1]).extend(items)

    def add(self, _: object) -> None:
        self.pop_marked()
        _check_type(_Skipped, self.stack[-1])

    def make_frozen_set(self, _: object) -> None:
        self.pop_marked()
        self.push(SKIPPED)

    def update(self, items: list[Any]) -> None:
        if self.stack[-1] is not SKIPPED:
            _check_type(dict, self.stack[-1]).update(_make_dict(zip(items[::2], items[1::2], strict=True)))


class _Name(str):
    """A name from ``STORAGES`` or ``_CALLS``: its own class distinguishes it from the strings in a pickle."""


def _check_name(name: str) -> _Name | _Skipped:
    if name in _SKIPPED_NAMES:
        return SKIPPED
    if name not in STORAGES and name not in _CALLS:
        raise _RefusedError(repr(name))
    return _Name(name)


def _check_type(kind: type, value: Any) -> Any:
    """Returns ``value`` if its type is exactly ``kind``."""
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    return value


def _make_dict(pairs: Iterable[Any] = ()) -> dict[str | int, Any]:
    # Other keys are refused: hashing a deeply nested tuple can take forever or overflow the C stack.
    return {key if type(key) is int else _check_type(str, key): value for key, value in pairs}


def _make_tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *rest: Any) -> Tensor:
    numbers = (offset, *_check_type(tuple, shape), *_check_type(tuple, strides))
    if len(shape) != len(strides) or any(_check_type(int, number) < 0 for number in numbers):
        raise ValueError("impossible shape or strides")
    # `rest` is requires_grad, hooks and metadata. Only metadata affects the values: it can negate or conjugate them.
    if any(rest[2:]):
        raise _RefusedError("a negated or conjugated view of a tensor")
    return Tensor(_check_type(Storage, storage), offset, shape, strides)


def _make_parameter(data: Tensor, *_: Any) -> Tensor:
    return _check_type(Tensor, data)


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _make_dict,
    "collections.defaultdict": lambda *_: {},
    "torch.Size": lambda sizes: tuple(_check_type(tuple, sizes)),
    "torch._utils._rebuild_tensor": _make_tensor,
    "torch._utils._rebuild_tensor_v2": _make_tensor,
    "torch._utils._rebuild_parameter": _make_parameter,
}

_BUILTINS = (
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "range",
    "set",
    "str",
)
_PATHS = ("Path", "PosixPath", "PurePosixPath", "WindowsPath")

# Types of settings, metrics and states of optimizers, by module. No object of them is made.
_SKIPPED: dict[str, tuple[str, ...]] = {
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,  # The name in pickles of protocol 2.
    "_codecs": ("encode",),  # Bytes in pickles of protocol 2.
    "argparse": ("Namespace",),
    "collections": ("Counter", "deque"),
    "datetime": ("date", "datetime", "timedelta"),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "numpy": ("dtype", "ndarray"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "pytorch_lightning.utilities.parsing": ("AttributeDict",),
    "torch": ("bfloat16", "bool", "device", "float16", "float32", "float64", "int32", "int64", "uint8"),
    "types": ("SimpleNamespace",),
}
_SKIPPED_NAMES = frozenset(f"{module}.{name}" for module, names in _SKIPPED.items() for name in names)

_Instruction = Callable[[_Machine, Any], None]

_INSTRUCTIONS: dict[str, _Instruction] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Machine.push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"), _Machine.push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"), _Machine.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_SET": lambda machine, _: machine.push(SKIPPED),
    "ADDITEMS": _Machine.add,
    "FROZENSET": _Machine.make_frozen_set,
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop_many(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop_many(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop_many(3))),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "APPEND": lambda machine, _: machine.append(machine.pop_many(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_marked()),
    "SETITEM": lambda machine, _: machine.update(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_marked()),
    "MARK": _Machine.mark,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "MEMOIZE": _Machine.memoize,
    "GLOBAL": _Machine.push_name,
    "STACK_GLOBAL": _Machine.push_stacked_name,
    "BINPERSID": _Machine.load_storage,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.make_object,
    "BUILD": _Machine.build,
}
