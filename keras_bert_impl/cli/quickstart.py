"""The command ``quickstart``."""

import argparse
from pathlib import Path
from typing import Any

from keras_bert_impl.cli.main import start_framework


def add_verbs(verbs: Any) -> None:
    """Adds the command to the parser."""
    quickstart = verbs.add_parser(
        "quickstart",
        help="end to end on real data: checkpoint, fine-tuning, export, predictions",
        description="Fetches a real PyTorch checkpoint (all-MiniLM-L6-v2), fine-tunes it on 8,452 film snippets that "
        "ship with this package, exports it for TF Serving and uses the export in a new process. About 7 minutes on "
        "two cores with AVX2, without installation; a second run reuses what the first one made.",
    )
    quickstart.add_argument("--checkpoint", metavar="SOURCE", help="a checkpoint to use instead of fetching one")
    quickstart.add_argument(
        "--output", type=Path, default=Path("runs/sentiment"), help="directory of the run (default: %(default)s)"
    )
    quickstart.add_argument(
        "--export",
        type=Path,
        default=Path("saved_models/sentiment/1"),
        help="directory of the export (default: %(default)s)",
    )
    quickstart.add_argument("--epochs", type=int, default=1, help="default: %(default)s")
    quickstart.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="default: float32")
    quickstart.set_defaults(run=_run_quickstart)


def _run_quickstart(options: argparse.Namespace) -> int:
    start_framework()
    from keras_bert_impl.recipes.quickstart import quickstart

    quickstart(
        checkpoint=options.checkpoint,
        output=options.output,
        export=options.export,
        epochs=options.epochs,
        precision=options.precision,
    )
    return 0
