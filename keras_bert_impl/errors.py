"""The errors that are shown to users: invalid input, and interruption by a signal."""

from collections.abc import Iterable


class InputError(ValueError):
    """A file, value or option that a user gave is wrong. The message says what was found, where, and what to do.

    The command line prints only the message and exits with code 2. Any other exception is a defect of this package, or
    a condition of the machine (``OSError``).
    """

    # Keras wraps the message of an exception in a layer's call with the call's arguments, unless this is set.
    _keras_call_info_injected = True


class Interrupted(KeyboardInterrupt):
    """A signal interrupted the work after its state was saved.

    Args:
        signal: the signal's number.
        message: what was saved.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal


def make_missing_error(error: ImportError, extra: str, *, user: str) -> InputError:
    """Returns the error for a library that an optional extra installs; ``user`` is what needs it."""
    return InputError(
        f"{error.name} is not installed, which {user} needs ({error}). Run: pip install 'keras_bert_impl[{extra}]'."
    )


def check_field(owner: object, name: str, valid: bool, expected: str) -> None:
    """Raises ``InputError`` unless the field ``name`` of ``owner`` is ``valid``; the message says what was expected."""
    if not valid:
        raise InputError(f"{name} is {getattr(owner, name)!r}; {expected} was expected.")


def join_names(names: Iterable[str]) -> str:
    """Returns names as a sentence lists them: ``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
