"""Classification of texts or pairs, and the base class of all tasks with one row of logits per text or pair."""

import abc
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features, LengthBatches
from keras_bert_impl.data.document_batches import DocumentBatches, DocumentFeatures
from keras_bert_impl.data.labels import make_key, sort_labels
from keras_bert_impl.data.tables import Columns, location
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.base import Outputs, Prediction, Serving, Summary, TargetLogit, TextTask, sort_predictions
from keras_bert_impl.tasks.class_weights import add_class_weights
from keras_bert_impl.tasks.encoding import (
    check_fit,
    choose_label,
    find_label_id,
    find_label_name,
    format_names,
    list_labels,
    make_model_inputs,
    read_weights,
    softmax,
    truncate,
)
from keras_bert_impl.tasks.options import ClassificationOptions, WindowOptions
from keras_bert_impl.tasks.reranking_keys import is_cross_encoder
from keras_bert_impl.tasks.windows import (
    WINDOWS_KEY,
    TextWindows,
    cut_windows,
    get_windows,
    pool_windows,
)
from keras_bert_impl.tokenization import BertTokenizer

if TYPE_CHECKING:
    from keras_bert_impl.tasks.words import EncodedText


class SequenceTask(TextTask):
    """A task on texts whose model has the output ``logits``, ``[batch, labels]``.

    Long texts are truncated. With the option ``stride`` they are read in windows instead, and their logits are pooled:
    in training, which computes the loss of the pooled logits, and in predictions and exports. The settings are kept in
    ``config.json``; see `keras_bert_impl.tasks.windows`.

    Args:
        options: the options of training.
    """

    model_name: ClassVar[str] = "BertForSequenceClassification"
    graph: ClassVar[str] = "sequence"
    pipeline_tag: ClassVar[str | None] = "text-classification"
    file_columns: ClassVar[tuple[str, ...]] = (*TextTask.file_columns, "weight")
    teacher_replaces_labels: ClassVar[bool] = True
    config_keys: ClassVar[tuple[str, ...]] = (WINDOWS_KEY,)

    def __init__(self, options: WindowOptions | None = None) -> None:
        self.options = options or WindowOptions()

    def fits(self, config: BertConfig) -> bool:
        """Whether the configuration has this ``problem_type``, and is not that of a cross-encoder.

        Without a ``problem_type``, a single label means regression.
        """
        # Source: transformers, modeling_bert.py, BertForSequenceClassification.forward.
        default = "regression" if config.num_labels == 1 else "single_label_classification"
        return self.problem_type == (config.problem_type or default) and not is_cross_encoder(config)

    def resolve_max_length(self, config: BertConfig, tokenizer: BertTokenizer, max_length: int | None) -> int:
        """Returns ``max_length``, or for None the length of the model's windows, or what the model allows."""
        resolved, windows = super().resolve_max_length(config, tokenizer, max_length), get_windows(config)
        return min(resolved, windows.length) if max_length is None and windows else resolved

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes each text or pair as one row; long rows are truncated, or become several windows.

        Labels are those of `read_labels`; each window has the label of its text.

        With the labels, a column ``weight`` is read too, the weight of each row in the loss.

        Raises:
            InputError: a label or a weight cannot be used, ``max_length`` exceeds the model's positions, or windows are
                too short for their overlap.
        """
        texts, pairs = columns["text"], columns.get("text_pair")
        check_fit(tokenizer, config, max_length=max_length, pairs=pairs is not None)
        labels = {"logits": self.read_labels(columns, config)} if "label" in columns else {}
        has_weights = bool(labels) and "weight" in columns and "weight" in self.file_columns
        weights = {"logits": read_weights(columns)} if has_weights else {}
        if windows := get_windows(config):
            rows, example, truncated = cut_windows(tokenizer, texts, pairs, windows, max_length=max_length)
            labels, weights = ({name: values[example] for name, values in part.items()} for part in (labels, weights))
        else:
            rows, truncated = truncate(tokenizer, texts, pairs, max_length=max_length)
            example = np.arange(len(texts), dtype=np.int32)
        return Features(make_model_inputs(rows, tokenizer), labels, weights, example=example, truncated=truncated)

    @abc.abstractmethod
    def read_labels(self, columns: Columns, config: BertConfig) -> np.ndarray:
        """Returns the labels in the form that the loss expects, ``[examples, ...]``."""

    # -- windows over long texts

    def make_config_extra(self, columns: Columns, *, max_length: int) -> dict[str, Any]:
        """Returns the settings of windows; None, which removes those of the checkpoint, if there is no ``stride``."""
        options = self._get_window_options()
        return {WINDOWS_KEY: options and TextWindows.from_options(options, max_length).to_dict()}

    def limit_length(self, config: BertConfig, max_length: int) -> BertConfig:
        """Returns the configuration with windows of this length, if the model reads windows."""
        if (windows := get_windows(config)) is None:
            return config
        windows.check(max_length, pairs=self.needs_pair)
        return replace(config, extra={**config.extra, WINDOWS_KEY: replace(windows, length=max_length).to_dict()})

    def make_trainable(self, model: Any, features: Features) -> Any:
        """Returns the model, or `PooledWindows` with its weights, which pools the logits of a text's windows."""
        options = self._get_window_options()
        if options is None:
            return model
        from keras_bert_impl.models.pooled_windows import PooledWindows

        return PooledWindows(model, options.window_pooling)

    def make_batches(
        self, features: Features, batch_size: int, *, seed: int, epochs: int, lengths: tuple[int, ...] = ()
    ) -> LengthBatches:
        """Returns batches of rows, or of texts with all their windows."""
        if self._get_window_options() is None:
            return super().make_batches(features, batch_size, seed=seed, epochs=epochs, lengths=lengths)
        documents = DocumentFeatures.group(features)
        return DocumentBatches(documents, batch_size, seed=seed, epochs=epochs, lengths=lengths)

    def join_rows(self, outputs: Outputs, features: Features, config: BertConfig) -> Outputs:
        """Pools the logits over the windows of each text, if the model reads windows."""
        windows = get_windows(config)
        if windows is None:
            return outputs
        return {"logits": pool_windows(outputs["logits"], features.example, windows.pooling)}

    def describe_truncation(self, truncated: int, examples: int, *, config: BertConfig, max_length: int) -> str:
        """Returns the clause that says how many texts were not read completely."""
        windows = get_windows(config)
        if windows is None:
            return super().describe_truncation(truncated, examples, config=config, max_length=max_length)
        number = f"{windows.count} window{'s' if windows.count > 1 else ''}"
        return f"{truncated} of {examples} texts are longer than {number} of {max_length} tokens and were truncated"

    def _get_window_options(self) -> WindowOptions | None:
        """Returns the options of windows; None if long texts are truncated, or if the task has other options only."""
        options = self.options
        return options if isinstance(options, WindowOptions) and options.stride is not None else None


