"""Verbs that use a fine-tuned model: ``evaluate``, ``predict`` and ``export``."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.finetune import add_column_options, column_options
from keras_bert_impl.cli.startup import start_framework
from keras_bert_impl.errors import InputError

# The names in ``export.FORMATS``, which takes seconds to import.
_FORMATS = ("saved_model", "onnx", "openvino", "litert")


def add_verbs(verbs: Any) -> None:
    """Adds the verbs to the parser."""
    evaluate = verbs.add_parser(
        "evaluate", help="score a fine-tuned model on a file", description="Prints the task's figures as JSON."
    )
    evaluate.add_argument("model", help="directory of a run or of an export")
    evaluate.add_argument("--data", required=True, metavar="F", help="the file, with labels")
    evaluate.add_argument("--max-length", type=int, metavar="N", help="longest row in tokens (default: all positions)")
    add_column_options(evaluate)
    evaluate.set_defaults(run=_evaluate)

    predict = verbs.add_parser(
        "predict",
        help="predict for texts, a file or standard input",
        description="Prints a line of JSON for each example. Texts come as arguments, from a file, or from standard "
        "input, a line each; a TAB parts a pair, or a question and its context.",
    )
    predict.add_argument("model", help="directory of a run or of an export")
    predict.add_argument("texts", nargs="*", metavar="TEXT", help="none, and no --file: lines of standard input")
    predict.add_argument("--file", metavar="F", help="a file as finetune takes it; labels in it are not looked at")
    predict.add_argument("--max-length", type=int, metavar="N", help="longest row in tokens (default: all positions)")
    add_column_options(predict)
    predict.set_defaults(run=_predict)

    export = verbs.add_parser(
        "export",
        help="write a SavedModel for TF Serving, or a file for another runtime",
        description="Writes a SavedModel that takes raw text: its tokenizer is in the graph, as plain TensorFlow "
        "operations. The other formats take ids. Labels and tokenizer go with each. Prints how far the answers are "
        "from the float32 model's.",
    )
    export.add_argument("model", help="directory of a run, or another checkpoint")
    export.add_argument("directory", type=Path, help="for a SavedModel NAME/VERSION, as saved_models/sentiment/1")
    export.add_argument("--format", choices=_FORMATS, default=_FORMATS[0], help="(default: %(default)s)")
    export.add_argument(
        "--precision",
        choices=["float32", "bfloat16", "int8"],
        default="float32",
        help="bfloat16 for weights and arithmetic, int8 for weights (default: %(default)s)",
    )
    export.add_argument("--data", metavar="F", help="a file with labels: compare the task's figure before and after")
    export.add_argument("--force", action="store_true", help="keep an export whose figure fell by over half a point")
    export.add_argument("--max-length", type=int, metavar="N", help="longest row in tokens (default: all positions)")
    export.add_argument("--attentions", action="store_true", help="add a signature with attention maps")
    add_column_options(export)
    export.set_defaults(run=_export)

    check = verbs.add_parser(
        "serve-check",
        help="look at an export as a server would",
        description="Checks place, operations, signatures, warm-up requests and tokenizer of a SavedModel, without "
        "Keras. The exit code is 1 if something is not as a server needs it.",
    )
    check.add_argument("directory", type=Path, help="NAME/VERSION, for example saved_models/sentiment/1")
    check.set_defaults(run=_serve_check)


def _evaluate(options: argparse.Namespace) -> int:
    predictor = _predictor(options)
    columns = predictor.task.read_file(options.data, columns=column_options(options))
    print(json.dumps({"examples": len(columns["location"]), **predictor.score(columns)}, indent=2))
    return 0


def _predict(options: argparse.Namespace) -> int:
    if options.file and options.texts:
        raise InputError(f"there are texts and a file ({options.file}) to predict for; give one of them.")
    predictor = _predictor(options)
    if options.file:
        predictions = _counted(predictor.file(options.file, columns=column_options(options)))
    else:
        predictions = predictor.texts(*_texts(options.texts or _standard_input()))
    for prediction in predictions:
        print(json.dumps(prediction, ensure_ascii=False))
    return 0


def _counted(predictions: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same; tells on a terminal how many there were, unless they are printed there themselves."""
    is_shown = sys.stderr.isatty() and not sys.stdout.isatty()
    begin, told = time.monotonic(), 0.0
    for count, prediction in enumerate(predictions, 1):
        yield prediction
        seconds = time.monotonic() - begin
        if is_shown and seconds - told > 1:
            told = seconds
            print(f"\r{count:,} examples, {count / seconds:,.0f} a second", end="", file=sys.stderr, flush=True)
    if told:
        print(file=sys.stderr)


def _predictor(options: argparse.Namespace) -> Any:
    from keras_bert_impl.export import FORMATS, format_of
    from keras_bert_impl.prediction import Predictor

    kind = format_of(options.model)
    if kind in (None, FORMATS["saved_model"]):
        start_framework("tensorflow" if kind else "keras.ops")
    return Predictor(options.model, max_length=options.max_length)


def _texts(lines: list[str]) -> tuple[list[str], list[str] | None]:
    """Texts, and second texts where lines have a TAB."""
    parts = [line.split("\t") for line in lines]
    widths = {len(part) for part in parts}
    if len(widths) > 1 or not widths <= {1, 2}:
        raise InputError("some texts have a TAB and others not, or more than one: give single texts, or pairs.")
    return [part[0] for part in parts], [part[1] for part in parts] if widths == {2} else None


def _standard_input() -> list[str]:
    try:
        lines = sys.stdin.buffer.read().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8: byte {error.start}.") from error
    return lines if lines[-1] else lines[:-1]


def _export(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.export import export_model

    exported = export_model(
        options.model,
        options.directory,
        format=options.format,
        precision=options.precision,
        max_length=options.max_length,
        attentions=options.attentions,
        data=options.data,
        columns=column_options(options),
        force=options.force,
    )
    print(f"answers on 32 film snippets are at most {exported.difference:.1e} from the float32 model's")
    if exported.metric:
        print(f"{exported.metric} on {options.data}: {exported.before:.4f} before, {exported.after:.4f} after")
    print(f"written to {exported.directory}")
    return 0


def _serve_check(options: argparse.Namespace) -> int:
    start_framework("tensorflow")
    from keras_bert_impl.export.check import check_export

    failed = 0
    for check in check_export(options.directory):
        failed += not check.passed
        print(f"{'ok    ' if check.passed else 'failed'}  {check.name:11}{check.found}", flush=True)
    return int(failed > 0)
