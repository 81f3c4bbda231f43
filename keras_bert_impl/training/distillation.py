"""Knowledge distillation: a task that is learned from labels and from the outputs of a teacher.

The outputs of the teacher are labels: they are computed once before training, or, where they are large, when a batch is
made. So the teacher is not a part of the trained model, and training, resume and strategies know nothing of it.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig, map_layers
from keras_bert_impl.data.batches import Features, LengthBatches, Ragged, Values
from keras_bert_impl.data.pretraining import PretrainingBatches
from keras_bert_impl.data.shards import fingerprint
from keras_bert_impl.data.tables import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.student import HIDDEN_STATES, Student
from keras_bert_impl.ops.compiled import compile_inference
from keras_bert_impl.sources import Source
from keras_bert_impl.tasks import Task, find_task, open_task
from keras_bert_impl.tasks.encoding import check_fit, format_names
from keras_bert_impl.tasks.losses import make_squared_error
from keras_bert_impl.tasks.windows import get_windows
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training.distribution import Distribution
from keras_bert_impl.training.settings import DistillationSettings
from keras_bert_impl.training.states import compute_checksum


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaughtFeatures(Features):
    """Rows whose labels include outputs of a teacher that are computed when a batch is made.

    Args:
        teach: function from the inputs of a batch to further labels.
        specs: the shape and the dtype of these labels, see `get_spec`.
    """

    teach: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
    specs: Mapping[str, tuple[tuple[int | None, ...], Any]]

    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches, with None for dimensions that differ."""
        inputs, *labels, weights = super().get_spec()
        return inputs, {**dict(*labels), **self.specs}, weights

    def batch(self, rows: np.ndarray, *, length: int) -> tuple[dict[str, np.ndarray], ...]:
        """Returns the rows with these numbers; see `Features.batch`."""
        inputs, *labels, weights = super().batch(rows, length=length)
        return inputs, {**dict(*labels), **self.teach(inputs)}, weights


class TaughtBatches:
    """Batches of pretraining whose labels include outputs of a teacher that are computed when a batch is made.

    Args:
        batches: the batches.
        teach: function from the inputs of a batch to further labels.
        sources: for each of these labels, the label of the batch whose weights it has; other labels have the weight 1
            for tokens and 0 for padding.
    """

    def __init__(
        self,
        batches: PretrainingBatches,
        teach: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]],
        sources: Mapping[str, str],
    ) -> None:
        self.batches = batches
        self.batch_size = batches.batch_size
        self._teach = teach
        self._sources = sources

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], ...]:
        inputs, labels, weights = self.batches[k]
        taught = self._teach(inputs)
        tokens = inputs["attention_mask"].astype(np.float32)
        further = {name: weights.get(self._sources.get(name, ""), tokens) for name in taught}
        return inputs, {**labels, **taught}, {**weights, **further}

    def get_spec(self) -> tuple[dict[str, tuple[tuple[int | None, ...], Any]], ...]:
        """Shapes and dtypes of all batches."""
        return tuple({name: (value.shape, value.dtype) for name, value in part.items()} for part in self[0])


