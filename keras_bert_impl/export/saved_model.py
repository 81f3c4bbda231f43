"""SavedModels as TF Serving takes them: ``NAME/VERSION/``, from text to answer, with all that they need inside."""

import re
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.export.parts import Parts
from keras_bert_impl.files import write_text
from keras_bert_impl.tasks.run import Run

# TF Serving leaves this folder of a SavedModel alone, and so does TensorFlow: it is for files that go with the model.
EXTRA = "assets.extra"


def check_version(directory: Path) -> None:
    """Raises ``InputError`` unless a directory is called ``NAME/VERSION``."""
    if not (directory.name.isascii() and directory.name.isdecimal()):
        raise InputError(
            f"{directory} ends in {directory.name!r}; TF Serving looks for versions that are whole numbers. "
            f"Name a directory like {directory / '1'}."
        )


def write_saved_model(parts: Parts, path: Path) -> None:
    """The directory of ``path``: a SavedModel that takes raw text, on a TensorFlow without Keras and TF Text.

    The signatures are those of `keras_bert_impl.export.signatures`. Under ``assets.extra`` stand the requests that TF
    Serving runs before a version takes traffic; and ``README.md`` shows how to serve and ask it.
    """
    import tensorflow as tf

    from keras_bert_impl.export.guide import guide
    from keras_bert_impl.export.signatures import signatures
    from keras_bert_impl.export.warmup import NAME, write_warmup

    directory = path.parent
    module = tf.Module()
    functions, module.kept = signatures(parts)
    try:
        tf.saved_model.save(module, str(directory), signatures=functions)
    except tf.errors.OpError as error:
        # What TensorFlow makes of a full disk, among others, with names of its operations around the message.
        reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*?\]", "", error.message)
        raise OSError(f"{directory} cannot be written: {reason}") from error
    loaded = tf.saved_model.load(str(directory))
    (directory / EXTRA).mkdir()
    write_warmup(directory / EXTRA / NAME, parts.name, loaded.signatures)
    write_text(directory / "README.md", guide(parts.name, loaded.signatures))


def open_saved_model(path: Path) -> Run:
    """The signature over ids of a SavedModel, without Keras.

    Raises:
        InputError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InputError('a SavedModel needs TensorFlow: pip install "keras_bert_impl[tensorflow]".') from error
    loaded = tf.saved_model.load(str(path.parent))

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        # By way of `loaded`, for the signature alone does not keep the variables.
        outputs = loaded.signatures["ids"](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return run
