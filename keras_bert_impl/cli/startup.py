"""Imports Keras or TensorFlow without the lines that TensorFlow prints at startup."""

import importlib
import os
import sys
import tempfile

from keras_bert_impl.errors import InputError


def start_framework(operations: str = "keras.ops", *, strategy: str | None = None) -> None:
    """Imports a framework and runs its first operation.

    While TensorFlow is imported, it writes lines about oneDNN and CUDA to file descriptor 2, before its logger can be
    configured. They are captured, and printed only if the import fails.

    Args:
        operations: the module with the framework's operations: ``keras.ops`` for the Keras backend that the user
            chose, or ``tensorflow``.
        strategy: the distribution strategy of a training, if any. It must be created before the first operation,
            after which devices cannot change; no operation is run then.

    Raises:
        InputError: the framework is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            module = importlib.import_module(operations)
            if not strategy:
                module.zeros(1)  # The first operation looks for devices.
        except ModuleNotFoundError as error:
            others = "; or install another backend of Keras, and set KERAS_BACKEND to jax or torch"
            raise InputError(
                f"{error.name} is not installed. Run: pip install 'keras_bert_impl[tensorflow]'"
                f"{others if operations == 'keras.ops' else ''}."
            ) from error
        except BaseException:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
