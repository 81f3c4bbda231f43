"""Commands about checkpoints: ``convert``, ``shrink`` and ``verify``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.main import start_framework
from keras_bert_impl.cli.options import add_source, add_token, get_source
from keras_bert_impl.config import PRESETS
from keras_bert_impl.sources import WEIGHTS_DTYPES


def add_verbs(verbs: Any) -> None:
    """Adds the commands to the parser."""
    convert = verbs.add_parser(
        "convert",
        help="convert a checkpoint of any published format to the format of transformers, with a report",
        description="Reads weights of PyTorch (safetensors, .bin, .pt, .pth, .ckpt), TensorFlow (tf_model.h5), Flax "
        "(flax_model.msgpack), Keras (.keras, .weights.h5), KerasHub (presets) or Google (TF1), and writes "
        "config.json, model.safetensors and the tokenizer, which transformers and this package open. Merges an adapter "
        "of PEFT into its base.",
    )
    add_source(convert, "source", kinds="directory, weights file")
    convert.add_argument("directory", type=Path, help="directory to write; must be new or empty")
    convert.add_argument("--base", help="base model of an adapter (default: the one that the adapter names)")
    convert.add_argument("--strict", action="store_true", help="fail if the file has unexpected tensors")
    convert.add_argument("--all", action="store_true", help="print one line per tensor")
    convert.add_argument(
        "--cased",
        action=argparse.BooleanOptionalAction,
        help="whether the vocabulary is cased, if there is only a vocab.txt, which does not say (default: uncased)",
    )
    convert.add_argument(
        "--dtype",
        choices=tuple(WEIGHTS_DTYPES),
        default="float32",
        help="dtype of the written weights (default: float32)",
    )
    convert.set_defaults(run=_convert)

    shrink = verbs.add_parser(
        "shrink",
        help="make a smaller model from a checkpoint, to distill it",
        description="Writes a smaller model with the tokenizer of a checkpoint, as the student of 'keras-bert finetune "
        "--teacher'. --size makes new weights; only the embeddings are projected from those of the checkpoint. "
        "--layers copies every n-th layer.",
    )
    add_source(shrink, "source", kinds="directory, weights file")
    shrink.add_argument("directory", type=Path, help="directory to write; must be new or empty")
    size = shrink.add_mutually_exclusive_group(required=True)
    size.add_argument("--size", choices=tuple(PRESETS), help="size of the new model")
    size.add_argument("--layers", type=int, metavar="N", help="number of layers that are copied")
    shrink.add_argument("--seed", type=int, default=1, metavar="N", help="seed of new weights (default: 1)")
    shrink.set_defaults(run=_shrink)

    verify = verbs.add_parser(
        "verify",
        help="compare a checkpoint with transformers on torch, layer by layer, on real text",
        description="Compares all outputs and token ids with those of transformers; for a model of "
        "sentence-transformers, also the vectors of texts, or the scores of pairs, with those of that library. The "
        "exit code is 0 if they agree, otherwise 1.",
    )
    add_source(verify, "source", kinds="directory, weights file")
    verify.set_defaults(run=_verify)

    push = verbs.add_parser(
        "push",
        help="upload a model to the hub",
        description="Uploads the model, the tokenizer and the model card in a directory, in one commit. The metrics of "
        "a run become metadata of the card. The repository is created if it does not exist.",
    )
    push.add_argument("directory", type=Path, help="directory of a run, of a checkpoint or of an adapter")
    push.add_argument("name", help="name on the hub: ORGANIZATION/NAME")
    push.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    push.add_argument("--revision", metavar="NAME", help="branch, created if needed (default: main)")
    push.add_argument("--message", default="Upload model", help="message of the commit (default: %(default)s)")
    push.add_argument("--create-pr", action="store_true", help="open a pull request instead of changing the branch")
    add_token(push)
    push.set_defaults(run=_push)


def _convert(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.recipes.convert import convert

    report = convert(
        get_source(options, "source"),
        options.directory,
        strict=options.strict,
        cased=options.cased,
        dtype=options.dtype,
        base=options.base,
    )
    print(report.format_table() if options.all else report)
    print(f"written to {options.directory}")
    return 0


def _shrink(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.recipes.shrink import shrink

    model = shrink(
        get_source(options, "source"), options.directory, size=options.size, layers=options.layers, seed=options.seed
    )
    config = model.config
    print(f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, {model.count_params():,} weights")
    print(f"written to {options.directory}")
    return 0


def _push(options: argparse.Namespace) -> int:
    from keras_bert_impl.recipes.push import push

    address = push(
        options.directory,
        options.name,
        private=options.private,
        revision=options.revision,
        token=options.token,
        commit_message=options.message,
        create_pr=options.create_pr,
    )
    print(f"uploaded: {address}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.interop.verify import verify

    verification = verify(get_source(options, "source"))
    print(verification)
    if not verification.passed:
        print("keras-bert: the outputs differ", file=sys.stderr)
    return 0 if verification.passed else 1
