"""Runs functions of tests in a process that may import torch and transformers.

pytest's process imports TensorFlow; importing parts of torch after it crashes a process. A test puts code that needs
torch into a function that imports everything it uses, and calls it as usual:

    @run_in_torch_process
    def compute_softmax(logits: np.ndarray) -> np.ndarray:
        import torch

        return torch.softmax(torch.from_numpy(logits), -1).numpy()

Arguments and results are pickled: NumPy arrays, numbers, strings, paths, and containers of them. All calls of one
pytest process run in the same torch process, which starts with the first call.
"""

import atexit
import builtins
import functools
import marshal
import types
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from keras_bert_impl.python_process import PythonProcess

# The modules of the package that import torch at the top, and so are imported in such a process only.
TORCH_MODULES = {"keras_bert_impl.interop.reference", "keras_bert_impl.interop.sentence_reference"}

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_process = PythonProcess()
atexit.register(_process.close)


def run_in_torch_process(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Makes a function run in the torch process. Only its code is sent there: it cannot use names of its module."""
    code = function.__code__
    assert not code.co_freevars, f"{function.__name__} uses {code.co_freevars} of the function around it"
    state = marshal.dumps(code), function.__defaults__, function.__kwdefaults__

    @functools.wraps(function)
    def call(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        return _process.call("torch_process", "run", *state, arguments, options)

    return call


def run(
    code: bytes,
    defaults: tuple[Any, ...] | None,
    keyword_defaults: dict[str, Any] | None,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    """Runs the code of a function; warnings are errors, as in pytest's process."""
    function = types.FunctionType(marshal.loads(code), {"__builtins__": builtins}, argdefs=defaults)
    function.__kwdefaults__ = keyword_defaults
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*arguments, **options)