class DistilledTask:
    """A task whose training data has the outputs of a teacher as additional labels. All else is the task's own.

    It takes the place of the task; attributes that it does not define are those of the task.

    Args:
        task: the task of teacher and student.
        source: the teacher: a directory, a weights file, a bundled model, or a hub name.
        settings: the settings.

    Attributes:
        request: the arguments, under their names in ``metrics.json``.

    Raises:
        InputError: the teacher cannot be read, or was trained for another task; or the task does not support
            distillation.
    """

    def __init__(self, task: Task, source: str | Path | Source, settings: DistillationSettings) -> None:
        self.task = task
        self.source = source
        self.settings = settings
        self.request = {"teacher": str(source), **dataclasses.asdict(settings)}
        if getattr(task.options, "stride", None) is not None:
            raise InputError("stride and a teacher were both given; a teacher reads no windows. Omit one of them.")
        self._losses = task.make_teacher_losses(settings.temperature)
        _, self._config, self._tokenizer = open_task(source, task)
        if get_windows(self._config) is not None:
            raise InputError(
                f"the teacher {source} reads long texts in windows; one that reads single rows was expected. Train it "
                "without stride."
            )
        if not task.fits(self._config):
            raise InputError(
                f"the teacher {source} was trained for {find_task(self._config).name}, and the task is {task.name}. "
                "Choose a teacher of the same task."
            )
        self._order: Any = slice(None)  # The numbers of the teacher's labels, in the order of the student's.
        self._layers: list[int] = []  # The numbers of the teacher's hidden states that the student learns.

    @classmethod
    def make(
        cls, task: Task, teacher: str | Path | Source | None, settings: DistillationSettings | None
    ) -> "DistilledTask | None":
        """Returns the task with the teacher's outputs as further labels; None without a teacher.

        Raises:
            InputError: there are settings, but no teacher; or the teacher cannot be used.
        """
        if teacher is not None:
            return cls(task, teacher, settings or DistillationSettings())
        if settings is not None:
            raise InputError(
                "there are settings of distillation, but no teacher. Name a teacher, or omit the settings."
            )
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    @property
    def needs_labels(self) -> bool:
        """Whether training data must have labels."""
        return self.settings.alpha < 1 or not self.task.teacher_replaces_labels

    @property
    def is_taught_in_batches(self) -> bool:
        """Whether the teacher computes its outputs for each batch again, because they are too large to be kept."""
        return self.settings.hidden_weight > 0 or self.task.has_large_outputs

    @functools.cached_property
    def teacher(self) -> Any:
        """The teacher, loaded when it is first used: devices are chosen before.

        Raises:
            InputError: it lacks the head of the task.
        """
        model = self.task.load_model(self.source, dtype="float32")
        return model.with_outputs(output_hidden_states=True) if self.settings.hidden_weight else model

    def compute_checksum(self) -> str:
        """Computes a checksum of the teacher's weights."""
        return compute_checksum(self.teacher.state_dict())

    def check_distribution(self, distribution: Distribution) -> None:
        """Raises ``InputError`` if the teacher cannot compute batches on several processes."""
        if distribution.processes > 1 and self.is_taught_in_batches:
            raise InputError(
                "hidden_weight and masked-lm need a teacher that computes each batch, which several processes do not "
                "support. Use one process, or omit hidden_weight."
            )

    # -- what differs from the task

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the names of the labels in training data; those of the teacher if the data has none."""
        return self.task.find_labels(columns) if "label" in columns else list(self.task.list_label_names(self._config))

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes examples; checks that the teacher can read them and has the same labels.

        Raises:
            InputError: it cannot, or it has not.
        """
        self._check(tokenizer, config, max_length=max_length, pairs="text_pair" in columns)
        return self.task.encode(columns, tokenizer, config, max_length=max_length)

    def make_batches(
        self, features: Features, batch_size: int, *, seed: int, epochs: int, lengths: tuple[int, ...] = ()
    ) -> LengthBatches:
        """Returns the batches of the training data, with the outputs of the teacher among the labels."""
        taught = self._teach(features, lengths)
        return self.task.make_batches(taught, batch_size, seed=seed, epochs=epochs, lengths=lengths)

    def make_trainable(self, model: Any, features: Features) -> Student:
        """Returns the student with an output for each label."""
        return self.make_student(model, features.labels)

    def make_student(self, model: Any, labels: Iterable[str]) -> Student:
        """Returns the student with outputs for these labels, and for those of the teacher."""
        if self.settings.hidden_weight:
            model = model.with_outputs(output_hidden_states=True)
        own = {name: name for name in labels}
        return Student(model, own | {_name_label(name): name for name in self._losses})

    def make_compile_arguments(
        self, features: Features | None = None, config: BertConfig | None = None
    ) -> dict[str, Any]:
        """The losses and metrics of the task, and the losses of distillation; for pretraining without arguments."""
        arguments = self.task.make_compile_arguments(features, config)
        has_labels = features is None or features.labels
        losses, metrics = (arguments[name] if has_labels else {} for name in ("loss", "weighted_metrics"))
        weights = dict.fromkeys(losses, 1 - self.settings.alpha)
        losses = losses | {_name_label(name): loss for name, loss in self._losses.items()}
        weights |= {_name_label(name): self.settings.alpha for name in self._losses}
        if self.settings.hidden_weight:
            losses[HIDDEN_STATES], weights[HIDDEN_STATES] = make_squared_error(), self.settings.hidden_weight
        return {**arguments, "loss": losses, "loss_weights": weights, "weighted_metrics": metrics}

    def teach_batches(self, batches: PretrainingBatches, config: BertConfig) -> TaughtBatches:
        """Returns batches of pretraining with the outputs of the teacher among the labels.

        Args:
            batches: the batches.
            config: the configuration of the student.

        Raises:
            InputError: the teacher cannot read them.
        """
        objective, tokenizer = batches.objective, batches.corpus.tokenizer
        self._check(tokenizer, config, max_length=objective.max_length, pairs=objective.has_pairs)
        teach = functools.partial(self._compute_labels, compile_inference(self.teacher))
        return TaughtBatches(batches, teach, {_name_label(name): name for name in self._losses})

    # -- the teacher

    def _check(self, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int, pairs: bool) -> None:
        # Loading the teacher first refuses a checkpoint without the head.
        name, teacher = self.source, self.teacher.config
        if fingerprint(self._tokenizer) != fingerprint(tokenizer):
            raise InputError(
                f"the teacher {name} has another vocabulary or tokenizer than the student, but both must read the same "
                "ids. Make a student from the teacher with 'keras-bert shrink'."
            )
        try:
            check_fit(tokenizer, teacher, max_length=max_length, pairs=pairs)
        except InputError as error:
            raise InputError(f"the teacher {name} cannot read the rows: {error}") from error
        own, names = (list(self.task.list_label_names(each)) for each in (config, teacher))
        if sorted(own) != sorted(names) and not len(own) == len(names) == 1:  # A single number needs no name.
            raise InputError(
                f"the teacher {name} has the {len(names)} labels {format_names(names)}; the training data has the "
                f"{len(own)} labels {format_names(own)}. Choose a teacher that was trained with the same labels, or "
                "correct the names in its config.json."
            )
        if names and len(names) > 1:
            self._order = [names.index(label) for label in own]
        if self.settings.hidden_weight:
            if self.task.model_class.input_rank != 2:
                raise InputError(f"hidden_weight is not available for {self.task.name}. Omit it.")
            if config.hidden_size != teacher.hidden_size:
                raise InputError(
                    f"hidden_weight needs hidden states of the same size: those of the teacher {name} have "
                    f"{teacher.hidden_size} dimensions, those of the student {config.hidden_size}. Omit it, or make a "
                    "student with 'keras-bert shrink --layers'."
                )
            self._layers = map_layers(config.num_hidden_layers, teacher.num_hidden_layers)

    def _teach(self, features: Features, lengths: tuple[int, ...]) -> Features:
        """Adds the outputs of the teacher to the labels, and the weights of all labels."""
        equal = np.ones(len(features), np.float32)
        own = {name: features.weights.get(name, equal) for name in features.labels}
        weights: dict[str, Values] = own | {_name_label(name): own.get(name, equal) for name in self._losses}
        if self.settings.hidden_weight:
            ids = features.inputs["input_ids"]
            weights[HIDDEN_STATES] = Ragged(np.broadcast_to(np.float32(1), ids.flat.shape), ids.offsets)
        rows = {field.name: getattr(features, field.name) for field in dataclasses.fields(Features)}
        rows |= {"weights": weights}
        run = compile_inference(self.teacher)
        if self.is_taught_in_batches:
            return TaughtFeatures(**rows, teach=functools.partial(self._compute_labels, run), specs=self._make_specs())
        outputs = self.task.compute_outputs(run, features, lengths=lengths)
        labels = {_name_label(name): self._reorder(outputs[name]) for name in self._losses}
        return Features(**{**rows, "labels": {**features.labels, **labels}})

    def _compute_labels(
        self, run: Callable[[Any], Mapping[str, Any]], inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Computes the labels of a batch."""
        outputs = run(inputs)
        labels = {_name_label(name): self._reorder(outputs[name]) for name in self._losses}
        if self.settings.hidden_weight:
            states = [outputs[HIDDEN_STATES][number] for number in self._layers]
            labels[HIDDEN_STATES] = np.concatenate(states, axis=-1)
        return labels

    def _make_specs(self) -> dict[str, tuple[tuple[int | None, ...], Any]]:
        """Returns the shapes and dtypes of `_compute_labels`; only the last dimension is always the same."""
        outputs = self.teacher.output
        shapes = {_name_label(name): tuple(outputs[name].shape) for name in self._losses}
        if self.settings.hidden_weight:
            shapes[HIDDEN_STATES] = (None, None, len(self._layers) * self._config.hidden_size)
        return {name: ((*[None] * (len(shape) - 1), shape[-1]), np.dtype("float32")) for name, shape in shapes.items()}

    def _reorder(self, logits: Any) -> Any:
        """Returns logits in the order of the student's labels."""
        if isinstance(logits, Ragged):
            return dataclasses.replace(logits, flat=logits.flat[..., self._order])
        return logits[..., self._order]


def _name_label(output: str) -> str:
    """Returns the name of the label that is the teacher's output of this name."""
    return f"teacher_{output}"
