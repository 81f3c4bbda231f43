"""The settings of training runs. Imports no framework: the command line reads them."""

import dataclasses
import math

from keras_bert_impl.errors import InputError, check_field, join_names

# Keras' dtype policies for training in a precision: weights and optimizer are kept in float32.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# The names of `keras_bert_impl.training.optimizers.OPTIMIZERS`.
OPTIMIZERS = ("adamw", "lamb", "adafactor", "lion")
# The names of `keras_bert_impl.training.schedules.SCHEDULES`.
SCHEDULES = ("linear", "cosine", "inverse-sqrt", "constant")

# NumPy's global generator does not accept larger seeds.
_SEEDS = 2**32


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings that fine-tuning and pretraining have in common.

    Args:
        batch_size: rows in a batch, over all devices.
        learning_rate: peak learning rate.
        optimizer: optimizer; LAMB is for large batches, Adafactor and Lion need less memory.
        warmup: fraction of the steps in which the learning rate rises to its peak.
        schedule: learning rate after the warm-up; linear and cosine end at 0.
        power: power of the schedule linear; 2 makes the decay quadratic.
        weight_decay: weight decay, except of biases and layer norms.
        clip_norm: max. norm of all gradients together.
        dropout: dropout of hidden states and attention; None: the checkpoint's.
        precision: precision of the matrix products; weights are kept in float32.
        accumulate: gradient accumulation: number of parts into which a batch is split, to save memory.
        remat: rematerialization: compute each block again for the gradient, to save memory.
        jit: compile training steps with XLA, once for each length to which rows are padded; None: on GPUs and on JAX.
        seed: seed of new weights, the order of the data, and dropout.

    Raises:
        InputError: a setting is out of range.
    """

    batch_size: int = 32
    learning_rate: float = 5e-5
    optimizer: str = dataclasses.field(default="adamw", metadata={"choices": OPTIMIZERS})
    warmup: float = 0.1
    schedule: str = dataclasses.field(default="linear", metadata={"choices": SCHEDULES})
    power: float = 1.0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float | None = None
    precision: str = dataclasses.field(default="float32", metadata={"choices": tuple(PRECISIONS)})
    accumulate: int = 1
    remat: bool = False
    jit: bool | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        self._check_positive("batch_size", "accumulate", "learning_rate", "clip_norm", "power")
        check_field(self, "warmup", 0 <= self.warmup <= 1, "a fraction from 0 to 1")
        check_field(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        check_field(self, "dropout", self.dropout is None or 0 <= self.dropout < 1, "a fraction from 0 to below 1")
        check_field(self, "seed", 0 <= self.seed < _SEEDS, f"an integer from 0 to {_SEEDS - 1}")
        for field in dataclasses.fields(self):
            if choices := field.metadata.get("choices"):
                check_field(self, field.name, getattr(self, field.name) in choices, join_names(choices))
        if self.power != 1 and self.schedule != "linear":
            raise InputError(
                f"power is {self.power}, but the schedule is {self.schedule}, and only linear has a power. Set power "
                "to 1."
            )

    def make_config_changes(self) -> dict[str, float]:
        """Returns the fields of a ``BertConfig`` that these settings change: those of dropout, unless it is None."""
        names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
        return {} if self.dropout is None else dict.fromkeys(names, self.dropout)

    def _check_positive(self, *names: str) -> None:
        """Checks that counts and numbers are above 0; NaN is not."""
        types = {field.name: field.type for field in dataclasses.fields(self)}
        for name in names:
            expected = "an integer above 0" if types[name] is int else "a number above 0"
            check_field(self, name, getattr(self, name) > 0, expected)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuningSettings(TrainingSettings):
    """The settings of fine-tuning; the defaults are common values of the BERT paper, appendix A.3.

    All settings of `TrainingSettings`, and:

    Args:
        epochs: number of passes over the training data.
        max_length: max. tokens in a row; longer texts are truncated, or split into windows by some tasks.
        metric: metric on the validation data that selects the best epoch, such as macro_f1; None: the main metric of
            the task.
        patience: number of epochs without a better one after which training stops early; 0: all epochs are trained.
        valid_fraction: fraction of the training data that becomes validation data if there is no other.
        freeze_embeddings: do not train the embeddings.
        freeze_layers: number of blocks, from the first, that are not trained; the embeddings are not trained either.
        layer_decay: layer-wise learning rate decay: each block's rate is this factor times that of the layer above.
        lora_rank: rank of LoRA: only its weights, the pooler and the head are trained; 0: no LoRA.
        lora_alpha: the product of the LoRA matrices is scaled by this number, divided by the rank; None: the rank.
        lora_targets: dense layers that get LoRA, such as query,key,value,dense.
        rslora: rank-stabilized LoRA: divide by the square root of the rank instead.

    Raises:
        InputError: a setting is out of range.

    >>> FineTuningSettings(epochs=4, learning_rate=2e-5).batch_size
    32
    """

    epochs: int = 3
    max_length: int = 128
    metric: str | None = None
    patience: int = 0
    valid_fraction: float = 0.1
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    layer_decay: float = 1.0
    lora_rank: int = 0
    lora_alpha: float | None = None
    lora_targets: str = "query,value"
    rslora: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("epochs", "max_length")
        check_field(self, "patience", self.patience >= 0, "0 or more")
        check_field(self, "valid_fraction", 0 < self.valid_fraction < 1, "a fraction above 0 and below 1")
        check_field(self, "freeze_layers", self.freeze_layers >= 0, "0 or more")
        check_field(self, "layer_decay", 0 < self.layer_decay <= 1, "a factor above 0, up to 1")
        check_field(self, "lora_rank", self.lora_rank >= 0, "0 or more")
        check_field(self, "lora_alpha", self.lora_alpha is None or self.lora_alpha > 0, "a number above 0")
        if self.lora_rank and (self.freeze_embeddings or self.freeze_layers):
            name = "freeze_layers" if self.freeze_layers else "freeze_embeddings"
            raise InputError(f"{name} and lora_rank were both given; LoRA freezes embeddings and blocks. Omit {name}.")
        if not self.lora_rank and (self.lora_alpha is not None or self.rslora):
            name = "rslora" if self.rslora else "lora_alpha"
            raise InputError(f"{name} was given, but lora_rank is 0, which means no LoRA. Set lora_rank, such as 8.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillationSettings:
    """How a student learns from a teacher: the weights of the parts of its loss.

    The loss is ``(1 - alpha)`` times that of the labels, plus ``alpha`` times the divergence from the teacher, see
    `keras_bert_impl.tasks.losses.SoftenedKLDivergence`, plus ``hidden_weight`` times the mean squared difference of the
    hidden states.

    Args:
        temperature: temperature by which the logits of teacher and student are divided.
        alpha: weight of the teacher in the loss; 1: the labels are not used, and the training data may have none.
        hidden_weight: weight of the difference of the hidden states in the loss; needs the hidden size of the teacher.

    Raises:
        InputError: a setting is out of range.

    >>> DistillationSettings(alpha=0.9).temperature
    2.0
    """

    temperature: float = 2.0
    alpha: float = 0.5
    hidden_weight: float = 0.0

    def __post_init__(self) -> None:
        check_field(self, "temperature", 0 < self.temperature < math.inf, "a finite number above 0")
        check_field(self, "alpha", 0 <= self.alpha <= 1, "a fraction from 0 to 1")
        check_field(self, "hidden_weight", 0 <= self.hidden_weight < math.inf, "a finite number from 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingSettings(TrainingSettings):
    """The settings of pretraining; those of its examples are in `keras_bert_impl.data.Objective`.

    All settings of `TrainingSettings`, and:

    Args:
        learning_rate: peak learning rate; the default for masked LM alone from a checkpoint is 5e-05, with a warm-up of
            0.1 and the dropout of the checkpoint.
        held_out: fraction of the documents that are held out for evaluation.
        report_every: number of steps between evaluations.

    Raises:
        InputError: a setting is out of range.

    >>> PretrainingSettings(batch_size=256, learning_rate=1e-4).optimizer
    'adamw'
    """

    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: float = 0.05
    dropout: float | None = 0.1
    held_out: float = 0.05
    report_every: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("report_every")
        check_field(self, "held_out", 0 < self.held_out < 1, "a fraction above 0 and below 1")


@dataclasses.dataclass(frozen=True)
class SavingSettings:
    """How often the state of a training run is saved, to resume it after an interruption.

    Args:
        minutes: minutes between saved states; 0: do not save by time.
        steps: steps between saved states; 0: do not save by steps.
        keep: number of states on disk; each takes the disk space of three copies of the weights.

    Raises:
        InputError: a number is out of range.

    >>> SavingSettings(minutes=1).keep
    2
    """

    minutes: float = 5.0
    steps: int = 0
    keep: int = 2

    def __post_init__(self) -> None:
        check_field(self, "minutes", self.minutes >= 0, "0 or more")
        check_field(self, "steps", self.steps >= 0, "0 or more")
        check_field(self, "keep", self.keep >= 1, "1 or more")
