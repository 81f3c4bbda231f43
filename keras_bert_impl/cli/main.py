"""``keras-bert COMMAND``: parses options, calls one public function, prints. A command's imports run only for it."""

import argparse
import importlib
import os
import shlex
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from keras_bert_impl import __version__
from keras_bert_impl.errors import InputError, Interrupted

# Command: the module in this package that adds it. The module is imported for its commands, and for the list of all.
VERBS = {
    "quickstart": "quickstart",
    "convert": "checkpoint",
    "shrink": "checkpoint",
    "verify": "checkpoint",
    "push": "checkpoint",
    "finetune": "finetune",
    "evaluate": "predict",
    "predict": "predict",
    "fill-mask": "predict",
    "next-sentence": "predict",
    "embed": "embed",
    "rank": "rank",
    "mine-negatives": "mine",
    "export": "export",
    "serve-check": "export",
    "similar": "interpret",
    "attention": "interpret",
    "attribute": "interpret",
    "train-vocab": "pretrain",
    "grow-vocab": "pretrain",
    "prepare": "pretrain",
    "pretrain": "pretrain",
}


# The number of `signal.SIGPIPE`, which Windows does not have.
_SIGPIPE = 13


def make_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Makes the parser of one command, or of all commands if ``verb`` is None or unknown."""
    result = argparse.ArgumentParser(
        prog="keras-bert",
        description="BERT for Keras 3 and TensorFlow: convert, fine-tune, predict, export, interpret, pretrain.",
        epilog="'keras-bert COMMAND --help' lists the options of a command. Start with 'keras-bert quickstart'.",
    )
    result.add_argument("--version", action="version", version=f"keras-bert {__version__}")
    verbs = result.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in dict.fromkeys([VERBS[verb]] if verb in VERBS else VERBS.values()):
        importlib.import_module(f"keras_bert_impl.cli.{module}").add_verbs(verbs)
    for added in verbs.choices.values():
        added.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    return result


def run_command() -> NoReturn:
    """Runs the console command and exits at once, because TensorFlow's threads print lines while Python shuts down."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 2 for invalid input, or that of the command."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = make_parser(*arguments[:1]).parse_args(arguments)
    options.command = format_command(arguments, getattr(options, "token", None))
    with warnings.catch_warnings():
        warnings.showwarning = _make_warning_printer()
        return _run(options)


def format_command(arguments: Sequence[str], token: str | None = None) -> str:
    """Formats a command for model cards, without the access token in it.

    >>> format_command(["pretrain", "shards", "--init", "me/bert", "--token=hf_x"], "hf_x")
    'keras-bert pretrain shards --init me/bert --token=TOKEN'
    """
    shown = [argument.replace(token, "TOKEN") for argument in arguments] if token else arguments
    return shlex.join(["keras-bert", *shown])


def _run(options: argparse.Namespace) -> int:
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does. Python would try to write the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + _SIGPIPE
    except (InputError, OSError) as error:
        if options.debug:
            raise
        print(f"keras-bert: error: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"keras-bert: interrupted; {error}", file=sys.stderr)
        return 128 + error.signal
    except KeyboardInterrupt:
        print("keras-bert: interrupted; no incomplete output was left", file=sys.stderr)
        return 128 + signal.SIGINT


def _make_warning_printer() -> Callable[..., None]:
    """Makes a function that prints each user warning once, even if several readers of a file issue it."""
    shown = set()

    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        if issubclass(category, UserWarning) and str(message) not in shown:
            shown.add(str(message))
            print(f"keras-bert: warning: {message}", file=sys.stderr)

    return show


def start_framework(operations: str = "keras.ops", *, strategy: str | None = None) -> None:
    """Imports a framework and runs its first operation.

    While TensorFlow is imported, it writes lines about oneDNN and CUDA to file descriptor 2, before its logger can be
    configured. This function captures these lines, and prints them only if the import fails.

    Args:
        operations: the module with the framework's operations: ``keras.ops`` for the Keras backend that the user
            chose, or ``tensorflow``.
        strategy: the distribution strategy, if training uses one. It must be created before the first operation,
            after which devices cannot change; no operation is run then.

    Raises:
        InputError: the framework is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow's own default is 1 only on processors with AVX-512. With AVX2, oneDNN trains 1.2 times as fast.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            module = importlib.import_module(operations)
            if not strategy:
                module.zeros(1)  # The first operation looks for devices.
        except ModuleNotFoundError as error:
            others = "; or install another backend of Keras, and set KERAS_BACKEND to jax or torch"
            raise InputError(
                f"{error.name} is not installed. Run: pip install 'keras_bert_impl[tensorflow]'"
                f"{others if operations == 'keras.ops' else ''}."
            ) from error
        except BaseException:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


if __name__ == "__main__":
    run_command()