class Classification(SequenceTask):
    """Classification of a text, or of a pair of texts, with one label out of several.

    Args:
        options: the options of training.
    """

    name: ClassVar[str] = "classification"
    problem_type: ClassVar[str | None] = "single_label_classification"
    predicts_label: ClassVar[bool] = True
    main_metric: ClassVar[str] = "accuracy"

    def __init__(self, options: ClassificationOptions | None = None) -> None:
        self.options = options or ClassificationOptions()

    def list_strata(self, columns: Columns) -> list[str]:
        """Returns the labels."""
        return columns["label"]

    def find_labels(self, columns: Columns) -> list[str]:
        """Returns the distinct labels, sorted; as numbers if all of them are integers.

        >>> Classification().find_labels({"text": ["a", "b", "c"], "label": ["10", 9, 10.0]})
        ['9', '10']
        """
        names = sort_labels(list_labels(columns))
        if len(names) < 2:
            raise InputError(
                f"{location(columns, 0)}: this example and all after it have the label {names[0]!r}. "
                "Two or more labels are needed to train with."
            )
        return names

    def parse_label(self, label: Any, columns: Columns, index: int, config: BertConfig) -> str:
        """Returns the name of a label, from its id or its name; see `Task.parse_label`."""
        return find_label_name(label, self.list_label_names(config), location=location(columns, index))

    def read_labels(self, columns: Columns, config: BertConfig) -> np.ndarray:
        """Returns the ids of the labels, int32 ``[examples]``.

        Raises:
            InputError: a label that is missing, or that the model does not know.
        """
        label2id = {name: number for number, name in enumerate(self.list_label_names(config))}
        ids = [find_label_id(name, label2id, location=location(columns, i)) for i, name in enumerate(columns["label"])]
        return np.array(ids, np.int32)

    def make_loss(self) -> dict[str, Any]:
        """Cross entropy of the logits."""
        from keras_bert_impl.tasks.losses import make_cross_entropy

        return {"logits": make_cross_entropy(self.options.label_smoothing)}

    def add_weights(self, features: Features, config: BertConfig) -> Features:
        """Multiplies the weights of rows by those of their classes; see `add_class_weights`."""
        return add_class_weights(features, self.options.class_weight, self.list_label_names(config))

    def make_metrics(self) -> dict[str, Any]:
        """Accuracy, the fraction of correct labels."""
        from keras_bert_impl.tasks.losses import make_accuracy

        return {"logits": [make_accuracy()]}

    def make_teacher_losses(self, temperature: float) -> dict[str, Any]:
        """Returns the divergence of the probabilities of the labels."""
        from keras_bert_impl.tasks.losses import SoftenedKLDivergence

        return {"logits": SoftenedKLDivergence(temperature)}

    def decode(self, outputs: Outputs, features: Features, columns: Columns, config: BertConfig) -> list[Prediction]:
        """Per example ``label``, its ``score`` (probability), and the ``scores`` of all labels by name."""
        names = self.list_label_names(config)
        return [choose_label(names, probabilities) for probabilities in softmax(outputs["logits"]).tolist()]

    def score(self, predictions: list[Prediction], columns: Columns) -> dict[str, float]:
        """``accuracy``, ``macro_f1`` (mean over labels), and with two labels ``f1`` of the second."""
        from sklearn.metrics import accuracy_score, f1_score

        true = [make_key(label) for label in list_labels(columns)]
        predicted = [make_key(prediction["label"]) for prediction in predictions]
        metrics = {
            "accuracy": accuracy_score(true, predicted),
            "macro_f1": f1_score(true, predicted, average="macro", zero_division=0),
        }
        names = list(predictions[0]["scores"])
        if len(names) == 2:
            metrics["f1"] = f1_score(true, predicted, pos_label=make_key(names[1]), zero_division=0)
        return {name: float(value) for name, value in metrics.items()}

    def serve(self, outputs: Outputs, serving: Serving) -> dict[str, Any]:
        """``label``, strings ``[batch]``, and ``scores``, float32 ``[batch, labels]``: the probabilities."""
        from keras import ops

        logits = outputs["logits"]
        names = self.list_label_names(serving.config)
        return {"label": serving.gather(names, ops.argmax(logits, axis=-1)), "scores": ops.softmax(logits)}

    def summarize(self, prediction: Prediction) -> Summary:
        """Returns the most likely labels."""
        return Summary("Prediction", sort_predictions(prediction["scores"]))

    def find_targets(
        self, row: "EncodedText", outputs: Outputs, tokenizer: BertTokenizer, config: BertConfig, target: str | None
    ) -> list[TargetLogit]:
        """Returns the logit of the label ``target``, or of the most likely."""
        names = self.list_label_names(config)
        index = int(outputs["logits"][0].argmax()) if target is None else find_target(target, names)
        return [make_label_target(index, names)]


def find_target(target: str, names: Sequence[str]) -> int:
    """Returns the id of the label that the user wants to have explained.

    Raises:
        InputError: the model has no such label.
    """
    if target not in names:
        raise InputError(f"the model has no label {target!r}; it has {format_names(names)}.")
    return names.index(target)


def make_label_target(index: int, names: Sequence[str]) -> TargetLogit:
    """Returns the logit of a label."""
    return TargetLogit(f"logit of {names[index]!r}", "logits", index)
