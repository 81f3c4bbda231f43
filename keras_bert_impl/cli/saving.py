"""The options of verbs that train: how the training is saved while it runs."""

import argparse
from typing import Any


def add_saving_options(verb: argparse.ArgumentParser) -> None:
    """Adds them to a verb."""
    verb.add_argument("--resume", action="store_true", help="go on with a training that was ended, or begin")
    verb.add_argument(
        "--save-minutes", type=float, metavar="M", help="how often to save its state, 0: never (default: 5)"
    )
    verb.add_argument("--save-steps", type=int, metavar="N", help="how often as well, in steps (default: 0, never)")
    verb.add_argument("--keep-states", type=int, metavar="N", help="how many states stay on the disk (default: 2)")


def saving_of(options: argparse.Namespace) -> Any:
    """Those that were given, as `keras_bert_impl.training.Saving`."""
    from keras_bert_impl.training import Saving

    given = {"minutes": options.save_minutes, "steps": options.save_steps, "keep": options.keep_states}
    return Saving(**{name: value for name, value in given.items() if value is not None})
