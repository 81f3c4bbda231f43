"""One way out for all formats: a model is written, and compared with itself before it is kept."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import keras_bert_impl
from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.tables import read_table
from keras_bert_impl.errors import InputError
from keras_bert_impl.export.formats import Format, format_named
from keras_bert_impl.export.parts import Parts
from keras_bert_impl.export.runtime_guide import runtime_guide
from keras_bert_impl.export.saved_model import check_version
from keras_bert_impl.files import new_directory, require_empty, to_json, write_text
from keras_bert_impl.prediction.predictor import Predictor
from keras_bert_impl.tasks.encoding import check_fit
from keras_bert_impl.tasks.lookup import refuse_new_head
from keras_bert_impl.tasks.run import Run
from keras_bert_impl.tokenization import BertTokenizer

# Real texts, to compare an export with its model.
_TEXTS = Path(keras_bert_impl.__file__).parent / "assets" / "movie_snippets" / "test.tsv"
_BATCHES = ((0, 1), (1, 9), (9, 32))
# What rounding alone can make of float32, of the largest output; more is an error of the conversion.
_ROUNDING = 1e-3
# How far a figure may fall.
_MAY_FALL = 0.005


@dataclass(frozen=True)
class Exported:
    """An export and how it compares with its model.

    Attributes:
        directory: where it is.
        difference: the largest difference of an output to the float32 Keras model's, on film snippets.
        metric: which figure was looked at; empty without data.
        before: the model's.
        after: the export's.
    """

    directory: Path
    difference: float
    metric: str = ""
    before: float = 0.0
    after: float = 0.0


def export_model(
    source: str | Path,
    directory: str | Path,
    *,
    format: str = "saved_model",
    precision: str = "float32",
    max_length: int | None = None,
    attentions: bool = False,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    force: bool = False,
) -> Exported:
    """Exports a model: as a SavedModel that answers raw text, or for another runtime, then with ids as input.

    Configuration, labels and tokenizer go with it, and a ``README.md`` that shows how to use it.

    Args:
        source: the directory of a run, or any source of a checkpoint of a class that `ENDPOINTS` knows.
        directory: must not exist or be empty. A SavedModel's is ``NAME/VERSION``, the version a whole number as TF
            Serving wants it.
        format: a name in `FORMATS`.
        precision: ``float32``; ``bfloat16`` for weights and arithmetic; ``int8`` for weights.
        max_length: the longest row in tokens; None takes as many as the model has positions.
        attentions: whether to add a signature ``attentions`` to a SavedModel.
        data: a file with labels, on which the task's figure is taken before and after.
        columns: names of its columns, under the keywords of the task's ``file_columns``.
        force: whether to keep an export whose figure fell by more than half a point.

    Returns:
        where it is, and how it compares.

    Raises:
        InputError: the source, the data or the directory cannot be used; the format cannot hold the model, or needs a
            library that is missing; Keras runs on another backend than TensorFlow; the export's answers are not the
            model's.
        OSError: the files cannot be written.

    >>> export_model("runs/sentiment", "saved_models/sentiment/1").difference  # doctest: +SKIP
    1.2e-06
    """
    import keras

    directory = Path(directory)
    kind = format_named(format, precision)
    if kind.takes_text:
        check_version(directory)
    elif attentions:
        raise InputError(f"attention maps are a signature of a SavedModel; the format {format} has one signature.")
    require_empty(directory)
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"an export is made by TensorFlow, but Keras runs on {keras.backend.backend()}. "
            "Set KERAS_BACKEND=tensorflow."
        )
    parts, reference = _load(source, directory, kind, precision, max_length=max_length, attentions=attentions)
    with new_directory(directory) as temporary:
        kind.write(parts, temporary / kind.file)
        parts.tokenizer.save_pretrained(temporary / kind.extra)
        write_text(temporary / kind.extra / "config.json", to_json(parts.config.to_dict()))
        if not kind.takes_text:
            write_text(temporary / "README.md", runtime_guide(format, parts))
        difference, size = _difference(kind.open(temporary / kind.file), reference, parts)
        if precision == "float32" and difference > _ROUNDING * max(size, 1.0):
            raise InputError(
                f"{directory}: the export's answers are up to {difference:.2g} from the model's, which is more than "
                "rounding. This is an error of the conversion; nothing was written."
            )
        if data is None:
            return Exported(directory, difference)
        metric, before, after = _figures(source, temporary, data, columns or {}, max_length)
        if before - after > _MAY_FALL and not force:
            raise InputError(
                f"{metric} on {data} falls from {before:.4f} to {after:.4f}, by more than half a point; nothing was "
                "written. Take another precision, or keep it all the same with --force."
            )
    return Exported(directory, difference, metric, before, after)


def _load(
    source: str | Path, directory: Path, kind: Format, precision: str, *, max_length: int | None, attentions: bool
) -> tuple[Parts, Any]:
    """What the export is made of, and the float32 model."""
    from keras_bert_impl.export.signatures import ENDPOINTS

    config = BertConfig.from_pretrained(source)
    tokenizer = BertTokenizer.from_pretrained(source)
    architectures = list(config.architectures)
    name = next((name for name in architectures if name in ENDPOINTS), None)
    if name is None:
        raise InputError(
            f"the configuration's architectures are {architectures}; one of {', '.join(ENDPOINTS)} was expected. "
            "'keras-bert finetune' makes a model that can be exported."
        )
    length = min(config.max_position_embeddings, tokenizer.model_max_length) if max_length is None else max_length
    check_fit(tokenizer, config, max_length=length, pairs=name == "BertForQuestionAnswering")
    tokenizer.model_max_length = length
    model_class = getattr(importlib.import_module("keras_bert_impl.models"), name)
    reference = model_class.from_pretrained(source)
    if name != "BertModel":  # whose vectors do not need the pooler
        refuse_new_head(reference, source)
    model = model_class.from_pretrained(source, dtype="bfloat16") if precision == "bfloat16" else reference
    called = directory.absolute().parent.name if kind.takes_text else directory.name
    return Parts(model, config, tokenizer, called, length, precision, attentions), reference


def _difference(run: Run, reference: Any, parts: Parts) -> tuple[float, float]:
    """The largest difference of two models' outputs on real texts, and the largest output."""
    texts = read_table(_TEXTS)["text"]
    apart, size = 0.0, 0.0
    for begin, end in _BATCHES:
        inputs = parts.tokenizer(texts[begin:end], truncation=True, max_length=parts.max_length)
        found, expected = run(inputs), reference.predict_on_batch(inputs)
        for name in found.keys() & expected.keys():
            apart = max(apart, float(np.abs(np.asarray(found[name]) - expected[name]).max()))
            size = max(size, float(np.abs(expected[name]).max()))
    return apart, size


def _figures(
    source: str | Path, export: Path, data: str | Path, columns: Mapping[str, str], max_length: int | None
) -> tuple[str, float, float]:
    """The task's main figure: its name, the model's and the export's."""
    before, after = Predictor(source, max_length=max_length), Predictor(export, max_length=max_length)
    examples = before.task.read_file(data, columns=columns)
    metric = before.task.main_metric
    return metric, before.score(examples)[metric], after.score(examples)[metric]
