"""Prediction from texts or files, with a fine-tuned model or with its export."""

from pathlib import Path
from typing import Any

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import BUCKETS
from keras_bert_impl.data.columns import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.serving.saved_model import EXTRA
from keras_bert_impl.tasks.lookup import task_of
from keras_bert_impl.tasks.run import Run, predict
from keras_bert_impl.tokenization import BertTokenizer


class Predictor:
    """A fine-tuned model, or a SavedModel of one, with its tokenizer, labels and task.

    A SavedModel is run by TensorFlow alone; Keras is not imported.

    Args:
        source: the directory of a run or of an export, or any source of a fine-tuned checkpoint.
        max_length: the longest row in tokens; None takes as many as the model has positions.

    Raises:
        InputError: nothing at ``source``, or not a fine-tuned model.

    >>> Predictor("runs/sentiment").texts(["A great film."])[0]["label"]  # doctest: +SKIP
    '1'
    """

    def __init__(self, source: str | Path, *, max_length: int | None = None) -> None:
        exported = (Path(source) / "saved_model.pb").is_file()
        files = Path(source) / EXTRA if exported else source
        self.config = BertConfig.from_pretrained(files)
        self.task = task_of(self.config)
        self.tokenizer = BertTokenizer.from_pretrained(files)
        self.max_length = max_length or min(self.config.max_position_embeddings, self.tokenizer.model_max_length)
        self._lengths: tuple[int, ...] = ()
        self._run: Run = _served(Path(source)) if exported else self._loaded(source)

    def _loaded(self, source: str | Path) -> Run:
        import keras

        self._lengths = BUCKETS if keras.backend.backend() == "jax" else ()
        return self.task.model_class.from_pretrained(source).predict_on_batch

    def columns(self, columns: Columns) -> list[dict[str, Any]]:
        """Predictions for columns, as readers of files give them."""
        return predict(
            self._run,
            columns,
            task=self.task,
            tokenizer=self.tokenizer,
            config=self.config,
            max_length=self.max_length,
            lengths=self._lengths,
        )

    def texts(self, texts: list[str], text_pairs: list[str] | None = None) -> list[dict[str, Any]]:
        """Predictions for texts, pairs of texts, or questions and their contexts."""
        return self.columns(self.task.from_texts(texts, text_pairs))

    def score(self, columns: Columns) -> dict[str, float]:
        """The task's figures on columns with labels.

        Raises:
            InputError: a label that the model does not know.
        """
        # Encoding with labels checks them against the model's before anything is computed.
        self.task.encode(columns, self.tokenizer, self.config, max_length=self.max_length)
        return self.task.score(self.columns(columns), columns)


def _served(directory: Path) -> Run:
    """The default signature of a SavedModel."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InputError('a SavedModel needs TensorFlow: pip install "keras_bert_impl[tensorflow]".') from error
    loaded = tf.saved_model.load(str(directory))
    signature = loaded.signatures["serving_default"]

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = signature(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    run.keep = loaded  # type: ignore[attr-defined]  # the signature alone does not keep the variables
    return run
