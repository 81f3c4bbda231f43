"""``Task``: the interface of a task, which contains everything specific to it."""

import abc
import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from keras_bert_impl.config import INPUTS, BertConfig
from keras_bert_impl.data.batches import Features, LengthBatches, restore_order
from keras_bert_impl.data.in_memory import MemoryTable
from keras_bert_impl.data.tables import Columns, count_examples, iterate_table, to_columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.sources import Source
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText

# Takes a batch of named inputs, returns the named outputs: a compiled model, or an export's signature.
PredictFunction = Callable[[dict[str, np.ndarray]], dict[str, Any]]
Outputs = Mapping[str, Any]
Prediction = dict[str, Any]

# The max. number of predictions in a summary.
_MAX_ANSWERS = 5


@dataclass(frozen=True)
class Summary:
    """A prediction in a few words, for the top of a view.

    Attributes:
        heading: the kind of prediction; empty if there is none.
        predictions: the predictions, most likely first, each with its probability or None.
    """

    heading: str
    predictions: list[tuple[str, float | None]]


NO_SUMMARY = Summary("", [])


@dataclass(frozen=True)
class TargetLogit:
    """One logit among a model's outputs, to be explained.

    Attributes:
        name: a description, such as ``logit of 'positive'``.
        output: the output's name.
        index: the logit's index in one row of the output, flattened.
        position: the token whose prediction a masked-LM head computes.
    """

    name: str
    output: str
    index: int
    position: int = 0


class Serving(Protocol):
    """The part of a served model that `Task.serve` uses."""

    config: BertConfig
    tokenizer: BertTokenizer

    def gather(self, strings: Sequence[str], indices: Any) -> Any:
        """Looks up strings: a string tensor of the shape of ``indices``."""


