"""The commands of exports: ``export`` and ``serve-check``."""

import argparse
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import add_source, add_task_options, collect_columns, get_source
from keras_bert_impl.export.formats import FORMATS, INPUTS, MAX_DECREASE, PRECISIONS


def add_verbs(verbs: Any) -> None:
    """Adds the commands to the parser."""
    export = verbs.add_parser(
        "export",
        help="write a SavedModel for TF Serving, or a file for another runtime",
        description="Writes a SavedModel that takes raw text: its tokenizer is in the graph, as plain TensorFlow "
        "operations. The other formats take ids. Every export includes labels and tokenizer. Prints the largest "
        "difference between the outputs and those of the float32 model.",
    )
    add_source(export, kinds="directory of a run")
    export.add_argument(
        "directory",
        type=Path,
        help="must be new or empty; for a SavedModel NAME/VERSION, such as saved_models/sentiment/1",
    )
    export.add_argument("--format", choices=tuple(FORMATS), default="saved_model", help="(default: %(default)s)")
    export.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="bfloat16 and float16: weights and arithmetic; int8: the products in integers (int8-bfloat16: all else in "
        "bfloat16); int8-weights: small files. Formats support "
        + "; ".join(f"{name} {', '.join(kind.precisions)}" for name, kind in FORMATS.items())
        + " (default: %(default)s)",
    )
    export.add_argument("--data", metavar="F", help="a file with labels: compare the task's metric before and after")
    export.add_argument(
        "--force", action="store_true", help=f"keep an export even if its metric decreases by more than {MAX_DECREASE}"
    )
    export.add_argument("--attentions", action="store_true", help="add a signature with attention maps")
    export.add_argument(
        "--no-fused",
        dest="fused",
        action="store_false",
        help="a SavedModel without oneDNN's operations, for servers that lack it (slower; not in int8)",
    )
    export.add_argument(
        "--inputs",
        choices=INPUTS,
        default="text",
        help="what a SavedModel takes: text, words with a space between them, or ids (default: %(default)s)",
    )
    add_task_options(export)
    export.set_defaults(run=_export)

    check = verbs.add_parser(
        "serve-check",
        help="check whether a server can run an export",
        description="Checks location, operations, signatures, warm-up requests and tokenizer of a SavedModel, without "
        "Keras. The exit code is 1 if a check fails.",
    )
    check.add_argument("directory", type=Path, help="NAME/VERSION, for example saved_models/sentiment/1")
    check.set_defaults(run=_check_export)


def _export(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.export import export_model

    exported = export_model(
        get_source(options),
        options.directory,
        task=options.task,
        format=options.format,
        precision=options.precision,
        max_length=options.max_length,
        allow_no_answer=options.allow_no_answer,
        attentions=options.attentions,
        fused=options.fused,
        inputs=options.inputs,
        data=options.data,
        columns=collect_columns(options),
        force=options.force,
    )
    print(f"on 32 film snippets the outputs differ from the float32 model's by at most {exported.difference:.1e}")
    if exported.metric:
        print(f"{exported.metric} on {options.data}: {exported.before:.4f} before, {exported.after:.4f} after")
    print(f"written to {exported.directory}")
    return 0


def _check_export(options: argparse.Namespace) -> int:
    start_framework("tensorflow")
    from keras_bert_impl.export.check import check_export

    failures = 0
    for check in check_export(options.directory):
        failures += not check.passed
        print(f"{'ok    ' if check.passed else 'failed'}  {check.name:11}{check.details}", flush=True)
    return int(failures > 0)
