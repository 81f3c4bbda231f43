"""Starts the Keras backend without its notes on itself."""

import os
import sys
import tempfile


def start_backend() -> None:
    """Imports Keras and makes its backend ready.

    TensorFlow writes lines about oneDNN and CUDA to file descriptor 2 while it loads, before any setting can reach its
    logger. They are held back, and shown only if the start fails.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(1)  # The first operation looks for devices.
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
