"""With what a model was trained, for its card."""

import sys

import keras
import numpy as np

import keras_bert_impl


def versions() -> dict[str, str]:
    """The versions of this package and of those that decide on the numbers."""
    backend = keras.backend.backend()
    return {
        "keras_bert_impl": keras_bert_impl.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "backend": f"{backend} {sys.modules[backend].__version__}",
    }
