"""Verbs about checkpoints: ``convert`` and ``verify``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.startup import start_framework


def add_verbs(verbs: Any) -> None:
    """Adds the verbs to the parser."""
    convert = verbs.add_parser(
        "convert",
        help="read a checkpoint of any published format, report on each tensor, write it as PyTorch users open it",
        description="Reads PyTorch (safetensors, .bin) or Google (TF1) weights and writes config.json, "
        "model.safetensors and the tokenizer, which transformers and this package open.",
    )
    convert.add_argument("source", help="directory, weights file, bundled model or hub name")
    convert.add_argument("directory", type=Path, help="where to; must not exist or be empty")
    convert.add_argument("--revision", help="branch, tag or commit of a hub name")
    convert.add_argument("--strict", action="store_true", help="refuse a file with unexpected tensors")
    convert.add_argument("--all", action="store_true", help="print a line for each tensor")
    convert.add_argument(
        "--cased",
        action=argparse.BooleanOptionalAction,
        help="whether the vocabulary is cased, where a bare vocab.txt does not say (default: not)",
    )
    convert.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16"],
        default="float32",
        help="of the numbers that are written (default: float32)",
    )
    convert.set_defaults(run=_convert)

    verify = verbs.add_parser(
        "verify",
        help="compare with transformers on torch, layer by layer, on real text",
        description="The certificate of a conversion: exit code 0 if all outputs and token ids agree, 1 if not.",
    )
    verify.add_argument("source", help="directory, weights file, bundled model or hub name")
    verify.set_defaults(run=_verify)


def _convert(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.recipes.convert import convert

    report = convert(
        options.source,
        options.directory,
        revision=options.revision,
        strict=options.strict,
        cased=options.cased,
        dtype=options.dtype,
    )
    print(report.table() if options.all else report)
    print(f"written to {options.directory}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.interop.verify import verify

    verification = verify(options.source)
    print(verification)
    if not verification.passed:
        print("keras-bert: the outputs differ", file=sys.stderr)
    return 0 if verification.passed else 1
