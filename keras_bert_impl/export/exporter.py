"""``export_model``: writes a model in any format, and compares the export with the model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_impl.data.tables import read_table
from keras_bert_impl.errors import InputError, join_names
from keras_bert_impl.export.backend import require_tensorflow
from keras_bert_impl.export.contents import ExportContents
from keras_bert_impl.export.formats import INPUTS, INT8_PRODUCTS, MAX_DECREASE, Format, get_format
from keras_bert_impl.export.saved_model import check_version
from keras_bert_impl.files import SNIPPETS, create_directory, require_empty, to_json, write_text
from keras_bert_impl.prediction.predictor import Predictor
from keras_bert_impl.sources import Source
from keras_bert_impl.tasks import open_task
from keras_bert_impl.tasks.base import PredictFunction
from keras_bert_impl.tasks.encoding import check_fit

# The snippets of each batch on which an export is compared with its model.
_BATCHES = ((0, 1), (1, 9), (9, 32))
# The maximum difference that float32 rounding can cause, as a fraction of the largest output. A larger difference is
# an error of the conversion.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class ExportReport:
    """An export, and its comparison with the model.

    Attributes:
        directory: its directory.
        difference: the largest difference between its outputs and those of the float32 Keras model, on film snippets.
        metric: the name of the compared metric; empty without data.
        before: the model's metric.
        after: the export's metric.
    """

    directory: Path
    difference: float
    metric: str = ""
    before: float = 0.0
    after: float = 0.0


def export_model(
    source: str | Path | Source,
    directory: str | Path,
    *,
    task: str | None = None,
    format: str = "saved_model",
    precision: str = "float32",
    max_length: int | None = None,
    allow_no_answer: bool | None = None,
    attentions: bool = False,
    inputs: str = "text",
    fused: bool = True,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    force: bool = False,
) -> ExportReport:
    """Exports a model: as a SavedModel that takes raw text, or for another runtime, then with ids as input.

    The export includes the configuration with the labels, the tokenizer, and a ``README.md`` that shows its use.

    Args:
        source: the directory of a run, or any source of a checkpoint.
        directory: must be new or empty. For a SavedModel ``NAME/VERSION``, where the version is an integer, as TF
            Serving expects.
        task: a name in ``TASKS``; None takes the task that the configuration names.
        format: a name in `FORMATS`.
        precision: ``float32``; ``bfloat16`` or ``float16`` for weights and arithmetic; ``int8`` for weights and
            products; ``int8-bfloat16`` for the same with all else in bfloat16; ``int8-weights`` for files with weights
            of 8 bits and arithmetic in float32.
        max_length: the maximum length of a row in tokens; None: as many as the model allows.
        allow_no_answer: for question answering, whether a question may have no answer; None: as the configuration says.
        attentions: whether to add a signature ``attentions`` to a SavedModel.
        inputs: what a SavedModel takes: ``text``; ``words``, the words of a text with a space between them (see
            `BertJapaneseTokenizer.split_words`); or ``ids``, as the other formats.
        fused: whether a SavedModel may have oneDNN's fused operations, which TensorFlow runs on x86 processors only;
            False: it runs everywhere, but slower. Where TensorFlow lacks them, the export has none.
        data: a file with labels, on which the task's metric is computed before and after.
        columns: names of its columns, by the keywords of the task's ``file_columns``.
        force: whether to keep an export whose metric decreases by more than ``MAX_DECREASE`` in ``export/formats.py``.

    Returns:
        its directory, and the comparison.

    Raises:
        InputError: the source, the data or the directory cannot be used; the format does not support the model, or
            needs a library that is missing; Keras uses another backend than TensorFlow; the export's outputs differ
            from the model's.
        OSError: the files cannot be written.

    >>> export_model("runs/sentiment", "saved_models/sentiment/1").difference  # doctest: +SKIP
    1.2e-06
    """
    directory = Path(directory)
    kind = get_format(format, precision)
    if inputs not in INPUTS:
        raise InputError(f"inputs is {inputs!r}; {join_names(INPUTS)} was expected.")
    if kind.takes_text:
        check_version(directory)
    elif attentions:
        raise InputError(f"attention maps are a signature of a SavedModel; the format {format} has one signature.")
    else:
        inputs = "ids"
    require_empty(directory)
    require_tensorflow("exports need")
    if kind.takes_text and precision in INT8_PRODUCTS:
        _require_int8(precision, fused)
    served, config, tokenizer = open_task(source, task, allow_no_answer=allow_no_answer)
    served.require("export")
    if task is not None:
        config = replace(config, extra={**config.extra, "architectures": [served.model_name]})
    length = served.resolve_max_length(config, tokenizer, max_length)
    check_fit(tokenizer, config, max_length=length, pairs=served.needs_pair)
    if inputs != "ids":
        tokenizer.check_in_graph(are_words=inputs == "words")
    elif attentions:
        raise InputError("attention maps are those of texts. Export with text as input, or without attentions.")
    tokenizer.model_max_length = length
    config = served.limit_length(config, length)
    reference = served.load_model(source)
    model = served.load_model(source, dtype=kind.dtypes[precision]) if precision in kind.dtypes else reference
    name = directory.absolute().parent.name if kind.takes_text else directory.name
    contents = ExportContents(model, served, config, tokenizer, name, length, precision, attentions, inputs, fused)
    with create_directory(directory) as temporary:
        _write(contents, kind, temporary)
        difference, size = _compare(kind.open(temporary / kind.file), reference, contents)
        if precision == "float32" and difference > _ROUNDING * max(size, 1.0):
            raise InputError(
                f"{directory}: the export's outputs differ from the model's by up to {difference:.2g}, more than "
                "rounding explains. This is an error of the conversion; nothing was written."
            )
        if data is None:
            return ExportReport(directory, difference)
        metric, before, after = _evaluate(source, temporary, data, columns or {}, contents)
        if before - after > MAX_DECREASE and not force:
            raise InputError(
                f"{metric} on {data} decreases from {before:.4f} to {after:.4f}, by more than {MAX_DECREASE}; "
                "nothing was written. Choose another precision, or keep the export with --force."
            )
    return ExportReport(directory, difference, metric, before, after)


def _require_int8(precision: str, fused: bool) -> None:
    """Raises ``InputError`` unless TensorFlow computes products in integers."""
    from keras_bert_impl.ops.dense import has_int8_kernel

    if not fused:
        raise InputError(
            f"precision is {precision}, whose products are operations of oneDNN, and --no-fused was given. "
            "Choose int8-weights."
        )
    if not has_int8_kernel():
        raise InputError(
            f"precision is {precision}, but this TensorFlow has no products in integers on this machine: they are a "
            "part of oneDNN, on x86 processors. Choose int8-weights, or export on such a machine."
        )


def _write(contents: ExportContents, kind: Format, directory: Path) -> None:
    """Writes all files of an export."""
    kind.write(contents, directory / kind.file)
    contents.tokenizer.save_pretrained(directory / kind.extra)
    write_text(directory / kind.extra / "config.json", to_json(contents.config.to_dict()))
    write_text(directory / "README.md", kind.make_guide(contents, directory / kind.file))


def _compare(run: PredictFunction, reference: Any, contents: ExportContents) -> tuple[float, float]:
    """Returns the largest difference between the outputs of two models on real texts, and the largest output."""
    texts = read_table(SNIPPETS / "test.tsv")["text"]
    difference, size = 0.0, 0.0
    for begin, end in _BATCHES:
        rows = contents.tokenizer(texts[begin:end], truncation=True, max_length=contents.max_length)
        inputs = contents.shape_inputs(rows)
        outputs, expected = run(inputs), reference.predict_on_batch(inputs)
        for name in outputs.keys() & expected.keys():
            difference = max(difference, float(np.abs(np.asarray(outputs[name]) - expected[name]).max()))
            size = max(size, float(np.abs(expected[name]).max()))
    return difference, size


def _evaluate(
    source: str | Path | Source, export: Path, data: str | Path, columns: Mapping[str, str], contents: ExportContents
) -> tuple[str, float, float]:
    """Returns the task's main metric: its name, the model's value and the export's."""
    before, after = (Predictor(path, task=contents.task, max_length=contents.max_length) for path in (source, export))
    before.config = contents.config  # With the same options, such as "no answer", as in the export.
    examples = contents.task.read_file(data, columns=columns)
    scores = before.score(examples)
    metric = contents.task.get_main_metric(scores)
    return metric, scores[metric], after.score(examples)[metric]
