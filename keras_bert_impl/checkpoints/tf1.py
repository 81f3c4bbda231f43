"""Reads Google's TensorFlow 1 checkpoints (``bert_model.ckpt.index`` and ``.data-…``)."""

from pathlib import Path

import numpy as np

from keras_bert_impl.errors import InputError, make_missing_error

# The optimizer's slots: two thirds of a training checkpoint; they are not weights.
_OPTIMIZER = ("adam_m", "adam_v", "lamb_m", "lamb_v", "global_step")


def read_tf1(prefix: Path) -> dict[str, np.ndarray]:
    """Reads the variables of a TensorFlow 1 checkpoint, without the optimizer's.

    Args:
        prefix: the path without ``.index``, for example ``uncased_L-2_H-128_A-2/bert_model.ckpt``.

    Raises:
        InputError: TensorFlow is not installed; a file is missing, truncated or damaged; or it is an object-based
            checkpoint of TensorFlow 2, whose variables have other names.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise make_missing_error(error, "tensorflow", user=f"the TensorFlow checkpoint {prefix}") from error
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        dtypes = reader.get_variable_to_dtype_map()
        if "_CHECKPOINTABLE_OBJECT_GRAPH" in dtypes:
            raise InputError(
                f"{prefix} is an object-based checkpoint of TensorFlow 2; a name-based one of TensorFlow 1 was "
                "expected: convert it with the program that wrote it."
            )
        names = [name for name in dtypes if name.rsplit("/", 1)[-1] not in _OPTIMIZER and dtypes[name] != tf.string]
        return {name: reader.get_tensor(name) for name in sorted(names)}
    except (tf.errors.OpError, IndexError) as error:
        # TensorFlow raises IndexError when it reads beyond the end.
        raise InputError(
            f"{prefix}.index and its data are truncated, damaged or incomplete: {error} Download them again."
        ) from error
