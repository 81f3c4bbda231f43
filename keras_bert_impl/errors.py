"""The one error for whatever a user gave that cannot be used."""


class InputError(ValueError):
    """A file, value or option that a person gave is wrong; the message says what, where, and what to do.

    The command line prints the message alone and leaves with exit code 2. Anything else that is raised is a defect of
    this package (or a condition of the machine, an ``OSError``).
    """

    # Keras writes the arguments of a layer's call around the message of an error that lacks this mark.
    _keras_call_info_injected = True


class Interrupted(KeyboardInterrupt):
    """A signal ended the work in good order.

    Args:
        signal: its number.
        message: what was kept.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal


def check_field(holder: object, name: str, passed: bool, expected: str) -> None:
    """Raises ``InputError`` unless the field of that name passed its check; ``expected`` says what it should be."""
    if not passed:
        raise InputError(f"{name} is {getattr(holder, name)!r}; {expected} was expected.")
