"""``Predictor``: predictions from texts or files, with a model or with an export of one."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_bert_impl.data.batches import Features
from keras_bert_impl.data.feed import get_batch_lengths
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.sources import Source
from keras_bert_impl.tasks import Task, open_task
from keras_bert_impl.tasks.base import PredictFunction

# The number of examples that are sorted by length and predicted together.
CHUNK_SIZE = 4096


class Predictor:
    """A model, or an export of one, with its tokenizer, labels and task.

    An export is run by its own runtime, without Keras.

    Args:
        source: the directory of a run or of an export, or any source of a checkpoint; see `open_source`.
        task: a task, or its name in ``TASKS``; None takes the one that the configuration names. Another head of the
            same checkpoint may serve another task.
        max_length: the maximum length of a row in tokens; None: as many as the model allows, or the length of the
            windows that it was trained on.
        allow_no_answer: for question answering, whether a question may have no answer in its context; None: as the
            configuration says, which `keras_bert_impl.training.finetune` writes. Public checkpoints do not have this
            setting.

    Raises:
        InputError: nothing at ``source``, or the model does not fit the task.

    >>> Predictor("runs/sentiment").predict_texts(["A great film."])[0]["label"]  # doctest: +SKIP
    'positive'
    """

    def __init__(
        self,
        source: str | Path | Source,
        *,
        task: str | Task | None = None,
        max_length: int | None = None,
        allow_no_answer: bool | None = None,
    ) -> None:
        from keras_bert_impl.export.formats import find_format

        exported = find_format(source)
        files = exported.find_files(Path(source)) if exported else source
        self.task, self.config, self.tokenizer = open_task(files, task, allow_no_answer=allow_no_answer)
        self.max_length = self.task.resolve_max_length(self.config, self.tokenizer, max_length)
        self._lengths: tuple[int, ...] = ()
        self._run: PredictFunction
        if exported:
            self.task.check_config(self.config, source)
            self._run = self.task.wrap_export(exported.open(Path(source) / exported.file))
        else:  # An export needs no Keras.
            from keras_bert_impl.ops.compiled import compile_inference

            self._run = compile_inference(self.task.load_model(source))
            self._lengths = get_batch_lengths()

    def predict_texts(self, texts: list[str], text_pairs: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        """Predicts texts, pairs of texts, questions and their contexts, or texts and their lists of choices."""
        return self.predict_columns(self.task.from_texts(texts, text_pairs)) if texts else []

    def predict_columns(self, columns: Columns) -> list[dict[str, Any]]:
        """Predicts columns, as readers of files return them. Labels in them are ignored.

        Warns:
            UserWarning: texts were longer than ``max_length`` and were truncated.
        """
        return self._predict({name: values for name, values in columns.items() if name not in ("label", "answers")})

    def predict_file(
        self, data: Any, *, columns: Mapping[str, str] | None = None, size: int = CHUNK_SIZE
    ) -> Iterator[dict[str, Any]]:
        """Predicts the examples of a file in their order, while it is read: it may be larger than the memory.

        Args:
            data: a file as the task reads it, or data in memory, see `keras_bert_impl.data.MemoryTable`. Labels in it
                are ignored.
            columns: names of its columns, by the keywords of the task's ``file_columns``.
            size: the number of examples that are sorted by length and predicted together.

        Raises:
            InputError: the file cannot be used; the examples before the error have been predicted.

        Warns:
            UserWarning: after the last example, once: texts were longer than ``max_length`` and were truncated.
        """
        return self.predict_chunks(self.task.read_chunks(data, size, columns=columns))

    def predict_chunks(self, chunks: Iterable[Columns]) -> Iterator[dict[str, Any]]:
        """Predicts the examples of chunks of columns in their order, one chunk at a time.

        Warns:
            UserWarning: after the last example, once: texts were longer than ``max_length`` and were truncated.
        """
        truncated = seen = 0
        for chunk in chunks:
            features = self._encode(chunk)
            truncated += features.truncated
            seen += features.count_examples()
            yield from self._run_model(features, chunk)
        self._warn(truncated, seen)

    def score(self, data: Any, *, columns: Mapping[str, str] | None = None) -> dict[str, float]:
        """Computes the task's metrics on data with labels.

        Args:
            data: a file, columns that a reader returned, or other data in memory; see `Task.read_file`.
            columns: names of its columns, by the keywords of the task's ``file_columns``.

        Raises:
            InputError: the data cannot be used, a label that the model does not know, or a task without metrics.

        Warns:
            UserWarning: texts were longer than ``max_length`` and were truncated.
        """
        self.task.require("evaluate")
        examples = self.task.read_file(data, columns=columns)
        return self.task.score(self._predict(examples), examples)

    def _predict(self, columns: Columns) -> list[dict[str, Any]]:
        features = self._encode(columns)
        self._warn(features.truncated, features.count_examples())
        return self._run_model(features, columns)

    def _encode(self, columns: Columns) -> Features:
        return self.task.encode(columns, self.tokenizer, self.config, max_length=self.max_length)

    def _run_model(self, features: Features, columns: Columns) -> list[dict[str, Any]]:
        return self.task.predict(self._run, features, columns, config=self.config, lengths=self._lengths)

    def _warn(self, truncated: int, texts: int) -> None:
        if truncated:
            problem = self.task.describe_truncation(truncated, texts, config=self.config, max_length=self.max_length)
            warnings.warn(f"{problem}.", stacklevel=4)
