"""SavedModels as TF Serving takes them: ``NAME/VERSION/``, from text to answer, with all that they need inside."""

import re
from pathlib import Path

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import new_directory, refuse_other_content, to_json, write_text
from keras_bert_impl.tokenization import BertTokenizer

# TF Serving leaves this folder of a SavedModel alone, and so does TensorFlow: it is for files that go with the model.
EXTRA = "assets.extra"


def is_saved_model(path: str | Path) -> bool:
    """Whether a directory holds a SavedModel."""
    return (Path(path) / "saved_model.pb").is_file()


def check_export_directory(directory: Path) -> None:
    """Raises ``InputError`` unless a model can be exported there: ``NAME/VERSION``, absent or empty."""
    if not (directory.name.isascii() and directory.name.isdecimal()):
        raise InputError(
            f"{directory} ends in {directory.name!r}; TF Serving looks for versions that are whole numbers. "
            f"Name a directory like {directory / '1'}."
        )
    refuse_other_content(directory)


def export_saved_model(
    source: str | Path, directory: str | Path, *, max_length: int | None = None, attentions: bool = False
) -> Path:
    """Exports a model with its tokenizer, so that it answers raw text, on a TensorFlow without Keras and TF Text.

    The signatures are those of `keras_bert_impl.serving.signatures`. Under ``assets.extra`` stand ``config.json`` with
    the labels, the tokenizer's files, and the requests that TF Serving runs before a version takes traffic; and
    ``README.md`` shows how to serve and ask it.

    Args:
        source: the directory of a run, or any source of a checkpoint that ``ENDPOINTS`` knows.
        directory: ``NAME/VERSION``, the version a whole number as TF Serving wants it; must not exist or be empty.
        max_length: the longest row in tokens; None takes as many as the model has positions.
        attentions: whether to add a signature ``attentions``.

    Returns:
        ``directory``.

    Raises:
        InputError: the source or the directory cannot be used, or Keras runs on another backend than TensorFlow.
        OSError: the files cannot be written.

    >>> export_saved_model("runs/sentiment", "saved_models/sentiment/1")  # doctest: +SKIP
    """
    import keras

    directory = Path(directory)
    check_export_directory(directory)
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"a SavedModel is made by TensorFlow, but Keras runs on {keras.backend.backend()}. "
            "Set KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    from keras_bert_impl.serving.guide import guide
    from keras_bert_impl.serving.signatures import load_served, signatures
    from keras_bert_impl.serving.warmup import NAME, write_warmup

    config = BertConfig.from_pretrained(source)
    tokenizer = BertTokenizer.from_pretrained(source)
    served, model = load_served(source, config, tokenizer, max_length=max_length)
    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables]
    with new_directory(directory) as temporary:
        try:
            tf.saved_model.save(module, str(temporary), signatures=signatures(served, model, attentions=attentions))
        except tf.errors.OpError as error:
            # What TensorFlow makes of a full disk, among others, with names of its operations around the message.
            reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*?\]", "", error.message)
            raise OSError(f"{directory} cannot be written: {reason}") from error
        tokenizer.model_max_length = served.max_length
        tokenizer.save_pretrained(temporary / EXTRA)
        write_text(temporary / EXTRA / "config.json", to_json(config.to_dict()))
        loaded = tf.saved_model.load(str(temporary))
        name = directory.absolute().parent.name
        write_warmup(temporary / EXTRA / NAME, name, loaded.signatures)
        write_text(temporary / "README.md", guide(name, loaded.signatures))
    return directory
