"""``keras-bert VERB``: reads arguments, calls one public function, prints. A verb imports what it needs when run."""

import argparse
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from keras_bert_impl import __version__
from keras_bert_impl.cli import checkpoint, finetune, interpret, pretrain, quickstart, use
from keras_bert_impl.errors import InputError, Interrupted


def parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    result = argparse.ArgumentParser(
        prog="keras-bert",
        description="BERT for Keras 3 and TensorFlow: convert, fine-tune, predict, export, look inside, pretrain.",
        epilog="'keras-bert VERB --help' tells about a verb. Start with 'keras-bert quickstart'.",
    )
    result.add_argument("--version", action="version", version=f"keras-bert {__version__}")
    verbs = result.add_subparsers(title="verbs", metavar="VERB", required=True)
    for group in (quickstart, checkpoint, finetune, use, interpret, pretrain):
        group.add_verbs(verbs)
    for verb in verbs.choices.values():
        verb.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    return result


def command() -> NoReturn:
    """The console command. Ends the process at once: TensorFlow's threads write lines when Python ends under them."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0, or 2 for input that cannot be used, or what the verb says."""
    options = parser().parse_args(arguments)
    options.command = shlex.join(["keras-bert", *(sys.argv[1:] if arguments is None else arguments)])
    with warnings.catch_warnings():
        warnings.showwarning = _warning_printer()
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has seen enough, as `head` does. Python would try to write the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (InputError, OSError) as error:
        if options.debug:
            raise
        print(f"keras-bert: error: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"keras-bert: interrupted; {error}", file=sys.stderr)
        return 128 + error.signal
    except KeyboardInterrupt:
        print("keras-bert: interrupted; nothing half-written was left", file=sys.stderr)
        return 128 + signal.SIGINT


def _warning_printer() -> Callable[..., None]:
    """Prints each warning for users once, though several readers of one file give it."""
    shown = set()

    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        if issubclass(category, UserWarning) and str(message) not in shown:
            shown.add(str(message))
            print(f"keras-bert: warning: {message}", file=sys.stderr)

    return show


if __name__ == "__main__":
    command()
