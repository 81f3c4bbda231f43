"""Starts Keras or TensorFlow without its notes on itself."""

import importlib
import os
import sys
import tempfile

from keras_bert_impl.errors import InputError


def start(operations: str = "keras.ops", *, strategy: str | None = None) -> None:
    """Imports a framework and makes it ready.

    TensorFlow writes lines about oneDNN and CUDA to file descriptor 2 while it loads, before any setting can reach its
    logger. They are held back, and shown only if the start fails.

    Args:
        operations: the module of its operations: ``keras.ops`` with the backend that the user chose, or ``tensorflow``.
        strategy: of a training, if any; it is made before the first operation, after which devices cannot change.

    Raises:
        InputError: the framework is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
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
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
