"""``keras-bert VERB``: reads arguments, calls one public function, prints. Nothing heavy is imported before a verb runs."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from keras_bert_impl import __version__
from keras_bert_impl.cli import checkpoint, finetune, quickstart, use
from keras_bert_impl.cli.quiet import start_backend
from keras_bert_impl.errors import InputError


def parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    result = argparse.ArgumentParser(
        prog="keras-bert",
        description="BERT for Keras 3 and TensorFlow: convert, fine-tune, evaluate, predict, export.",
        epilog="'keras-bert VERB --help' tells about a verb. Start with 'keras-bert quickstart'.",
    )
    result.add_argument("--version", action="version", version=f"keras-bert {__version__}")
    verbs = result.add_subparsers(title="verbs", metavar="VERB", required=True)
    for group in (quickstart, checkpoint, finetune, use):
        group.add_verbs(verbs)
    for verb in verbs.choices.values():
        verb.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0, or 2 for input that cannot be used, or what the verb says."""
    options = parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.showwarning = _show_warning
    try:
        start_backend()
        return options.run(options)
    except (InputError, OSError) as error:
        if options.debug:
            raise
        print(f"keras-bert: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("keras-bert: interrupted; nothing half-written was left", file=sys.stderr)
        return 130


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    if issubclass(category, UserWarning):
        print(f"keras-bert: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