class Task(abc.ABC):
    """One task: its model class, and how its examples are read, encoded, learned, predicted, scored, served, explained.

    Only the subclass contains them. It is listed in ``TASKS``; training, `Predictor`, exports and views use the list.

    Attributes:
        name: the name in ``TASKS``, on the command line and in reports.
        model_name: the name of the model's class in `keras_bert_impl.models`.
        problem_type: the ``problem_type`` in the model's ``config.json``, by which `fits` distinguishes tasks with the
            same model class; None if no other task has this class.
        main_metric: the metric of `score` that selects the best checkpoint.
        lower_is_better: the metrics of `score` that are better if they are lower; of all others, higher is better.
        graph: the kind of graph that serves the task in a SavedModel, a module in `keras_bert_impl.export.graphs`.
        pipeline_tag: the hub's name of the task, for the metadata of model cards; None if it has none.
        per_token: whether the outputs have an entry per token.
        needs_pair: whether an example always has two texts.
        predicts_label: whether the prediction for a single text is one ``label``, with the ``scores`` of all labels.
        needs_head: whether predictions need every weight of the model, so that none may be newly initialized.
        file_columns: the keywords of `read_examples` that name columns of a file.
        group_column: the column by which examples belong together. When validation data is split off, examples with the
            same value stay on one side.
        text_columns: the columns with the texts of an example, in the order of the arguments of `from_texts`.
        label_column: the column with what is learned.
        labels_are_texts: whether the labels are the texts themselves, from which `encode` makes what is learned.
        loss_weights: the weight of each output's loss; None: all are 1.
        options: what the user may choose for this task only, a frozen dataclass that ``TASK_OPTIONS`` names; None: the
            task has no options.
        config_keys: the keys of ``config.json`` that only this task uses. Fine-tuning for another task drops them.
        card_note: the sentence of the model card that says which other library opens the directory.
        needs_labels: whether training data must have labels; with a teacher, they may be omitted for some tasks.
        teacher_replaces_labels: whether the outputs of a teacher can replace the labels of training data.
        has_large_outputs: whether outputs are too large to be kept for all training data, so that a teacher computes
            them again for each batch.
        refusals: for each action that the task does not support (``finetune``, ``evaluate``, ``export``, ``explain``,
            and ``strings`` for strings in Keras' own methods) the reason and the alternative.
    """

    name: ClassVar[str]
    model_name: ClassVar[str]
    problem_type: ClassVar[str | None] = None
    main_metric: ClassVar[str]
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    graph: ClassVar[str]
    pipeline_tag: ClassVar[str | None] = None
    per_token: ClassVar[bool] = False
    needs_pair: ClassVar[bool] = False
    predicts_label: ClassVar[bool] = False
    needs_head: ClassVar[bool] = True
    file_columns: ClassVar[tuple[str, ...]] = ()
    group_column: ClassVar[str] = "text"
    text_columns: ClassVar[tuple[str, ...]] = ("text", "text_pair")
    label_column: ClassVar[str] = "label"
    labels_are_texts: ClassVar[bool] = False
    loss_weights: ClassVar[Mapping[str, float] | None] = None
    options: Any = None
    config_keys: ClassVar[tuple[str, ...]] = ()
    card_note: ClassVar[str] = "transformers can load this directory too."
    needs_labels: ClassVar[bool] = True
    teacher_replaces_labels: ClassVar[bool] = False
    has_large_outputs: ClassVar[bool] = False
    refusals: ClassVar[Mapping[str, str]] = {}

    # -- the model

    @property
    def model_class(self) -> Any:
        """The model's class, imported on first use."""
        return getattr(importlib.import_module("keras_bert_impl.models"), self.model_name)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The class names in the ``config.json`` of models for this task; training writes the last one."""
        return (self.model_name,)

    def fits(self, config: BertConfig) -> bool:
        """Whether a model of this class with this configuration was made for this task.

        Models of a class fit only one task. By default, those with this ``problem_type`` fit; all fit if it is None.
        """
        return self.problem_type in (None, config.problem_type)

    def require(self, action: str) -> None:
        """Raises ``InputError`` if the task does not support an action."""
        if action in self.refusals:
            raise InputError(f"{action} is not available for {self.name}: {self.refusals[action]}")

    def load_model(self, source: Any, *, dtype: Any = None) -> Any:
        """Loads the model of a checkpoint.

        Raises:
            InputError: the checkpoint cannot be used, or lacks weights that the task needs; see `check_config`.
        """
        model = self.model_class.from_pretrained(source, dtype=dtype)
        if self.needs_head and (missing := model.load_report.list_names("newly initialized")):
            trains = self.refusals.get("finetune", f"'keras-bert finetune --task {self.name}' trains it.")
            raise InputError(f"{source} lacks {', '.join(missing)}: it was not trained as {self.model_name}. {trains}")
        self.check_config(model.config, source)
        return model

    def check_config(self, config: BertConfig, source: Any) -> None:  # noqa: B027  Most tasks check nothing.
        """Checks that a model with this configuration, or an export of one, can predict for the task.

        Raises:
            InputError: it cannot; the message names ``source``.
        """

    def read_config(self, source: Source, config: BertConfig) -> BertConfig:
        """Adds the settings that a checkpoint has in other files than ``config.json``.

        Args:
            source: the files of the checkpoint, or of an export.
            config: the content of its ``config.json``.

        Raises:
            InputError: one of those files cannot be used.
        """
        return config

    def open_tokenizer(self, source: Source, config: BertConfig) -> BertTokenizer:
        """Reads the tokenizer of a checkpoint or an export, with the configuration that `read_config` returned."""
        return BertTokenizer.from_pretrained(source)

    def resolve_max_length(self, config: BertConfig, tokenizer: BertTokenizer, max_length: int | None) -> int:
        """Returns ``max_length``, or for None the number of tokens that the model and its tokenizer allow."""
        return min(config.max_position_embeddings, tokenizer.model_max_length) if max_length is None else max_length

    # -- examples

    @abc.abstractmethod
    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads the examples of a file, one after the other.

        Args:
            path: the file, or a `MemoryTable`.
            labeled: whether labels are read; false for prediction.
            columns: names of the file's columns, by the keywords of ``file_columns``.

        Yields:
            a dictionary per example, all with the same keys. ``location`` is the file and line, with which messages
            begin; ``label`` or ``answers`` is what is learned, only if ``labeled``; the other keys are the task's own.
        """

    @abc.abstractmethod
    def from_texts(self, texts: Sequence[str], text_pairs: Sequence[Any] | None = None) -> Columns:
        """Returns columns without labels for texts, or pairs of texts."""

    def read_file(
        self, data: Any, *, labeled: bool = True, columns: Mapping[str, str] | None = None, name: str = "the data"
    ) -> Columns:
        """Reads a file, or data in memory.

        Args:
            data: a file; data in memory, see `keras_bert_impl.data.MemoryTable`; or columns that a reader returned,
                which contain ``location`` and are returned as they are.
            labeled: whether labels are read; false for prediction.
            columns: names of the file's columns, by the keywords of ``file_columns``.
            name: what to call data in memory in messages.

        Raises:
            InputError: names of columns for a format that has none, or the data cannot be used.
        """
        if isinstance(data, dict) and "location" in data:
            count_examples(data, name=name)
            return data
        return next(to_columns(self._read_rows(data, columns or {}, labeled=labeled, name=name)))

    def read_chunks(
        self, data: Any, size: int, *, columns: Mapping[str, str] | None = None, name: str = "the data"
    ) -> Iterator[Columns]:
        """Reads a file or data in memory without labels, ``size`` examples at a time; see `read_file`."""
        if isinstance(data, dict) and "location" in data:
            return iter([data])
        return to_columns(self._read_rows(data, columns or {}, labeled=False, name=name), size)

    def _read_rows(
        self, data: Any, columns: Mapping[str, str], *, labeled: bool, name: str
    ) -> Iterator[dict[str, Any]]:
        self._check_columns(columns)
        path = data if isinstance(data, str | os.PathLike | MemoryTable) else MemoryTable(data, name=name)
        # Readers take a `MemoryTable` too.
        return self.read_examples(path, labeled=labeled, **columns)  # type: ignore[arg-type]

    def _check_columns(self, columns: Mapping[str, str]) -> None:
        if unknown := sorted(set(columns) - set(self.file_columns)):
            known = f"no columns but {', '.join(self.file_columns)}" if self.file_columns else "no named columns"
            raise InputError(f"files for {self.name} have {known}; omit {', '.join(unknown)}.")

    def from_fields(self, rows: Sequence[Sequence[str]]) -> Columns:
        """Returns columns without labels for the fields of lines: a text each, or two texts each."""
        if len({len(fields) for fields in rows}) > 1 or len(rows[0]) > 2:
            raise InputError(
                "the lines have different numbers of TABs, or several; either no TAB (single texts) or one (pairs) "
                "was expected."
            )
        texts, *pairs = (list(column) for column in zip(*rows, strict=True))
        return self.from_texts(texts, *pairs)

    def parse_label(self, label: Any, columns: Columns, index: int, config: BertConfig) -> Any:
        """Converts a label of ``fit``, such as an id, to a label as `read_examples` gives it.

        Args:
            label: the label, an object of Python.
            columns: the examples.
            index: the number of the example, from 0.
            config: the model's configuration.

        Raises:
            InputError: the label cannot be used.
        """
        return label

    @abc.abstractmethod
    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes examples, with labels if the columns have them.

        Raises:
            InputError: a label that the model does not know, or ``max_length`` exceeds the model's positions.
        """

    # -- training

    def list_strata(self, columns: Columns) -> list[str]:
        """Returns a value per example, each of which a split keeps at the same fraction on both sides."""
        return [""] * len(next(iter(columns.values())))

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the names of the model's labels, from training data."""
        return []

    def list_label_names(self, config: BertConfig) -> Sequence[str]:
        """Returns the names of the labels, in the order of the logits; empty if logits have no names."""
        return list(config.id2label.values())

    def make_config_changes(self, labels: list[str]) -> dict[str, Any]:
        """Returns the fields of a ``BertConfig`` that this task sets, as keywords for ``from_pretrained``."""
        return {"id2label": dict(enumerate(labels)), "problem_type": self.problem_type}

    def make_config_extra(self, columns: Columns, *, max_length: int) -> dict[str, Any]:
        """Returns further keys of ``config.json`` that depend on the training; None for a key that is to be removed.

        Args:
            columns: the training data.
            max_length: the maximum length of a row in training.
        """
        return {}

    @abc.abstractmethod
    def make_loss(self) -> dict[str, Any]:
        """Returns a Keras loss for each output of the model."""

    @abc.abstractmethod
    def make_metrics(self) -> dict[str, Any]:
        """Keras metrics for each output, weighted as the loss is."""

    def add_weights(self, features: Features, config: BertConfig) -> Features:
        """Returns the training data with the weights that options of the task give to its labels.

        Args:
            features: the training data.
            config: the configuration of the model that is trained.

        Raises:
            InputError: the options do not fit the labels.
        """
        return features

    def make_compile_arguments(
        self, features: Features | None = None, config: BertConfig | None = None
    ) -> dict[str, Any]:
        """Keywords for ``keras.Model.compile``, without the optimizer.

        Args:
            features: the training data, for tasks whose loss depends on it.
            config: the configuration of the model that is trained, for the same tasks.
        """
        return {"loss": self.make_loss(), "loss_weights": self.loss_weights, "weighted_metrics": self.make_metrics()}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the losses of distillation: for each output, the loss that compares it with that of a teacher.

        Args:
            temperature: the temperature, see `SoftenedKLDivergence`.

        Raises:
            InputError: the task does not support distillation.
        """
        raise InputError(f"distillation is not available for {self.name}. Train it without a teacher.")

    def make_trainable(self, model: Any, features: Features) -> Any:
        """Returns the Keras model that ``fit`` trains, which has the weights of ``model``.

        Args:
            model: the model that is saved.
            features: the training data.
        """
        return model

    def make_batches(
        self, features: Features, batch_size: int, *, seed: int, epochs: int, lengths: tuple[int, ...] = ()
    ) -> LengthBatches:
        """Returns the batches of the training data, for the model of `make_trainable`; see `LengthBatches`."""
        return LengthBatches(features, batch_size, seed=seed, epochs=epochs, lengths=lengths)

    def describe_batches(self, batches: LengthBatches) -> str:
        """Returns a line for the log, such as the number of rows that are left out; empty if there is none."""
        return ""

    # -- prediction

    def allow_no_answer(self, config: BertConfig, allow: bool) -> BertConfig:
        """Returns the configuration that allows, or does not allow, questions without an answer.

        Raises:
            InputError: the task is not question answering.
        """
        raise InputError(f"the model is for {self.name}; 'no answer' is an option of question answering. Omit it.")

    def choose_masks(self, *, seed: int | None = None, each_token: bool = False) -> "Task":
        """Returns the task with other masks of the texts that it is evaluated on.

        Args:
            seed: the seed of the masks; None: as it is.
            each_token: whether each token is masked in turn.

        Raises:
            InputError: the task is not masked LM.
        """
        raise InputError(f"the model is for {self.name}; masks are options of the task masked-lm. Omit them.")

    def reduce(
        self, outputs: Outputs, inputs: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """Reduces the outputs of one batch to what `decode` needs, so that large outputs are not collected."""
        return dict(outputs)

    def join_rows(self, outputs: Outputs, features: Features, config: BertConfig) -> Outputs:
        """Joins the outputs of an example's rows, for `decode` of tasks that expect one row per example."""
        return outputs

    def describe_truncation(self, truncated: int, examples: int, *, config: BertConfig, max_length: int) -> str:
        """Returns the clause that says how many texts were truncated."""
        return f"{truncated} of {examples} texts are longer than {max_length} tokens and were truncated"

    def wrap_export(self, run: PredictFunction) -> PredictFunction:
        """Adapts an export's function of ids to this task's inputs."""
        return run

    @abc.abstractmethod
    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Turns outputs, in the order of the rows, into a prediction per example: a dictionary, ready for JSON."""

    def predict(
        self,
        run: PredictFunction,
        features: Features,
        columns: Columns,
        *,
        config: BertConfig,
        max_tokens: int = 4096,
        lengths: tuple[int, ...] = (),
    ) -> list[Prediction]:
        """Predicts examples, in their order. Rows of similar length are in the same batch.

        Args:
            run: the model.
            features: the encoded examples.
            columns: the examples.
            config: the model's configuration.
            max_tokens: the maximum number of tokens in a batch, padding included.
            lengths: the lengths that batches may be padded to; empty for the longest row of each batch.

        Returns:
            a dictionary per example, ready for JSON.
        """
        outputs = self.compute_outputs(run, features, max_tokens=max_tokens, lengths=lengths)
        return self.decode(self.join_rows(outputs, features, config), features, columns, config)

    def compute_outputs(
        self, run: PredictFunction, features: Features, *, max_tokens: int = 4096, lengths: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """Returns the outputs of a model, after `reduce`, in the order of the rows; see `predict` for the arguments."""
        batches = LengthBatches(features, 1, lengths=lengths, max_tokens=max_tokens)
        outputs = (self.reduce(run(batch[0]), *batch[:2]) for batch in map(batches.__getitem__, range(len(batches))))
        return restore_order(outputs, batches, per_token=self.per_token)

    @abc.abstractmethod
    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """Returns the task's metrics by name."""

    def get_main_metric(self, scores: Mapping[str, float]) -> str:
        """Returns the name of the metric that selects the best checkpoint, among these metrics of `score`."""
        return self.main_metric

    def tune(self, predict: Callable[[], list[Prediction]], columns: Columns) -> dict[str, Any]:
        """Returns keys of ``config.json`` that are chosen after training, such as thresholds; empty if there are none.

        Args:
            predict: a function that returns the predictions of the best epoch for the validation data.
            columns: the validation data.
        """
        return {}

    # -- exports

    def limit_length(self, config: BertConfig, max_length: int) -> BertConfig:
        """Returns the configuration of an export whose rows have at most this number of tokens."""
        return config

    def list_export_inputs(self, config: BertConfig) -> tuple[str, ...]:
        """Returns the names of the inputs that an export takes instead of text."""
        return INPUTS

    @abc.abstractmethod
    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """Converts the model's outputs to the outputs of a SavedModel; implementations use ``keras.ops``."""

    # -- views

    def make_view_inputs(self, inputs: Mapping[str, np.ndarray], tokenizer: BertTokenizer) -> dict[str, np.ndarray]:
        """Returns the model's inputs for one encoded text ``[1, tokens]``."""
        return dict(inputs)

    def can_summarize(self, row: "EncodedText") -> bool:
        """Whether the model can make a prediction for this text."""
        return True

    @abc.abstractmethod
    def summarize(self, prediction: Prediction) -> Summary:
        """Summarizes a prediction."""

    def get_explained_model(self, model: Any) -> Any:
        """Returns the model whose logits are explained: it has the same weights, and rows of tokens as inputs."""
        return model

    @abc.abstractmethod
    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logits to explain.

        Args:
            row: the text.
            outputs: the model's outputs for the row, ``[1, ...]``.
            tokenizer: the tokenizer.
            config: the model's configuration.
            target: the user's choice, such as a label; None: what the model predicts.

        Raises:
            InputError: there is nothing to explain, or the target is unknown.
        """


class TextTask(Task):
    """A task whose examples are rows of a table: a text, or a pair of texts, and a label."""

    file_columns: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")

    def read_examples(self, path: str | Path, *, labeled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a table; see `keras_bert_impl.data.read_table`."""
        return iterate_table(path, labeled=labeled, **columns)

    def from_texts(self, texts: Sequence[str], text_pairs: Sequence[Any] | None = None) -> Columns:
        """Returns columns without labels for texts, or pairs of texts."""
        return {"text": list(texts), **({} if text_pairs is None else {"text_pair": list(text_pairs)})}


def sort_predictions(scores: Mapping[str, float]) -> list[tuple[str, float | None]]:
    """Returns names with their probabilities, most likely first."""
    names = sorted(scores, key=lambda name: -scores[name])
    return [(name, scores[name]) for name in names[:_MAX_ANSWERS]]


def refuse_target(target: str | None, reason: str) -> None:
    """Raises ``InputError`` if there is a target where none can be chosen."""
    if target is not None:
        raise InputError(f"target is {target!r}, but this task has no choice of targets: {reason}. Omit it.")


def find_words(row: "EncodedText", target: str) -> list[tuple[Any, ...]]:
    """Returns the occurrences of a word, or of several consecutive words, in a text.

    Raises:
        InputError: there are none.
    """
    occurrences = row.find(target)
    if not occurrences:
        raise InputError(f"{row.text!r:.60} does not contain the word {target!r}. Name a word of the text.")
    return occurrences
