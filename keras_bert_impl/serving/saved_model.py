"""SavedModels as TF Serving takes them: ``NAME/VERSION/``, with the tokenizer and the configuration inside."""

import shutil
from pathlib import Path

import keras

from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import new_directory, refuse_other_content
from keras_bert_impl.tasks.lookup import task_of
from keras_bert_impl.tokenization import BertTokenizer

# TF Serving leaves this folder of a SavedModel alone, and so does TensorFlow: it is for files that go with the model.
EXTRA = "assets.extra"


def export_saved_model(run: str | Path, directory: str | Path) -> Path:
    """Exports a fine-tuned model with a signature over token ids.

    The signature ``serving_default`` takes int32 ``input_ids``, ``token_type_ids`` and ``attention_mask``
    ``[batch, length]`` and gives the model's outputs by name. Beside it, under ``assets.extra``, stand ``config.json``
    with the labels and the tokenizer's files.

    Args:
        run: the directory of a fine-tuned model.
        directory: ``NAME/VERSION``, the version a whole number as TF Serving wants it; must not exist or be empty.

    Returns:
        ``directory``.

    Raises:
        InputError: the run or the directory cannot be used, or Keras runs on another backend than TensorFlow.

    >>> export_saved_model("runs/sentiment", "saved_models/sentiment/1")  # doctest: +SKIP
    """
    run, directory = Path(run), Path(directory)
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"a SavedModel is made by TensorFlow, but Keras runs on {keras.backend.backend()}. Set KERAS_BACKEND=tensorflow."
        )
    if not directory.name.isdecimal():
        raise InputError(
            f"{directory} ends in {directory.name!r}; TF Serving looks for versions that are whole numbers. "
            f"Name a directory like {directory / '1'}."
        )
    refuse_other_content(directory)
    tokenizer = BertTokenizer.from_pretrained(run)
    model = task_of(BertConfig.from_pretrained(run)).model_class.from_pretrained(run)
    with new_directory(directory) as temporary:
        model.export(temporary, verbose=False)
        extra = temporary / EXTRA
        tokenizer.save_pretrained(extra)
        shutil.copyfile(run / "config.json", extra / "config.json")
    return directory
